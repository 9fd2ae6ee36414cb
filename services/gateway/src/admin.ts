/** What operators of the own domain read and do (GatewayAdminService). */
import { create } from "@bufbuild/protobuf";
import type { Attachment } from "@causeway/core-attachment";
import {
  CausewayError,
  type GatewayUri,
  isPrefixOf,
  later,
  type Now,
  parseSpiffeId,
  refuse,
} from "@causeway/core-base";
import { type ForwardingTable, type HopEntry, type HopTrace, reasonTexts } from "@causeway/core-forwarding";
import { requireOperatorOf, type VerifiedPeer } from "@causeway/core-identity";
import type { RouteCandidate } from "@causeway/core-sync";
import { admin, type agp } from "@causeway/core-wire";
import type { AttachmentDriver } from "./attachment-driver.ts";
import { isAlone } from "./departure.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Links } from "./links.ts";
import type { MailboxAdmin } from "./mailbox-admin.ts";
import { MessageQueue } from "./message-queue.ts";
import type { GatewayConfig, GatewayDeps } from "./ports.ts";
import { listTopics } from "./subscription-table.ts";
import type { SyncDriver } from "./sync-driver.ts";
import type { TopicsDriver } from "./topics-driver.ts";

/** What the service shows. */
export interface AdminParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly trace: HopTrace;
  readonly attachments: AttachmentDriver;
  readonly topics: TopicsDriver;
  readonly sync: SyncDriver;
  readonly mailboxes: MailboxAdmin;
  readonly events: EventFeed;
  readonly startedUnixMs: () => number;
  readonly counters: () => Readonly<Record<string, number>>;
  readonly isDraining: () => boolean;
  /** Answers how long it waits at most; sooner than asked for when an earlier call said so. */
  readonly drain: (deadlineMs: number) => number;
}

/** Rows of one answer. */
const rowsMax = 10_000;
const drainMsDefault = 30_000;

/** Answers operators. */
export class Admin {
  readonly #parts: AdminParts;

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  get mailboxes(): MailboxAdmin {
    return this.#parts.mailboxes;
  }

  /** Throws unless the caller is an operator of this gateway's domain. */
  authorize(caller: VerifiedPeer): void {
    requireOperatorOf(this.#parts.config.domain, caller);
  }

  status(): admin.StatusResponse {
    const { config, deps, sync, attachments, links } = this.#parts;
    return create(admin.StatusResponseSchema, {
      gatewayId: deps.identity.spiffeId,
      gatewayUri: config.gatewayUri,
      level: config.level,
      startedUnixMs: BigInt(this.#parts.startedUnixMs()),
      attachments: attachments.attachments().length,
      peers: links.peers().length,
      records: BigInt(sync.machine.recordCount()),
      counters: Object.fromEntries(
        Object.entries(this.#parts.counters()).map(([name, value]) => [name, BigInt(value)]),
      ),
      draining: this.#parts.isDraining(),
    });
  }

  listAttachments(request: admin.ListAttachmentsRequest): admin.ListAttachmentsResponse {
    const isAsked = below(request.prefix);
    const attachments: admin.Attachment[] = [];
    const found = this.#parts.attachments.attachments().filter((each) => isAsked(each.agentId));
    for (const each of found.slice(0, limitOf(request))) attachments.push(this.#attachment(each));
    const truncated = found.length > attachments.length;
    return create(admin.ListAttachmentsResponseSchema, { attachments, truncated });
  }

  listRoutes(request: admin.ListRoutesRequest): admin.ListRoutesResponse {
    const limit = limitOf(request);
    const routes: admin.Route[] = [];
    for (const route of this.#routes(request.prefix)) {
      if (routes.length === limit) return create(admin.ListRoutesResponseSchema, { routes, truncated: true });
      routes.push(route);
    }
    return create(admin.ListRoutesResponseSchema, { routes });
  }

  listPeers(): admin.ListPeersResponse {
    const { links, sync, deps } = this.#parts;
    const now = deps.scheduler.now();
    const sessions = new Map(sync.machine.peers().map((each) => [each.name as string, each]));
    const names = new Set([...sessions.keys(), ...links.peers().map((each) => each.name)]);
    const peers = [...names].sort().map((name) => {
      const session = sessions.get(name);
      const link = links.peer(name as GatewayUri);
      return create(admin.PeerSchema, {
        gatewayUri: name,
        gatewayId: link?.peer.spiffeId ?? "",
        level:
          link?.role.kind === "peer"
            ? link.role.level
            : session?.role === "level1"
              ? 1
              : session?.role === "level2"
                ? 2
                : 0,
        syncState: session?.state ?? "IDLE",
        linkState: link === undefined ? "down" : "up",
        sinceUnixMs: session === undefined ? 0n : BigInt(Math.round(now.unix - (now.instant - session.since))),
        recordsReceived: BigInt(session?.received ?? 0),
        recordsSent: BigInt(session?.sent ?? 0),
        loopsDiscarded: BigInt(session?.loopsDiscarded ?? 0),
        certificateSha256: link?.peer.fingerprint ?? "",
        features: link?.role.kind === "peer" ? [...link.role.features] : [],
      });
    });
    return create(admin.ListPeersResponseSchema, { peers });
  }

  listTopics(): admin.ListTopicsResponse {
    return listTopics(this.#parts.topics, this.#parts.attachments);
  }

  explain(request: admin.ExplainRequest): admin.ExplainResponse {
    if (request.target !== "") {
      const { text } = this.#parts.table.explain(request.target, this.#parts.deps.scheduler.now().unix);
      return create(admin.ExplainResponseSchema, { summary: text });
    }
    const id = [...request.messageId].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const hops = this.#parts.trace.find(id);
    // What is in a mailbox now is more than what was noted of it.
    const summary = this.#parts.mailboxes.explain(request.messageId) ?? summaryOf(id, hops);
    return create(admin.ExplainResponseSchema, { hops: hops.map(toHop), summary });
  }

  detach(request: admin.DetachRequest): admin.DetachResponse {
    const agentId = parseSpiffeId(request.agentId);
    const reason = request.reason === "" ? "an operator ended the attachment" : request.reason;
    const error = refuse("CAUSEWAY_ATTACHMENT_DETACHED", reason);
    const instances = new Set(
      this.#parts.attachments
        .attachments()
        .filter((each) => each.agentId === agentId && (request.instance === "" || each.instance === request.instance))
        .map((each) => each.peer),
    );
    const detached = this.#parts.attachments.detach((peer, id) => id === agentId && instances.has(peer), error);
    return create(admin.DetachResponseSchema, { detached });
  }

  drain(request: admin.DrainRequest): admin.DrainResponse {
    const { drain, links, config } = this.#parts;
    const deadlineMs = request.deadlineMs === 0n ? drainMsDefault : Number(request.deadlineMs);
    const alone = isAlone(links, config.domain);
    return create(admin.DrainResponseSchema, { alone, deadlineMs: BigInt(drain(deadlineMs)) });
  }

  /** Events from now on, until the caller goes or the gateway stops. The first answer has none: it is being watched. */
  async *watchEvents(
    request: admin.WatchEventsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<admin.WatchEventsResponse> {
    const { events, deps } = this.#parts;
    const queue = new MessageQueue<agp.Event>();
    const refused = events.open(queue, request.types, deps.scheduler.now());
    if (refused !== undefined) throw new CausewayError(refused);
    signal.addEventListener("abort", () => events.end(queue), { once: true });
    try {
      yield create(admin.WatchEventsResponseSchema, {});
      for await (const event of queue) yield create(admin.WatchEventsResponseSchema, { event });
    } finally {
      events.end(queue);
    }
  }

  /** The default routes are for no name, and last. */
  *#routes(prefix: string): Generator<admin.Route> {
    const isAsked = below(prefix);
    for (const route of this.#parts.sync.machine.allRoutes()) if (isAsked(route.agentId)) yield toRoute(route);
    yield* this.#unadvertised(isAsked);
    yield* this.#waysBack(isAsked);
    if (prefix === "") yield* this.#uplinks();
  }

  /** Agents that are attached here and have no record: reachable through this gateway only. */
  #unadvertised(isAsked: (agentId: string) => boolean): readonly admin.Route[] {
    const { attachments, sync, config } = this.#parts;
    return attachments
      .attachments()
      .filter((each) => isAsked(each.agentId) && sync.ownRoute(each.agentId) === undefined)
      .map((each) =>
        create(admin.RouteSchema, {
          target: each.agentId,
          kind: "local",
          origin: config.gatewayUri,
          status: statusOf(each),
          applicable: true,
          reason: "attached here and not advertised",
        }),
      );
  }

  /** Senders that are not advertised and not attached here: where they were heard of. */
  *#waysBack(isAsked: (agentId: string) => boolean): Generator<admin.Route> {
    const reason = reasonTexts["return-path"];
    for (const { agentId, peer } of this.#parts.table.returnPaths.senders()) {
      if (isAsked(agentId))
        yield create(admin.RouteSchema, { target: agentId, kind: "return", nextHop: peer, applicable: true, reason });
    }
  }

  /** Where everything unknown goes. */
  #uplinks(): readonly admin.Route[] {
    return this.#parts.links.peers().flatMap((entry) =>
      entry.role.kind === "peer" && entry.role.config?.kind === "uplink"
        ? create(admin.RouteSchema, {
            target: "*",
            kind: "uplink",
            nextHop: entry.role.arrival.peer,
            applicable: true,
            reason: "default route",
          })
        : [],
    );
  }

  #attachment(each: Attachment): admin.Attachment {
    const { links, deps, sync, config } = this.#parts;
    const now: Now = deps.scheduler.now();
    const entry = links.get(each.link);
    const { leaseMs, staleAfterMs, removeAfterStaleMs } = each.times;
    const lastsMs = each.model === "soft" ? leaseMs : staleAfterMs + removeAfterStaleMs;
    const expires = later(each.lastSeen, lastsMs);
    return create(admin.AttachmentSchema, {
      agentId: each.agentId,
      instance: each.instance,
      state: each.state.toUpperCase(),
      model: each.model,
      features: [...each.features],
      sinceUnixMs: BigInt(Math.round(each.since)),
      expiresUnixMs: BigInt(Math.round(now.unix + (expires - now.instant))),
      lastHeardUnixMs: BigInt(Math.round(each.lastSeenUnix)),
      messagesIn: BigInt(entry?.messagesIn ?? 0),
      messagesOut: BigInt(entry?.messagesOut ?? 0),
      advertised: sync.ownRoute(each.agentId) !== undefined,
      condition: each.condition,
      gatewayUri: config.gatewayUri,
    });
  }
}

function statusOf({ state, condition }: Attachment): string {
  if (state === "stale") return "offline";
  return condition === "running" ? "online" : condition;
}

const limitOf = ({ limit }: { readonly limit: number }): number => Math.min(limit || rowsMax, rowsMax);

/** Tells whether an agent is the one that was asked for, or below the domain or namespace; every one is for "". */
function below(prefix: string): (agentId: string) => boolean {
  const full = `spiffe://${prefix.replace(/^spiffe:\/\//, "")}`;
  return (agentId) => prefix === "" || isPrefixOf(full, agentId);
}

function toRoute(route: RouteCandidate): admin.Route {
  return create(admin.RouteSchema, {
    target: route.agentId,
    kind: route.via === "local" ? "local" : "peer",
    nextHop: route.via === "local" ? "" : route.via,
    path: [...route.path],
    origin: route.origin,
    status: route.status,
    applicable: route.applicable,
    reason: route.reason,
    epoch: route.version.epoch,
    sequence: route.version.sequence,
  });
}

function toHop(entry: HopEntry): admin.Hop {
  return create(admin.HopSchema, {
    atUnixMs: BigInt(Math.round(entry.at)),
    gatewayUri: entry.gateway,
    verdict: entry.action,
    reason: entry.reason,
    from: entry.from,
    to: entry.to,
    target: entry.target,
    hopTtl: entry.hopTtl,
  });
}

function summaryOf(id: string, hops: readonly HopEntry[]): string {
  const last = hops.at(-1);
  if (last === undefined) {
    return `this gateway has no hop record of message ${id}: it was not here, did not ask for a trace, or is too long ago`;
  }
  const where = last.to === "" ? "" : ` to ${last.to}`;
  return `message ${id} from ${last.source} to ${last.target}: ${last.action}${where}, because ${last.reason}`;
}
