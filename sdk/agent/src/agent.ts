/** One agent on the network: puts the parts together and keeps them alive while the link comes and goes. */
import type { AttachmentModelName, GatewayUse, Lease } from "@causeway/core-attachment";
import {
  type AgentId,
  agentOf,
  CausewayError,
  type Instant,
  later,
  parseAgentId,
  parseSpiffeId,
  refuse,
  type SpiffeId,
  shortName,
  withInstance,
} from "@causeway/core-base";
import { type SessionLimits, sessionLimits } from "@causeway/core-session";
import type { agp } from "@causeway/core-wire";
import type { ConnectRouter, Transport } from "@connectrpc/connect";
import { Anycast } from "./anycast.ts";
import type {
  Agent,
  AgentEvent,
  AgentProfile,
  AgentReport,
  AgentStream,
  Answer,
  Ask,
  CallOptions,
  Capability,
  CapabilityAnswer,
  CardProfile,
  CloseOptions,
  DiscoverOptions,
  Discovery,
  ManyAnswers,
  ManyOptions,
  Match,
  MessageHandler,
  MessageOptions,
  NetworkEventListener,
  PublicationHandler,
  Receipt,
  RegisterOptions,
  Registration,
  RequestHandler,
  SendOptions,
  StreamHandler,
  StreamOptions,
  Subscription,
  TopicDescription,
  TopicRights,
  TransportOptions,
  Watch,
} from "./api.ts";
import { type AttachedFacts, Attachments, type Loss } from "./attachments.ts";
import { requestFor } from "./capability.ts";
import { inNextTurn, within } from "./clock.ts";
import type { Connector } from "./connector.ts";
import type { Content, Data } from "./content.ts";
import { type DeliveryLink, DeliveryService } from "./delivery-service.ts";
import { type DirectOptions, Ways } from "./direct/ways.ts";
import { discover, lookup } from "./discovery.ts";
import type { EndToEnd } from "./end-to-end.ts";
import { Events } from "./events.ts";
import { Exchanges } from "./exchanges.ts";
import { type GatewaySession, noneFound } from "./gateway-session.ts";
import { KeyPackageStock } from "./key-packages.ts";
import { Mailroom } from "./mailroom.ts";
import { type Delivery, Messenger } from "./messenger.ts";
import { NetworkEvents } from "./network-events.ts";
import { RecordKeeper } from "./registration.ts";
import { requestMany } from "./scatter.ts";
import { Sending } from "./sending.ts";
import { AgentStreams } from "./streams/agent-streams.ts";
import { serviceHandlers, serviceTransport } from "./streams/services.ts";
import { Topics } from "./topics.ts";

/** Options of `openAgent`. */
export interface OpenOptions {
  /**
   * Names this process among several of the same agent, each with a data directory of its own. Others meet any of them
   * under the agent's name, and then stay with the one that they met; `name/@instance` reaches this one. Needed as soon as
   * there are several. Default: the only one.
   */
  readonly instance?: string;
  /**
   * Gateways that the agent is attached to at once, 1 to 8, as far as there are so many. With several it is reached through
   * any of them: when one is lost the others go on at once. Others send to the one first that was found first, while it is
   * there. Default 1.
   */
  readonly attachments?: number;
  /** False keeps the agent unknown outside of its gateway. Default true. */
  readonly advertise?: boolean;
  /**
   * How the gateway keeps the attachment when the agent has the choice. `stateful`: a heartbeat each 30 seconds; after three
   * that are missing messages wait for the agent, until it is removed. `soft`: whatever the agent sends renews it, without
   * traffic a refresh at a third of the lease, and it is gone when the lease runs out in silence. A gateway that does not
   * offer it gives its own; `status().model` has what was agreed. Default `stateful`.
   */
  readonly model?: AttachmentModelName;
  /**
   * Features that the gateway has to have, for example `mailbox/1`. One without them is passed over; `status().discovery`
   * says why. Default: none beside those that every attachment needs.
   */
  readonly requiredFeatures?: readonly string[];
  /**
   * Messages that this agent takes each second through its gateway, which refuses more for it and tells the senders when to
   * try again; reliable messages are then repeated. Default: any.
   */
  readonly messagesPerSecondMax?: number;
  /**
   * Messages inside the own domain: `always` through gateways; `prefer` them, and go directly while there is none; `never`,
   * directly only. The domain may prescribe one of them, and the stricter wins. Messages to other domains always go through
   * the gateway. Default `prefer`.
   */
  readonly gatewayUse?: GatewayUse;
  /** Direct links with agents of the own domain. */
  readonly direct?: DirectOptions;
  /** Milliseconds for the first attachment. Default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly limits?: Partial<SessionLimits>;
}

/**
 * Takes an agent onto the network over a platform's connector. Resolves when it is attached and can be reached. The
 * connector belongs to the agent from here on: it is closed with it, also when this fails.
 */
export async function openAgent(connector: Connector, options: OpenOptions = {}): Promise<Agent> {
  let link: DeliveryLink | undefined;
  const attached = (): DeliveryLink => {
    if (!link) throw refuse("CAUSEWAY_UNREACHABLE", "the agent is not attached yet");
    return link;
  };
  const { agentId } = connector.identity;
  // One that has no name is the only one, and need not be told apart.
  const source = options.instance === undefined ? agentId : withInstance(agentId, options.instance);
  const delivery = new DeliveryService(connector, source, {
    transmit: async (frame, to) => attached().transmit(frame, to),
    awaiting: async (work) => attached().awaiting(work),
    isOrdered: (peer) => link?.isOrdered(peer) ?? true,
  });
  let endToEnd: EndToEnd;
  try {
    endToEnd = await openEndToEnd(connector, delivery);
  } catch (thrown) {
    await connector.close();
    throw thrown;
  }
  let agent: NetworkAgent;
  try {
    agent = new NetworkAgent(connector, endToEnd, delivery, source, options);
  } catch (thrown) {
    await endToEnd.close();
    await connector.close();
    throw thrown;
  }
  link = agent.link;
  try {
    await agent.start(options);
  } catch (thrown) {
    await agent.close();
    throw thrown;
  }
  return agent;
}

function openEndToEnd(connector: Connector, delivery: DeliveryService): Promise<EndToEnd> {
  const { identity, scheduler, log } = connector;
  return connector.createEndToEnd({
    agentId: identity.agentId,
    mls: identity.mls(),
    verifyLeaf: (chain) => identity.trust.verifyChain(chain, { now: scheduler.now().unix, purpose: "mls" }),
    delivery,
    clock: () => scheduler.now().unix,
    onEvent: ({ type, code, peer, text }) => log.info(`agent.${type.replace(".", "_")}`, { code, peer, text }),
  });
}

class NetworkAgent implements Agent {
  readonly id: AgentId;
  readonly #connector: Connector;
  readonly #endToEnd: EndToEnd;
  readonly #delivery: DeliveryService;
  readonly #events = new Events();
  readonly #session: Attachments;
  readonly #ways: Ways;
  readonly #messenger: Messenger;
  readonly #exchanges: Exchanges;
  readonly #mailroom: Mailroom;
  readonly #topics: Topics;
  readonly #records: RecordKeeper;
  readonly #networkEvents: NetworkEvents;
  readonly #keyPackages: KeyPackageStock;
  /** Checked last, in its full form: whoever sends much often sends to the same agent. */
  #lastTarget: SpiffeId | undefined;
  readonly #anycast: Anycast;
  readonly #sending: Sending;
  readonly #streams: AgentStreams;
  readonly #stops: (() => void)[] = [];
  #ready: { readonly resolve: () => void; readonly reject: (error: CausewayError) => void } | undefined;
  #downSince: Instant | undefined;
  #stockCheckAt: Instant;
  #wasAttached = false;
  #closing: Promise<void> | undefined;

  constructor(
    connector: Connector,
    endToEnd: EndToEnd,
    delivery: DeliveryService,
    source: SpiffeId,
    options: OpenOptions,
  ) {
    const { identity, scheduler, random, store, log } = connector;
    const onEvent = (event: AgentEvent): void => this.#events.emit(event);
    this.id = identity.agentId;
    this.#connector = connector;
    this.#stockCheckAt = later(scheduler.now().instant, stockCheckMs);
    this.#endToEnd = endToEnd;
    this.#delivery = delivery;
    const bounds = { ...sessionLimits, ...options.limits };
    this.#session = new Attachments({
      connector,
      wanted: options.attachments ?? 1,
      instance: options.instance ?? "main",
      advertise: options.advertise ?? true,
      model: options.model ?? "stateful",
      requiredFeatures: options.requiredFeatures ?? [],
      messagesPerSecondMax: options.messagesPerSecondMax ?? 0,
      limits: bounds,
      onMessage: (envelope, attachment) => this.#messenger.handleEnvelope(envelope, attachment),
      onControl: (control) => this.#handleControl(control),
      onAttached: (at, lease, facts) => this.#handleAttached(at, lease, facts),
      setUp: (at) => this.#setUp(at, { isFirst: false, takesOver: false }),
      onLost: (cause, loss) => this.#handleLost(cause, loss),
      onBackoff: (attempt, inMs) => this.#handleBackoff(attempt, inMs),
      onDraining: (reason) => onEvent({ type: "draining", reason }),
      onNetworkEvent: (event) => this.#networkEvents.handle(event),
      onSecurity: (peer, error) => onEvent({ type: "security", peer, error }),
    });
    this.#ways = new Ways({
      connector,
      self: this.id,
      source,
      gatewayUse: options.gatewayUse ?? "prefer",
      options: options.direct ?? {},
      endToEnd,
      gateway: this.#session,
      onMessage: (envelope) => this.#messenger.handleEnvelope(envelope, undefined),
      onControl: (control) => this.#handleControl(control),
      onChange: (lost) => this.#reach(lost),
      onEvent,
      tell: (to, body) => this.#messenger.post(to, body, { lane: this.#messenger.newLane(), timeoutMs: tellMs }),
    });
    this.#messenger = new Messenger({
      self: this.id,
      source,
      endToEnd,
      scheduler,
      random,
      store,
      log,
      sha256: (data) => identity.crypto.sha256(data),
      transmit: (frame, to, lane) => this.#ways.transmit(frame, to, lane),
      nextTurn: (run) => inNextTurn(connector, run),
      onDeliver: (arrived) => this.#deliver(arrived),
      onTopic: (topic, opened, body) => this.#topics.handle(topic, opened, body),
      onUnknownTopic: (topic) => this.#topics.handleUnknown(topic),
      onSettled: (header, error) => this.#session.settled(header, error),
      onHandshake: (opened) => {
        if (opened.kind === "handshake" && opened.change === "joined") this.#keyPackages.handleUsed();
        if (opened.kind === "handshake" && opened.change === "pending") void this.#maintain();
      },
      onEvent,
      limits: bounds,
    });
    this.#mailroom = new Mailroom(scheduler);
    this.#anycast = new Anycast((prefix) => delivery.anyOf(prefix));
    this.#sending = new Sending(this.#messenger, scheduler);
    this.#streams = new AgentStreams(this.#messenger, scheduler);
    this.#topics = new Topics({
      self: this.id,
      connector,
      session: this.#session,
      delivery,
      messenger: this.#messenger,
      endToEnd,
      exchanges: () => this.#exchanges,
      onEvent,
    });
    this.#exchanges = new Exchanges(this.#messenger, scheduler, (from, join) => this.#topics.handleJoin(from, join));
    this.#networkEvents = new NetworkEvents(
      () => this.#session,
      (error) => onEvent({ type: "warning", error }),
    );
    this.#records = new RecordKeeper(connector, this.#session, (error) => onEvent({ type: "warning", error }));
    this.#keyPackages = new KeyPackageStock(() => this.#session.sessions(), endToEnd, log);
  }

  async start(options: OpenOptions): Promise<void> {
    const { identity, scheduler } = this.#connector;
    await this.#topics.load();
    this.#stops.push(
      identity.onTrust(() => {
        this.#endToEnd.trustChanged();
        this.#ways.checkTrust();
        void this.#maintain();
      }),
      identity.onRenewed(() => void this.#handleRenewed()),
    );
    const ready = new Promise<void>((resolve, reject) => {
      this.#ready = { resolve, reject };
    });
    ready.catch(() => undefined);
    this.#session.start();
    const timeoutMs = options.timeoutMs ?? attachMs;
    try {
      await within(ready, { scheduler, timeoutMs, signal: options.signal, expected: "to be attached to a gateway" });
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      if (error.code !== "CAUSEWAY_TIMEOUT") throw error;
      // The reason why no gateway could be attached to says more than that time went by.
      throw this.#session.lastError ?? noneFound(timeoutMs, this.#session.discovery.passedOver) ?? error;
    }
    this.#mailroom.begin();
    this.#scheduleMaintenance();
  }

  get link(): DeliveryLink {
    return this.#ways;
  }

  register(profile: AgentProfile | CardProfile, options?: RegisterOptions): Promise<Registration> {
    this.#check();
    return this.#records.register(profile, options);
  }

  deregister(reason = "the agent ends its registration", options?: CallOptions): Promise<void> {
    this.#check();
    return this.#records.deregister(reason, options);
  }

  onRequest(...args: [string, RequestHandler] | [RequestHandler]): () => void {
    this.#check();
    return args.length === 1 ? this.#exchanges.onRequest("", args[0]) : this.#exchanges.onRequest(args[0], args[1]);
  }

  onMessage(handler: MessageHandler): () => void {
    this.#check();
    return this.#mailroom.onMessage(handler);
  }

  async request(target: string, ask: Ask, options: MessageOptions = {}): Promise<Answer> {
    this.#check();
    return this.#toOneOf(target, "", (to) => this.#exchanges.request(to, ask, options));
  }

  async *stream(target: string, ask: Ask, options: MessageOptions = {}): AsyncGenerator<Content, void, undefined> {
    this.#check();
    yield* this.#exchanges.stream(this.#target(target), ask, options);
  }

  async send(target: string, data: Data, options: SendOptions = {}): Promise<Receipt> {
    this.#check();
    return this.#toOneOf(target, options.session ?? "", (to) => this.#sending.send(to, data, options));
  }

  openStream(target: string, options: StreamOptions = {}): AgentStream {
    this.#check();
    return this.#streams.open(this.#target(target), options);
  }

  onStream(...args: [string, StreamHandler] | [StreamHandler]): () => void {
    this.#check();
    return args.length === 1 ? this.#streams.onStream("", args[0]) : this.#streams.onStream(args[0], args[1]);
  }

  transportTo(target: string, options: TransportOptions = {}): Transport {
    const to = this.#target(target);
    const { priority = "interactive" } = options;
    return serviceTransport((opening) => this.openStream(to, { priority, ...opening }), options);
  }

  serve(routes: (router: ConnectRouter) => void): () => void {
    this.#check();
    const stops = [...serviceHandlers(routes)].map(([name, handler]) => this.#streams.onStream(name, handler));
    return () => {
      for (const stop of stops) stop();
    };
  }

  async requestMany(targets: string | readonly string[], ask: Ask, options: ManyOptions = {}): Promise<ManyAnswers> {
    this.#check();
    const { scheduler } = this.#connector;
    const ports = {
      self: this.id,
      request: (agent: AgentId, one: Ask, more: MessageOptions) => this.request(agent, one, more),
      discover: (text: string, more: DiscoverOptions) => this.discover(text, more),
      nowMs: () => scheduler.now().instant,
    };
    return requestMany(ports, targets, ask, options);
  }

  async requestFor(capability: Capability, ask: Ask, options: MessageOptions = {}): Promise<CapabilityAnswer> {
    this.#check();
    const { scheduler } = this.#connector;
    const ports = {
      request: (target: string, one: Ask, more: MessageOptions) => this.request(target, one, more),
      discover: (text: string, more: DiscoverOptions) => this.discover(text, more),
      nowMs: () => scheduler.now().instant,
    };
    return requestFor(ports, capability, ask, options);
  }

  async discover(text: string, options: DiscoverOptions = {}): Promise<Discovery> {
    this.#check();
    return discover(this.#connector, text, options);
  }

  async lookup(agent: string, options: CallOptions = {}): Promise<Match | undefined> {
    this.#check();
    return lookup(this.#connector, parseAgentId(agent), options);
  }

  async createTopic(topic: string, rights: TopicRights = {}, options: CallOptions = {}): Promise<string> {
    this.#check();
    return this.#topics.create(topic, rights, options);
  }

  async deleteTopic(topic: string, options: CallOptions = {}): Promise<void> {
    this.#check();
    await this.#topics.delete(topic, options);
  }

  async describeTopic(
    topic: string,
    options: CallOptions & { readonly owner?: string } = {},
  ): Promise<TopicDescription> {
    this.#check();
    return this.#topics.describe(topic, options);
  }

  async listTopics(owner?: string, options: CallOptions = {}): Promise<readonly TopicDescription[]> {
    this.#check();
    return this.#topics.list(owner, options);
  }

  async publish(topic: string, data: Data, options: CallOptions = {}): Promise<void> {
    this.#check();
    await this.#topics.publish(topic, data, options);
  }

  async subscribe(
    topic: string,
    handler: PublicationHandler,
    options: CallOptions & { readonly owner?: string } = {},
  ): Promise<Subscription> {
    this.#check();
    return this.#topics.subscribe(topic, handler, options);
  }

  async watch(types: readonly string[], listener: NetworkEventListener, options: CallOptions = {}): Promise<Watch> {
    this.#check();
    return this.#networkEvents.watch(types, listener, options);
  }

  setCondition(condition: "running" | "degraded" | "offline"): void {
    this.#check();
    this.#session.setCondition(condition);
  }

  status(): AgentReport {
    const { lease, lastError, discovery } = this.#session;
    const { choice, passedOver } = discovery;
    const { groups, refused } = this.#endToEnd.exportStatus();
    const sessions = new Map<AgentId, AgentReport["sessions"][number]>();
    // Of several groups with one agent the last is the one in use.
    for (const { kind, members, suite, epoch } of groups) {
      const peer = kind === "pair" ? members.find((member) => member !== this.id) : undefined;
      if (peer) sessions.set(peer, { peer, suite, epoch: Number(epoch) });
    }
    return {
      agentId: this.id,
      state: this.#state(),
      gateway: lease?.gatewayId,
      leaseMs: lease?.lifetimeMs,
      model: lease?.model,
      features: lease?.features ?? [],
      attachments: this.#session.report(),
      discovery: {
        chosen: choice && {
          method: choice.candidate.method,
          endpoint: choice.candidate.endpoint,
          reason: choice.reason,
        },
        passedOver,
      },
      direct: this.#ways.report(),
      lastError,
      certificateExpiresUnixMs: this.#connector.identity.notAfter(),
      registered: this.#records.isRegistered,
      topics: this.#topics.report(),
      sessions: [...sessions.values()],
      counters: { ...this.#messenger.counters, ...refused },
    };
  }

  onEvent(listener: (event: AgentEvent) => void): () => void {
    return this.#events.add(listener);
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.away ?? false);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(isAway: boolean): Promise<void> {
    for (const stop of this.#stops) stop();
    const error = refuse("CAUSEWAY_CANCELLED", "the agent was closed while this was under way");
    this.#ready?.reject(error);
    this.#exchanges.close(error);
    this.#streams.close(error);
    this.#records.close();
    this.#topics.close();
    await this.#messenger.settle(closeMs);
    this.#session.close("the agent was closed", isAway);
    await this.#ways.close();
    this.#delivery.reset(error);
    await this.#messenger.close();
    await this.#endToEnd.close();
    await this.#connector.close();
    this.#events.emit({ type: "closed" });
  }

  async #handleAttached(at: GatewaySession, lease: Lease, facts: AttachedFacts): Promise<void> {
    const { scheduler } = this.#connector;
    const downSince = this.#downSince;
    this.#downSince = undefined;
    this.#wasAttached = true;
    // What found no open link leaves again: there is a gateway now.
    if (facts.isFirst) this.#messenger.setReach((to) => this.#ways.isDirect(to));
    this.#ways.handleAttached(lease);
    this.#reach();
    this.#events.emit({ type: "attached", gateway: lease.gatewayId, leaseMs: lease.lifetimeMs });
    if (downSince !== undefined) {
      this.#events.emit({
        type: "gap",
        scope: "link",
        name: lease.gatewayId,
        missed: 0,
        downMs: scheduler.now().instant - downSince,
      });
    }
    await this.#setUp(at, facts);
    await this.#ways.settled();
    this.#ready?.resolve();
  }

  /** Tells a gateway what every gateway of this agent has to know. */
  async #setUp(at: GatewaySession, facts: AttachedFacts): Promise<void> {
    await this.#keyPackages.handleAttached(at);
    await this.#topics.handleAttached(at, facts);
    await this.#networkEvents.handleAttached(at);
    await this.#records.handleAttached(at);
  }

  #handleLost(cause: CausewayError, { wasPreferred, isLast, isFinal }: Loss): void {
    if (wasPreferred) {
      // What was under way through the gateway leaves again where there is another way.
      this.#messenger.setReach((to) => this.#ways.isDirect(to));
      if (isLast) this.#ways.handleLost();
      this.#reach();
      this.#delivery.reset(refuse("CAUSEWAY_UNREACHABLE", "the link to the gateway was lost while this was under way"));
    }
    if (!isLast) return;
    this.#downSince ??= this.#connector.scheduler.now().instant;
    this.#events.emit({ type: "detached", error: cause });
    if (!isFinal) return;
    this.#ready?.reject(cause);
    // Nothing that is under way can succeed any more.
    this.#exchanges.close(cause);
    this.#streams.close(cause);
    this.#messenger.end(cause);
    void this.#ways.close();
  }

  /** Ways have opened or closed; what was under way to `lost` leaves again. */
  #reach(lost?: AgentId): void {
    if (lost) this.#messenger.setReach((to) => agentOf(to) !== lost && this.#ways.reaches(to));
    this.#messenger.setReach((to) => this.#ways.reaches(to));
  }

  #handleBackoff(attempt: number, inMs: number): void {
    this.#events.emit({ type: "reconnecting", attempt, inMs });
    const { lastError } = this.#session;
    // What a second attempt would not change is said at once; an agent that was attached before goes on trying.
    if (lastError && !lastError.retryable && !this.#wasAttached) this.#ready?.reject(lastError);
  }

  #handleControl(control: agp.Control): void {
    if (this.#delivery.handle(control)) return;
    if (control.body.case === "deliveryReport")
      this.#messenger.handleReport(control.body.value, control.header?.source ?? "");
    else this.#connector.log.debug("agent.control_ignored", { kind: control.body.case });
  }

  #deliver(delivery: Delivery): void {
    this.#ways.handleHeard(delivery.address, delivery.channel);
    if (delivery.body.case === "directAddress") this.#ways.handleAddress(delivery, delivery.body.value);
    else if (delivery.body.case === "message") this.#mailroom.handle(delivery);
    else if (this.#streams.handle(delivery)) return;
    else if (delivery.body.case === "topicLeave") this.#topics.handleLeave(delivery, delivery.body.value);
    else this.#exchanges.handle(delivery);
  }

  /** New certificates are used at once: for the link, for groups and for the record (ANA-73). */
  async #handleRenewed(): Promise<void> {
    this.#events.emit({ type: "renewed" });
    try {
      for (const change of await this.#endToEnd.rotate(this.#connector.identity.mls()))
        await this.#topics.sendChange(change);
    } catch (thrown) {
      if (!this.#closing) this.#events.emit({ type: "warning", error: CausewayError.from(thrown) });
    }
    if (this.#closing) return;
    this.#session.renew();
    await this.#records.handleRenewed();
  }

  #scheduleMaintenance(): void {
    const { scheduler } = this.#connector;
    const stop = scheduler.at(later(scheduler.now().instant, maintainMs), () => {
      this.#stops.splice(this.#stops.indexOf(stop), 1);
      void this.#maintain().then(() => {
        if (!this.#closing) this.#scheduleMaintenance();
      });
    });
    this.#stops.push(stop);
  }

  async #maintain(): Promise<void> {
    const { instant } = this.#connector.scheduler.now();
    if (this.#session.lease && instant >= this.#stockCheckAt) {
      this.#stockCheckAt = later(instant, stockCheckMs);
      await this.#keyPackages.check();
    }
    try {
      await this.#topics.maintain();
    } catch (thrown) {
      if (!this.#closing) this.#events.emit({ type: "warning", error: CausewayError.from(thrown) });
    }
  }

  #state(): AgentReport["state"] {
    if (this.#closing) return "closed";
    if (this.#session.isHeld) return "attached";
    if (this.#session.ended) return "detached";
    return this.#wasAttached ? "reconnecting" : "connecting";
  }

  /** For the target; of a prefix, for the agent below it that this session stays with. */
  #toOneOf<T>(target: string, session: string, run: (to: SpiffeId) => Promise<T>): Promise<T> {
    return target.endsWith("/") ? this.#anycast.use(target, session, run) : run(this.#target(target));
  }

  /** An agent, or one instance of it. */
  #target(target: string): SpiffeId {
    if (target === this.#lastTarget) return this.#lastTarget;
    const to = parseSpiffeId(target);
    if (agentOf(to) === this.id)
      throw refuse("CAUSEWAY_MISUSE", `expected another agent as target, got ${shortName(to)} itself`);
    if (to === target) this.#lastTarget = to;
    return to;
  }

  #check(): void {
    if (this.#closing) throw refuse("CAUSEWAY_MISUSE", "expected an open agent, got one that was closed");
    if (this.#session.ended) throw this.#session.ended;
  }
}

const attachMs = 30_000;
/** How long an agent tries to tell another one where it listens. */
const tellMs = 60_000;
const maintainMs = 60_000;
const stockCheckMs = 600_000;
/** How long closing waits for acknowledgements to leave. */
const closeMs = 500;
