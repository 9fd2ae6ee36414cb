/**
 * The gateway service: the driver around the pure machines of attachment, forwarding, topics and sync. Links and
 * sessions come in through ports; each input goes to one machine, whose effects are performed before the next input.
 */
import { type Attachment, defaultFeatures, mailboxFeature } from "@causeway/core-attachment";
import { type AgentId, agentOf, CausewayError, later, type Now, refuse, type SpiffeId } from "@causeway/core-base";
import { ForwardingTable, HopTrace } from "@causeway/core-forwarding";
import { requireMetricsReaderOf, type VerifiedPeer } from "@causeway/core-identity";
import type { MailLink } from "@causeway/core-mailbox";
import { createRecordVerifier, trustedSignatures } from "@causeway/core-records";
import { aap, admin, type agp, amsp, LimitsAdmin, type LiveSettings } from "@causeway/core-wire";
import type { ConnectRouter } from "@connectrpc/connect";
import { Admin } from "./admin.ts";
import { Adverts } from "./adverts.ts";
import { Answers } from "./answers.ts";
import { AttachmentDriver, revoked } from "./attachment-driver.ts";
import { BoundedLog } from "./bounded-log.ts";
import { DeliveryService } from "./delivery-service.ts";
import { Departure } from "./departure.ts";
import { Discovery } from "./discovery.ts";
import { EventFeed } from "./event-feed.ts";
import { FollowedAgents } from "./followed-agents.ts";
import { FrameDispatcher } from "./frame-dispatcher.ts";
import { GatewayTables } from "./gateway-tables.ts";
import type { AllGatewayLimits } from "./limit-rules.ts";
import { type LinkEntry, Links } from "./links.ts";
import { applyLimits, createGatewayLimits } from "./live-limits.ts";
import { LivePolicy } from "./live-policy.ts";
import { MailboxAdmin } from "./mailbox-admin.ts";
import { isElsewhere, MailboxDriver } from "./mailbox-driver.ts";
import { type MetricsParts, metricsText } from "./metrics.ts";
import { PeerLinks } from "./peer-links.ts";
import type { GatewayConfig, GatewayDeps, Link } from "./ports.ts";
import { PositiveReports } from "./positive-reports.ts";
import { Relay, type ServedOwner } from "./relay.ts";
import { Resolver } from "./resolver.ts";
import { RouteInstaller } from "./route-installer.ts";
import { SyncDriver } from "./sync-driver.ts";
import { syncStatus } from "./sync-status.ts";
import { Tally } from "./tally.ts";
import { TopicsDriver } from "./topics-driver.ts";
import { workerCounters } from "./worker-connections.ts";

/** What a gateway says of itself. */
export interface GatewayStatus {
  readonly attachments: number;
  readonly peers: number;
  readonly records: number;
  readonly isDraining: boolean;
  readonly counters: Readonly<Record<string, number>>;
}

/** One gateway. */
export interface Gateway extends AsyncDisposable {
  /** Loads the store, then dials the configured neighbours in the background. Resolves when links may be handed in. */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * Tells agents and peers to move, waits for them until the deadline, closes the rest. The store stays open. Of several
   * calls the soonest deadline holds.
   */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  /** Registers SyncService, DiscoveryService and GatewayAdminService. */
  routes(router: ConnectRouter): void;
  /** Takes an accepted Link stream of an agent or a peer gateway. */
  handleLink(link: Link): void;
  /** Answers GW-DISCOVER in a datagram of `source` (address and port), or stays silent. Off unless somebody calls it. */
  handleDatagram(source: string, bytes: Uint8Array): Uint8Array | undefined;
  status(): GatewayStatus;
  /** Metrics in the text format of OpenMetrics. Throws unless the caller is an operator of the domain. */
  metrics(caller: VerifiedPeer): string;
  /** Takes over what the configuration says now of limits and policy; `by` is who asked. Throws when it is wrong. */
  reload(by: string): void;
  /** Resolves when the gateway has gone out of service, by `stop` or by an operator's Drain. It does not come back. */
  readonly ended: Promise<void>;
}

/** Makes a gateway. Does no IO until `start`, but reads the store. */
export function createGateway(config: GatewayConfig, deps: GatewayDeps): Gateway {
  return new GatewayService(config, deps);
}

/** Time between two rounds of housekeeping. */
const sweepMs = 5_000;
const pruneMs = 3_600_000;
const stopMsDefault = 2_000;
/** Agents that left and are watched for revocation. */
const leftMax = 100_000;

/** Exported for the tests of this room. */
export class GatewayService implements Gateway {
  readonly #config: GatewayConfig;
  readonly #deps: GatewayDeps;
  readonly #limits: AllGatewayLimits;
  readonly #tally = new Tally();
  readonly #security: BoundedLog;
  readonly #events: EventFeed;
  readonly #links: Links;
  readonly #table: ForwardingTable;
  readonly #attachments: AttachmentDriver;
  readonly #topics: TopicsDriver;
  readonly #sync: SyncDriver;
  readonly #adverts: Adverts;
  /** Agents that left while the gateway goes out of service, until they are known elsewhere. */
  #movers = new Set<AgentId>();
  readonly #relay: Relay;
  readonly #resolver: Resolver;
  readonly #mailboxes: MailboxDriver;
  readonly #peers: PeerLinks;
  readonly #delivery: DeliveryService;
  readonly #discovery: Discovery;
  readonly #admin: Admin;
  readonly #metrics: MetricsParts;
  readonly #limitsAdmin: LimitsAdmin<AllGatewayLimits>;
  readonly #frames: FrameDispatcher;
  #state: "new" | "running" | "draining" | "stopped" = "new";
  #startedAt: Now;
  #stopped: Promise<void> | undefined;
  #departure: Departure | undefined;
  readonly #ended = Promise.withResolvers<void>();
  /** The certificates of agents that left last, the oldest first. */
  readonly #left = new Map<AgentId, VerifiedPeer>();
  #cancelSweep: (() => void) | undefined;
  #endTrust: (() => void) | undefined;
  #prunedAt: Now["instant"];

  constructor(config: GatewayConfig, deps: GatewayDeps) {
    const live = createGatewayLimits(config.limits, deps.limitsBeside);
    const limits = live.values;
    this.#config = config;
    this.#deps = deps;
    this.#limits = limits;
    this.#startedAt = deps.scheduler.now();
    this.#prunedAt = this.#startedAt.instant;
    const tally = this.#tally;
    const links = new Links(limits);
    const security = new BoundedLog(deps.log, deps.scheduler);
    const events = new EventFeed(deps, limits);
    const features = [...defaultFeatures, mailboxFeature];
    const table = new ForwardingTable({
      self: config.gatewayUri,
      domain: config.domain,
      returnPathMs: limits.returnPathMs,
      returnPathsMax: limits.returnPathsMax,
      hashSeed: new DataView(Uint8Array.from(deps.random.bytes(4)).buffer).getInt32(0),
      ...(config.unknownTargets && { unknownTargets: config.unknownTargets }),
    });
    const trace = new HopTrace({ gateway: config.gatewayUri, entriesMax: limits.hopRecordsMax });
    const verifier = createRecordVerifier(trustedSignatures(deps.trust, deps.crypto));
    const routes = new RouteInstaller(table);
    const parts = { config, deps, limits, features, links, table, trace, tally, security, verifier, events };
    this.#links = links;
    this.#table = table;
    this.#security = security;
    this.#events = events;
    this.#delivery = new DeliveryService(deps, limits);
    this.#topics = new TopicsDriver(parts);
    this.#sync = new SyncDriver({
      ...parts,
      onInstall: (route) => {
        routes.install(route);
        this.#resolver.handleRoute(route.agentId, route.origin, true);
        this.#mailboxes.handleRoute(route.agentId);
        this.#adverts.handleRoute(route.agentId);
      },
      onRemove: (agentId, origin) => {
        routes.remove(agentId, origin);
        this.#resolver.handleRoute(agentId, origin, false);
        this.#mailboxes.handleRoute(agentId);
      },
    });
    this.#adverts = new Adverts({
      ...parts,
      sync: this.#sync,
      isElsewhere: (agentId) => isElsewhere(table, agentId),
      isRunning: () => this.#state === "running",
      onDeregistered: (agentId) => this.#mailboxes.close(agentId, "was deregistered"),
    });
    const followed = new FollowedAgents(this.#sync, config.level);
    const policy = new LivePolicy(config.policy ?? [], config.domain, deps.log);
    const answers = new Answers({ ...parts, policy });
    this.#mailboxes = new MailboxDriver({
      ...parts,
      answers,
      reports: new PositiveReports(answers, links),
      followed,
      linksOf: (agentId) => this.#mailLinksOf(agentId),
    });
    this.#relay = new Relay({
      ...parts,
      policy,
      mailboxes: this.#mailboxes,
      followed,
      topics: this.#topics.machine,
      allowedDomains: (agentId) => routes.allowedDomains(agentId),
      serveControl: (owner, source, body) => this.#serveControl(owner, source, body),
      checkQuery: (agentId, source) => this.#resolver.check(agentId, source),
      resolve: (agentId, source) => this.#resolver.want(agentId, source),
    });
    this.#resolver = new Resolver({
      ...parts,
      sync: this.#sync,
      release: (agentId, now) => this.#relay.release(agentId, now),
      refuse: (agentId, error, now) => this.#relay.giveUp(agentId, error, now),
    });
    this.#attachments = new AttachmentDriver({
      ...parts,
      onPresence: (agentId, attachments, hasEnded) => this.#handlePresence(agentId, attachments.length > 0, hasEnded),
      onReachable: (agentId, now) => this.#relay.release(agentId, now),
      onDetached: (attachment) => {
        this.#noteLeft(attachment);
        const entry = links.get(attachment.link);
        if (entry === undefined) return;
        this.#topics.handleLinkDown(entry);
        events.forget(entry);
      },
    });
    this.#peers = new PeerLinks({
      ...parts,
      topics: this.#topics,
      onDown: (peer) => this.#resolver.handlePeerDown(peer),
      adopt: (link, role) => this.#adopt(link, role),
    });
    this.#frames = new FrameDispatcher({
      ...parts,
      attachments: this.#attachments,
      topics: this.#topics,
      peers: this.#peers,
      relay: this.#relay,
      adverts: this.#adverts,
      delivery: this.#delivery,
      mailboxes: this.#mailboxes,
    });
    this.#discovery = new Discovery(config, deps, limits, features, () => this.#load());
    this.#admin = new Admin({
      ...parts,
      attachments: this.#attachments,
      topics: this.#topics,
      sync: this.#sync,
      mailboxes: new MailboxAdmin({ ...parts, mailboxes: this.#mailboxes }),
      startedUnixMs: () => this.#startedAt.unix,
      counters: () => ({
        ...tally.snapshot(),
        ...this.#discovery.counters(),
        ...workerCounters(deps.workerConnections?.()),
      }),
      isDraining: () => this.#state === "draining",
      drain: (deadlineMs) => {
        const now = deps.scheduler.now();
        void this.#leave(deadlineMs, now);
        return this.#departure?.leftMs(now.instant) ?? 0;
      },
    });
    this.#metrics = {
      deps,
      tables: new GatewayTables({
        ...parts,
        attachments: this.#attachments,
        topics: this.#topics,
        sync: this.#sync,
        mailboxes: this.#mailboxes,
        relay: this.#relay,
        resolver: this.#resolver,
      }),
      counters: () => this.status().counters,
      startedUnixMs: () => this.#startedAt.unix,
    };
    const limited = { ...parts, attachments: this.#attachments, sync: this.#sync, resolver: this.#resolver };
    live.onChange = (changes) => applyLimits(limited, limits, changes);
    const read = deps.readConfig?.bind(deps);
    const settings = (): LiveSettings<AllGatewayLimits> => {
      const { limits: configured = {}, policy: rules = [] } = read?.() ?? {};
      return { limits: configured, takeRules: policy.prepare(rules) };
    };
    this.#limitsAdmin = new LimitsAdmin({ limits: live, read: read && settings, log: deps.log });
  }

  async start(options?: { readonly signal?: AbortSignal }): Promise<void> {
    options?.signal?.throwIfAborted();
    if (this.#state !== "new") throw refuse("CAUSEWAY_MISUSE", "expected a gateway that was not started before");
    this.#state = "running";
    this.#startedAt = this.#deps.scheduler.now();
    this.#topics.start();
    this.#sync.start();
    this.#adverts.start(this.#startedAt);
    this.#mailboxes.start();
    this.#endTrust = this.#deps.onTrustChange(() => this.#enforceTrust());
    this.#peers.start();
    this.#scheduleSweep();
    this.#deps.log.info("gateway.started", {
      gatewayUri: this.#config.gatewayUri,
      level: this.#config.level,
      records: this.#sync.machine.recordCount(),
    });
  }

  stop(options?: { readonly deadlineMs?: number }): Promise<void> {
    return this.#leave(options?.deadlineMs ?? stopMsDefault, this.#deps.scheduler.now());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  handleLink(link: Link): void {
    const { role } = link.peer;
    if (this.#state !== "running") {
      link.close(refuse("CAUSEWAY_GATEWAY_DRAINING", "this gateway is not in service; connect elsewhere"));
    } else if (role === "agent") {
      this.#attachments.handleLinkUp(this.#adopt(link, { kind: "agent-handshake" }));
    } else if (role === "gateway") {
      this.#peers.expectIntroduction(this.#adopt(link, { kind: "peer-accepting" }));
    } else {
      this.#security.warn("gateway.link_refused", { spiffeId: link.peer.spiffeId, role });
      link.close(
        refuse("CAUSEWAY_IDENTITY_ROLE_WRONG", `expected an agent or a gateway, got the ${role} ${link.peer.spiffeId}`),
      );
    }
  }

  handleDatagram(source: string, bytes: Uint8Array): Uint8Array | undefined {
    return this.#state === "running" ? this.#discovery.datagram(source, bytes) : undefined;
  }

  routes(router: ConnectRouter): void {
    const { callerOf } = this.#deps;
    const operator = (context: Parameters<typeof callerOf>[0]): Admin => {
      this.#admin.authorize(callerOf(context));
      return this.#admin;
    };
    router.service(amsp.SyncService, {
      session: (requests, context) => this.#sync.serve(requests, callerOf(context), context.signal),
      status: (_request, context) => this.#syncStatus(callerOf(context)),
    });
    router.service(aap.DiscoveryService, {
      discover: (request, context) => this.#discovery.discover(callerOf(context), request),
    });
    router.service(admin.GatewayAdminService, {
      status: (_request, context) => operator(context).status(),
      listAttachments: (request, context) => operator(context).listAttachments(request),
      listRoutes: (request, context) => operator(context).listRoutes(request),
      listPeers: (_request, context) => operator(context).listPeers(),
      listTopics: (_request, context) => operator(context).listTopics(),
      explain: (request, context) => operator(context).explain(request),
      detach: (request, context) => operator(context).detach(request),
      drain: (request, context) => operator(context).drain(request),
      listMailboxes: (_request, context) => operator(context).mailboxes.listMailboxes(),
      listStored: (request, context) => operator(context).mailboxes.listStored(request),
      replayDeadLetters: (request, context) => operator(context).mailboxes.replay(request),
      purgeStored: (request, context) => operator(context).mailboxes.purge(request),
      watchEvents: (request, context) => operator(context).watchEvents(request, context.signal),
    });
    const limitsFor = (context: Parameters<typeof callerOf>[0]): LimitsAdmin<AllGatewayLimits> => {
      operator(context);
      return this.#limitsAdmin;
    };
    router.service(admin.LimitsService, {
      listLimits: (_request, context) => limitsFor(context).list(),
      setLimit: (request, context) => limitsFor(context).set(request, callerOf(context).spiffeId),
      reloadLimits: (_request, context) => limitsFor(context).reload(callerOf(context).spiffeId),
    });
    router.service(admin.MetricsService, {
      readMetrics: (_request, context) => ({ text: this.metrics(callerOf(context)) }),
    });
  }

  metrics(caller: VerifiedPeer): string {
    requireMetricsReaderOf(this.#config.domain, caller);
    return metricsText(this.#metrics);
  }

  reload(by: string): void {
    this.#limitsAdmin.reload(by);
  }

  status(): GatewayStatus {
    return {
      attachments: this.#attachments.attachments().length,
      peers: this.#links.peers().length,
      records: this.#sync.machine.recordCount(),
      isDraining: this.#state === "draining",
      counters: { ...this.#tally.snapshot(), ...this.#discovery.counters() },
    };
  }

  /** The record base, the table that follows from it, and the mailboxes. */
  inspect(): { readonly sync: SyncDriver; readonly table: ForwardingTable; readonly mailboxes: MailboxDriver } {
    return { sync: this.#sync, table: this.#table, mailboxes: this.#mailboxes };
  }

  /** Takes a link into service, accepted or dialled. */
  #adopt(link: Link, role: LinkEntry["role"]): LinkEntry {
    const entry = this.#links.add(link, role, this.#deps.scheduler.now().instant);
    link.onClose((error) => this.#handleDown(entry, error));
    link.onWritable((lane) => {
      this.#relay.handleWritable(entry.id, lane);
      this.#mailboxes.handleWritable(entry.id);
    });
    link.onFrames((frames) => this.#frames.handle(entry, frames));
    return entry;
  }

  #handleDown(entry: LinkEntry, error: CausewayError | undefined): void {
    const { role } = entry;
    if (role.kind === "closed") return;
    const isAgent = role.kind === "agent" || role.kind === "agent-handshake";
    if (isAgent) {
      this.#topics.handleLinkDown(entry);
      this.#events.forget(entry);
      this.#attachments.handleLinkDown(entry);
    }
    this.#relay.forgetLink(entry.id);
    this.#links.remove(entry);
    if (!isAgent) this.#peers.handleDown(entry, role, error);
  }

  #handlePresence(agentId: AgentId, isAttached: boolean, hasEnded: boolean): void {
    this.#mailboxes.handlePresence(agentId);
    // Going out of service ends every attachment; the agents are registered all the same and attach elsewhere.
    if (this.#state !== "running") {
      if (!isAttached && !hasEnded) this.#movers.add(agentId);
      return;
    }
    this.#adverts.handlePresence(agentId, this.#attachments.of(agentId), hasEnded);
    if (isAttached) return;
    const now = this.#deps.scheduler.now();
    this.#relay.giveUp(
      agentId,
      { code: "CAUSEWAY_FORWARDING_NO_ROUTE", message: `${agentId} has ended its attachment` },
      now,
    );
  }

  /** Attachments that take messages now. */
  #mailLinksOf(agentId: AgentId): readonly MailLink[] {
    // While the store is loaded nobody is attached.
    if (this.#state === "new") return [];
    return this.#attachments
      .of(agentId)
      .filter((each) => each.state !== "stale")
      .map(({ link, instance, features }) => ({ link, instance, acknowledges: features.includes(mailboxFeature) }));
  }

  /** Who it was is kept for revocations: what waits for an agent that is revoked while it is away is given up. */
  #noteLeft({ agentId, peer }: Attachment): void {
    this.#left.delete(agentId);
    this.#left.set(agentId, peer);
    const [oldest] = this.#left.keys();
    if (this.#left.size > leftMax && oldest !== undefined) this.#left.delete(oldest);
  }

  #serveControl(owner: ServedOwner, source: SpiffeId, body: agp.Control["body"]): agp.Control["body"] | undefined {
    if (body.case === "topicCommand") {
      return { case: "topicResult", value: this.#topics.command(agentOf(source), body.value) };
    }
    const isOneOfSeveral = this.#attachments.of(owner.agentId).length > 1;
    return this.#delivery.answer({ ...owner, isOneOfSeveral }, agentOf(source), body);
  }

  #syncStatus(caller: VerifiedPeer): amsp.StatusResponse {
    if (caller.role !== "gateway" && caller.role !== "registry") this.#admin.authorize(caller);
    return syncStatus(this.#sync, this.#deps.scheduler.now());
  }

  #load(): number | "draining" {
    if (this.#state !== "running") return "draining";
    return Math.min(100, Math.round((100 * this.#attachments.attachments().length) / this.#limits.attachmentsMax));
  }

  /** A changed trust store may have revoked somebody: they are out at once. */
  #enforceTrust(): void {
    const { trust, disconnect } = this.#deps;
    const isRevoked = (peer: VerifiedPeer): boolean => trust.isRevoked(peer);
    const error = new CausewayError(revoked);
    const agents = new Set(
      this.#attachments.attachments().flatMap((each) => (isRevoked(each.peer) ? [each.agentId] : [])),
    );
    const detached = this.#attachments.detach(isRevoked, error);
    const revokedIds = new Set([
      ...agents,
      ...this.#links.all().flatMap((each) => (isRevoked(each.peer) ? [each.peer.spiffeId] : [])),
    ]);
    for (const subject of revokedIds)
      this.#events.publish({ type: "credential.revoked", subject, cause: error.message });
    for (const agentId of agents) if (this.#attachments.of(agentId).length === 0) this.#delivery.drop(agentId);
    for (const [agentId, peer] of [...this.#left]) {
      if (!isRevoked(peer) || this.#attachments.of(agentId).length > 0) continue;
      this.#left.delete(agentId);
      this.#mailboxes.close(agentId, "was revoked");
    }
    for (const entry of this.#links.all()) {
      if (!isRevoked(entry.peer)) continue;
      if (entry.role.kind === "peer") this.#sync.disconnect(entry.role.arrival.peer, revoked);
      entry.link.close(error);
    }
    const closed = disconnect(isRevoked, error);
    if (detached + closed > 0) this.#deps.log.warn("identity.revoked_disconnected", { detached, closed });
  }

  #scheduleSweep(): void {
    const { scheduler } = this.#deps;
    this.#cancelSweep = scheduler.at(later(scheduler.now().instant, sweepMs), () => {
      this.#sweep();
      if (this.#state === "running") this.#scheduleSweep();
    });
  }

  #sweep(): void {
    const now = this.#deps.scheduler.now();
    this.#relay.expireHeld(now);
    this.#mailboxes.sweep(this.#adverts.awaited);
    this.#table.returnPaths.expire(now.unix);
    this.#adverts.sweep(now);
    // The attachment machine watches the certificates of agents; a neighbour dials again with its renewed one.
    for (const entry of this.#links.peers()) {
      if (entry.peer.notAfter <= now.unix) entry.link.close(certificateEnded(entry.peer));
    }
    if (now.instant - this.#prunedAt >= pruneMs) {
      this.#prunedAt = now.instant;
      this.#delivery.prune(now.unix);
    }
  }

  /** Of several calls the soonest deadline holds. */
  #leave(deadlineMs: number, now: Now): Promise<void> {
    if (this.#state === "draining") this.#departure?.shorten(deadlineMs, now);
    this.#stopped ??= this.#drainAndClose(deadlineMs, now);
    return this.#stopped;
  }

  async #drainAndClose(deadlineMs: number, now: Now): Promise<void> {
    const wasRunning = this.#state === "running";
    this.#state = "draining";
    this.#cancelSweep?.();
    this.#endTrust?.();
    const { scheduler } = this.#deps;
    const unknown = (): readonly AgentId[] => {
      const left = this.#adverts.announcedHereOnly(this.#movers);
      this.#movers = new Set(left);
      return left;
    };
    if (wasRunning) {
      const parts = {
        domain: this.#config.domain,
        attachments: this.#attachments,
        links: this.#links,
        scheduler,
        log: this.#deps.log,
        mailboxes: this.#mailboxes,
        unknown,
        aloneMs: this.#limits.drainAloneMs,
      };
      this.#departure = new Departure(parts, deadlineMs, now);
      await this.#departure.run(now);
    }
    this.#relay.giveUpAll(this.#deps.scheduler.now());
    this.#mailboxes.stop();
    this.#resolver.stop();
    this.#state = "stopped";
    this.#events.stop();
    this.#peers.stop();
    this.#sync.stop();
    const error = refuse("CAUSEWAY_GATEWAY_DRAINING", "this gateway has gone out of service; connect elsewhere");
    for (const entry of this.#links.all()) entry.link.close(error);
    this.#attachments.stop();
    this.#topics.stop();
    this.#deps.log.info("gateway.stopped", { gatewayUri: this.#config.gatewayUri });
    this.#ended.resolve();
  }
}

const certificateEnded = (peer: VerifiedPeer): CausewayError =>
  refuse(
    "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
    `the certificate of ${peer.spiffeId} on this connection has expired; connect anew`,
  );
