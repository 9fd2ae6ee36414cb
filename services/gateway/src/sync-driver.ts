/**
 * Drives the AMSP machine: gRPC streams in both directions, the store, and the routes that follow from the record base.
 * What an update changed is on the disk before anything that depends on it is sent (AMSP-60).
 */
import {
  type AgentId,
  CausewayError,
  type ErrorFacts,
  type GatewayUri,
  later,
  type Now,
  type Random,
  refuse,
} from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { RecordVerifier, RegisteredRecord, Status } from "@causeway/core-records";
import { signOrigin } from "@causeway/core-records";
import {
  type PeerName,
  type QueryResult,
  type RouteCandidate,
  type SessionId,
  type SyncChange,
  type SyncEffect,
  type SyncLimits,
  SyncMachine,
} from "@causeway/core-sync";
import { amsp } from "@causeway/core-wire";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Backlog } from "./backlog.ts";
import type { BoundedLog } from "./bounded-log.ts";
import { type AllGatewayLimits, syncLimitsOf } from "./limit-rules.ts";
import { MessageQueue } from "./message-queue.ts";
import type { GatewayConfig, GatewayDeps, PeerConfig } from "./ports.ts";
import { logSyncEvent } from "./sync-events.ts";
import type { Tally } from "./tally.ts";
import { WakeUp } from "./wake-up.ts";

/** What the driver works with. */
export interface SyncParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly limits: AllGatewayLimits;
  readonly verifier: RecordVerifier;
  readonly tally: Tally;
  readonly security: BoundedLog;
  readonly onInstall: (route: RouteCandidate) => void;
  readonly onRemove: (agentId: AgentId, origin: GatewayUri) => void;
}

/** Status of a record that is not withdrawn. */
export type LiveStatus = Exclude<Status, "deregistered">;

/** One open session. */
interface Session {
  readonly outbound: MessageQueue<amsp.Message>;
  readonly abort: AbortController;
  /** Set when the machine closed it; the peer gets it as status. */
  error: ErrorFacts | undefined;
}

/** Effects that wait for the end of the turn at most. */
const waitingMax = 1_024;
/** Time for a closed session's last messages before its stream is cut. */
const lingerMs = 1_000;
/** Wait before a store that failed is tried again. */
const retryMs = 500;
/** Wait before the machine is made anew after too much could not be stored. */
const rebuildMs = 5_000;

/** The record base of this gateway and its peering sessions. */
export class SyncDriver {
  readonly #parts: SyncParts;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #targets = new Map<string, PeerConfig>();
  readonly #wake: WakeUp;
  readonly #stopping = new AbortController();
  /** Who waits for the answer to a query. */
  readonly #asking = new Map<bigint, (result: QueryResult) => void>();
  #machine: SyncMachine;
  #lastSession = 0;
  /** Effects of messages that came in this turn; they are stored and performed together. */
  #waiting: SyncEffect[] = [];
  /** Set while the store fails. */
  #backlog: Backlog | undefined;

  constructor(parts: SyncParts) {
    this.#parts = parts;
    this.#machine = this.#createMachine();
    this.#wake = new WakeUp(parts.deps.scheduler, () => this.#input((now) => this.#machine.handleTimeout(now)));
  }

  /** Installs what the store held and dials the configured neighbours. */
  start(): void {
    for (const peer of this.#parts.config.peers) this.#targets.set(peer.url, peer);
    // The first input installs the routes of what was stored, whether there is anybody to dial or not.
    this.#input((now) => this.#machine.handleTimeout(now));
    this.#input((now) => this.#addTargets(now));
  }

  /** Says goodbye to every peer and ends every session. */
  stop(): void {
    this.#catchUp();
    this.#input((now) => this.#machine.leave(now));
    this.#wake.cancel();
    this.#stopping.abort();
    for (const session of this.#sessions.values()) session.outbound.end();
  }

  /** The server side of one session. */
  async *serve(
    requests: AsyncIterable<amsp.Message>,
    peer: VerifiedPeer,
    signal: AbortSignal,
  ): AsyncGenerator<amsp.Message> {
    if (peer.role !== "gateway" && peer.role !== "registry") {
      throw refuse(
        "CAUSEWAY_IDENTITY_ROLE_WRONG",
        `expected a gateway or a registry, got the ${peer.role} ${peer.spiffeId}`,
      );
    }
    const { id, session } = this.#open(peer, undefined);
    signal.addEventListener("abort", () => this.#closed(id, "the connection is gone"));
    void this.#read(id, requests);
    try {
      yield* session.outbound;
    } finally {
      this.#closed(id, "the stream has ended");
    }
    if (session.error !== undefined) throw new CausewayError(session.error);
  }

  /** Originates a record of an attached agent. Stored when this returns; when it throws, nothing has changed. */
  announce(registered: RegisteredRecord, status: LiveStatus, attachmentSequence: bigint): void {
    this.#catchUp();
    if (this.#backlog !== undefined) throw this.#backlog.error;
    const failed = this.#input((now) => this.#machine.announce(now, { registered, status, attachmentSequence }));
    if (failed === undefined) return;
    this.#input((now) => this.#machine.undoAnnounce(now));
    throw failed;
  }

  /** Like `withdraw`, a fact: when this throws it is not stored yet, and is as soon as the store takes it. */
  setStatus(agentId: AgentId, status: LiveStatus, attachmentSequence: bigint | undefined): void {
    this.#command((now) => this.#machine.setStatus(now, agentId, status, attachmentSequence));
  }

  withdraw(agentId: AgentId): void {
    this.#command((now) => this.#machine.withdraw(now, agentId));
  }

  /** Asks the Level-2 gateways for every record of an agent, or goes on asking; the number of the subscription. */
  follow(agentId: AgentId): bigint {
    let id = 0n;
    this.#input((now) => {
      id = this.#machine.subscribe(now, { agentIds: [agentId] });
    });
    return id;
  }

  unfollow(id: bigint): void {
    this.#input((now) => this.#machine.unsubscribe(now, id));
  }

  /** Asks our own base and the Level-2 gateways for an agent; `done` is called once, unless the machine is made anew. */
  query(agentId: AgentId, done: (result: QueryResult) => void): void {
    this.#input((now) => this.#asking.set(this.#machine.query(now, { agentId }), done));
  }

  applyLimits(limits: SyncLimits): void {
    this.#machine.setLimits(limits);
  }

  /** Ends the peering for good (revocation). */
  disconnect(peer: PeerName, error: ErrorFacts): void {
    this.#input((now) => this.#machine.disconnect(now, peer, error));
  }

  /** Effects that wait for a store that fails; 0 while it works. */
  get backlogSize(): number {
    return this.#backlog === undefined ? 0 : this.#backlog.changes.length + this.#backlog.sends.length;
  }

  get machine(): Pick<SyncMachine, "peers" | "routes" | "allRoutes" | "vector" | "recordCount"> {
    return this.#machine;
  }

  /** The record that this gateway originates for an agent. */
  ownRoute(agentId: AgentId): RouteCandidate | undefined {
    return this.#machine.routes(agentId).find((route) => route.via === "local");
  }

  #createMachine(): SyncMachine {
    const { config, deps, verifier } = this.#parts;
    const store = deps.store;
    return new SyncMachine({
      self: { name: config.gatewayUri, domain: config.domain, role: config.level === 1 ? "level1" : "level2" },
      verifier,
      sha256: (data) => deps.crypto.sha256(data),
      random: deps.random satisfies Random,
      sign: (statement) => signOrigin(deps.identity.recordSigner(), statement),
      own: store.ownVersion(),
      records: store.records(),
      vectors: store.vectors(),
      limits: syncLimitsOf(this.#parts.limits),
    });
  }

  #addTargets(now: Now): void {
    for (const { url, gatewayUri } of this.#targets.values()) {
      this.#machine.addTarget(now, { target: url, ...(gatewayUri !== undefined && { expect: gatewayUri }) });
    }
  }

  /** A command of our own side: throws when its outcome could not be stored. */
  #command(work: (now: Now) => void): void {
    const failed = this.#input(work);
    if (failed !== undefined) throw failed;
  }

  /** Gives the machine one input and performs what follows; the error when the store failed. */
  #input(work: (now: Now) => void): CausewayError | undefined {
    const now = this.#parts.deps.scheduler.now();
    work(now);
    return this.#flush(now);
  }

  /**
   * Gives the machine one message and leaves what follows for the end of the turn: a commit that waits for the disk
   * costs the same for one update and for a hundred. The order of effects stays, so that nothing is sent before what it
   * depends on is stored.
   */
  #collect(work: (now: Now) => void): void {
    const { scheduler } = this.#parts.deps;
    const now = scheduler.now();
    work(now);
    const isFirst = this.#waiting.length === 0;
    for (const effect of this.#machine.drain()) this.#waiting.push(effect);
    if (this.#waiting.length >= waitingMax) this.#flush(now);
    else if (isFirst && this.#waiting.length > 0) scheduler.at(now.instant, () => this.#flush(scheduler.now()));
    this.#wake.arm(this.#machine.deadline());
  }

  #flush(now: Now): CausewayError | undefined {
    for (;;) {
      const effects = [...this.#waiting, ...this.#machine.drain()];
      this.#waiting = [];
      if (effects.length === 0) break;
      if (this.#backlog === undefined) this.#persist(effects, now);
      const backlog = this.#backlog;
      for (const effect of effects) if (backlog?.take(effect) !== true) this.#perform(effect);
      if (backlog?.isFull === true) this.#startOver(now, backlog.error);
    }
    this.#wake.arm(this.#machine.deadline());
    return this.#backlog?.error;
  }

  /** Stores every change of one drain at once; a backlog begins when that fails. */
  #persist(effects: readonly SyncEffect[], now: Now): void {
    const changes = effects.flatMap((effect) => (effect.type === "persist" ? [effect.change] : []));
    const error = this.#storeAll(changes);
    if (error === undefined) return;
    this.#parts.deps.log.error("sync.store_failed", { code: error.code }, error);
    this.#backlog = new Backlog(error);
    this.#retryAfter(now, this.#backlog);
  }

  #storeAll(changes: readonly SyncChange[]): CausewayError | undefined {
    if (changes.length === 0) return undefined;
    try {
      this.#parts.deps.store.atomically(() => {
        for (const change of changes) this.#store(change);
      });
      return undefined;
    } catch (thrown) {
      return CausewayError.from(thrown);
    }
  }

  #retryAfter(now: Now, backlog: Backlog): void {
    this.#parts.deps.scheduler.at(later(now.instant, retryMs), () => {
      if (this.#backlog !== backlog) return;
      this.#catchUp();
      if (this.#backlog === backlog && !this.#stopping.signal.aborted)
        this.#retryAfter(this.#parts.deps.scheduler.now(), backlog);
    });
  }

  /** Tries to store the backlog; then what waited for it is sent. */
  #catchUp(): void {
    const backlog = this.#backlog;
    if (backlog === undefined || this.#storeAll(backlog.changes) !== undefined) return;
    this.#backlog = undefined;
    this.#parts.deps.log.info("sync.store_recovered", { changes: backlog.changes.length });
    for (const effect of backlog.sends) this.#perform(effect);
  }

  #store(change: SyncChange): void {
    const { store } = this.#parts.deps;
    switch (change.kind) {
      case "record":
        store.putRecord(change.record);
        return;
      case "forget":
        store.deleteRecord(change.agentId, change.origin);
        return;
      case "vector":
        store.putVector(change.vector);
        return;
      case "version":
        store.putOwnVersion(change.own);
        return;
    }
  }

  /** The machine knows far more than the disk: it goes, and a new one starts from what is stored. */
  #startOver(now: Now, error: CausewayError): void {
    const { deps, onRemove } = this.#parts;
    deps.log.error("sync.record_base_dropped", { code: error.code }, error);
    this.#waiting = [];
    this.#backlog = undefined;
    this.#asking.clear();
    for (const id of [...this.#sessions.keys()]) this.#end(id, { code: error.code, message: error.message });
    for (const route of this.#machine.allRoutes()) onRemove(route.agentId, route.origin);
    this.#machine = this.#createMachine();
    deps.scheduler.at(later(now.instant, rebuildMs), () => {
      if (this.#stopping.signal.aborted) return;
      this.#input((at) => this.#machine.handleTimeout(at));
      this.#input((at) => this.#addTargets(at));
    });
  }

  #perform(effect: SyncEffect): void {
    switch (effect.type) {
      case "send":
        this.#sessions.get(effect.session)?.outbound.push(effect.message);
        return;
      case "close":
        this.#end(effect.session, effect.error);
        return;
      case "dial":
        void this.#dial(effect.target);
        return;
      case "install":
        this.#parts.onInstall(effect.route);
        return;
      case "remove":
        this.#parts.onRemove(effect.agentId, effect.origin);
        return;
      case "event":
        this.#parts.tally.add(effect.event.name.replace(".", "_"));
        logSyncEvent(effect.event, this.#parts.deps.log, this.#parts.security);
        return;
      case "answer": {
        const done = this.#asking.get(effect.query);
        this.#asking.delete(effect.query);
        done?.(effect.result);
        return;
      }
      case "persist":
        return;
    }
  }

  async #dial(target: string): Promise<void> {
    const { deps } = this.#parts;
    const config = this.#targets.get(target);
    if (config === undefined || this.#stopping.signal.aborted) return;
    const expect = {
      role: "gateway",
      ...(config.gatewayUri !== undefined && { gatewayUri: config.gatewayUri }),
    } as const;
    const transport = deps.dial.sync({ url: config.url, expect, signal: this.#stopping.signal });
    try {
      const peer = await transport.connect(this.#stopping.signal);
      const { id, session } = this.#open(peer, target);
      const client = createClient(amsp.SyncService, transport);
      await this.#read(id, client.session(session.outbound, { signal: session.abort.signal }));
    } catch (error) {
      const reason = CausewayError.from(error);
      if (!this.#stopping.signal.aborted) {
        deps.log.debug("sync.dial_failed", { target, code: reason.code, reason: reason.message });
        this.#input((now) => this.#machine.handleDialFailed(now, target, `${reason.code}: ${reason.message}`));
      }
    } finally {
      transport.close();
    }
  }

  /** The session may be over when this returns: then it holds what a refused peer is to be told. */
  #open(peer: VerifiedPeer, target: string | undefined): { readonly id: SessionId; readonly session: Session } {
    const id = ++this.#lastSession;
    const session: Session = { outbound: new MessageQueue(), abort: new AbortController(), error: undefined };
    this.#sessions.set(id, session);
    this.#input((now) =>
      this.#machine.handleOpened(now, { session: id, peer, ...(target !== undefined && { target }) }),
    );
    return { id, session };
  }

  async #read(id: SessionId, messages: AsyncIterable<amsp.Message>): Promise<void> {
    let reason = "the peer ended the stream";
    try {
      for await (const message of messages) {
        if (!this.#sessions.has(id)) break;
        this.#collect((now) => this.#machine.handleMessage(now, id, message));
      }
    } catch (error) {
      reason = error instanceof Error ? error.message : "the stream failed";
      if (isMalformed(error) && this.#sessions.has(id)) this.#input((now) => this.#machine.handleMalformed(now, id));
    }
    this.#closed(id, reason);
  }

  /** The transport of a session is gone. */
  #closed(id: SessionId, reason: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    session.outbound.end();
    session.abort.abort();
    this.#input((now) => this.#machine.handleClosed(now, id, reason));
  }

  /** The machine closes a session; what is queued still goes out. */
  #end(id: SessionId, error: ErrorFacts | undefined): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    session.error = error;
    session.outbound.end();
    const { scheduler } = this.#parts.deps;
    scheduler.at(later(scheduler.now().instant, lingerMs), () => session.abort.abort());
  }
}

/** A transport that could not decode what came says so with these codes; a lost connection has others. */
function isMalformed(error: unknown): boolean {
  return error instanceof ConnectError && (error.code === Code.InvalidArgument || error.code === Code.Internal);
}
