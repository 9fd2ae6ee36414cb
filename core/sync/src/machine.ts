/**
 * The sync machine of one gateway or reader (seed 003): its record base and every peering session. Synchronous, without
 * clock, sockets or randomness of its own; see the machine contract in core-base. Invariants: a record is never sent to
 * the neighbour it was learned from; what has our own name in PATH is dropped; an older version never replaces a newer
 * one, a tombstone included; a Level-1 gateway passes on its own records only; nothing is sent before it is persisted.
 *
 * It does not know how a message is forwarded, where addresses come from, nor what is done with an event.
 */
import {
  type AgentId,
  asInstant,
  type ErrorFacts,
  type GatewayUri,
  type Instant,
  later,
  type Machine,
  type Now,
  refuse,
  type StoredVector,
} from "@causeway/core-base";
import { type InterestTopic, matchesInterest, type Status } from "@causeway/core-records";
import type { amsp } from "@causeway/core-wire";
import { compareOrigins, compareText } from "./decide.ts";
import type { PeerName, RouteCandidate, SessionId, SyncEffect, SyncPeerStatus } from "./effects.ts";
import { desiredExport, flush } from "./export.ts";
import { isWanted } from "./import.ts";
import type { SyncLimits } from "./limits.ts";
import { slotKey, type Way } from "./loc-rib.ts";
import { dispatch } from "./messages.ts";
import type { OpenedSession, SyncOptions, SyncTarget } from "./options.ts";
import { type Announcement, Origination } from "./origination.ts";
import { statusOf } from "./peer.ts";
import type { PolicyVerdict, SyncPolicy } from "./policy.ts";
import { Queries, type Question } from "./queries.ts";
import { Restored } from "./restored.ts";
import { productionRules, type SyncRules } from "./rules.ts";
import { Sessions } from "./session.ts";
import { SyncState } from "./sync-state.ts";

/** The machine with its rules as an argument, for tests that replace one. Production uses `SyncMachine`. */
export class RuledSyncMachine implements Machine<SyncEffect> {
  readonly #state: SyncState;
  readonly #origination: Origination;
  readonly #sessions: Sessions;
  readonly #queries: Queries;
  readonly #restored: Restored;

  constructor(options: SyncOptions, rules: SyncRules) {
    this.#state = new SyncState(options, rules);
    this.#origination = new Origination(this.#state);
    this.#sessions = new Sessions(this.#state, (now, claimed) => this.#origination.noticeClaim(now, claimed));
    this.#queries = new Queries(this.#state);
    this.#restored = new Restored(this.#state);
  }

  // Inputs

  handleOpened(now: Now, opened: OpenedSession): void {
    this.#run(now, () => this.#sessions.opened(now, opened));
  }

  handleDialFailed(now: Now, target: string, reason: string): void {
    this.#run(now, () => this.#sessions.dialFailed(now, target, reason));
  }

  /** Never throws for a peer's doing. A session that is not known any more is ignored. */
  handleMessage(now: Now, session: SessionId, message: amsp.Message): void {
    this.#run(now, () => dispatch(this.#parts(), now, session, message));
  }

  /** Bytes came that are not a message of this protocol: the session is closed and the peer told. */
  handleMalformed(now: Now, session: SessionId): void {
    this.#run(now, () => {
      const peer = this.#state.bySession.get(session);
      const error = { code: "CAUSEWAY_FRAME_MALFORMED", message: "expected a message of causeway.amsp.v1" } as const;
      if (peer !== undefined) this.#sessions.reject(now, peer, error);
    });
  }

  handleClosed(now: Now, session: SessionId, reason: string): void {
    this.#run(now, () => {
      const peer = this.#state.bySession.get(session);
      this.#sessions.closed(now, session, reason);
      if (peer !== undefined) this.#queries.peerLost(now, peer.name);
    });
  }

  handleTimeout(now: Now): void {
    this.#run(now, () => {
      for (const timer of this.#state.timers.takeDue(now.instant)) this.#fire(now, timer);
    });
  }

  // Commands

  addTarget(now: Now, target: SyncTarget): void {
    this.#run(now, () => this.#sessions.targets.add(now, target));
  }

  /** Stops dialling the target and ends the peering that was reached through it. */
  removeTarget(now: Now, target: string): void {
    this.#run(now, () => {
      const name = this.#sessions.targets.remove(target);
      const peer = name === undefined ? undefined : this.#state.peers.get(name);
      if (peer?.session?.target !== target && peer?.state !== "OFFLINE") return;
      this.#sessions.end(now, peer, { code: "CAUSEWAY_CANCELLED", message: "the peer was removed by configuration" });
    });
  }

  /** Ends the peering for good and removes what only this peer told (revocation, operator). */
  disconnect(now: Now, name: PeerName, error: ErrorFacts): void {
    this.#run(now, () => {
      const peer = this.#state.peers.get(name);
      if (peer !== undefined) this.#sessions.end(now, peer, error);
      this.#queries.peerLost(now, name);
    });
  }

  /** Measured distance class of a peer; the lower wins between equal paths (C-11). Default 0. */
  setDelayClass(now: Now, name: PeerName, delayClass: number): void {
    this.#run(now, () => {
      const peer = this.#state.peers.get(name);
      if (peer === undefined || peer.delayClass === delayClass) return;
      peer.delayClass = delayClass;
      for (const key of peer.received.keys()) {
        const slot = this.#state.base.slot(key);
        if (slot !== undefined) this.#state.slotChanged(now, slot, "ways");
      }
    });
  }

  /** Other bounds from now on. Sessions keep the heartbeat that they agreed on. */
  setLimits(limits: SyncLimits): void {
    Object.assign(this.#state.limits, limits);
  }

  /** Replaces the policy; peers are told what it changes for them. What was kept under the old scope stays. */
  setPolicy(now: Now, policy: SyncPolicy): void {
    this.#run(now, () => {
      this.#state.policy = policy;
      for (const peer of this.#state.peers.values()) this.#state.markAll(peer);
    });
  }

  /** Originates a record of an agent that is attached here, or replaces it. Throws when it may not be announced here. */
  announce(now: Now, announcement: Announcement): void {
    this.#run(now, () => this.#origination.announce(now, announcement));
  }

  /** Takes the last `announce` back: the record that it replaced is announced again, or the new one withdrawn. */
  undoAnnounce(now: Now): void {
    this.#run(now, () => this.#origination.undoAnnounce(now));
  }

  /** Throws CAUSEWAY_RECORD_NOT_FOUND when no record of the agent is originated here. */
  setStatus(now: Now, agentId: AgentId, status: Status, attachmentSequence?: bigint): void {
    this.#run(now, () => {
      if (!this.#origination.setStatus(now, agentId, status, attachmentSequence)) throw notOriginated(agentId);
    });
  }

  /** Withdraws an own record: a tombstone travels. Throws CAUSEWAY_RECORD_NOT_FOUND when none is originated here. */
  withdraw(now: Now, agentId: AgentId): void {
    this.#run(now, () => {
      if (!this.#origination.withdraw(now, agentId)) throw notOriginated(agentId);
    });
  }

  /** Asks the Level-2 gateways for records of a topic, now and at each new session. The same topic again is the same id. */
  subscribe(now: Now, topic: Partial<InterestTopic>): bigint {
    const whole = completeTopic(topic);
    return this.#run(now, () => {
      const { id, isNew } = this.#state.subscriptions.add(whole, now.instant);
      this.#state.wakeAt("idle", later(now.instant, this.#state.limits.idleSubscriptionMs));
      if (isNew) this.#toLevel2(now, { case: "subscribe", value: { id, interest: whole } });
      return id;
    });
  }

  unsubscribe(now: Now, id: bigint): void {
    this.#run(now, () => this.#unsubscribe(now, id));
  }

  /** The subscription was used; its idle time starts again. */
  touch(now: Now, id: bigint): void {
    this.#run(now, () => this.#state.subscriptions.touch(id, now.instant));
  }

  /** Asks our own base, then the Level-2 gateways; an `answer` effect with this id follows, always. */
  query(now: Now, question: Question): bigint {
    return this.#run(now, () => this.#queries.ask(now, question));
  }

  /** Leaves service: Close with `leaving` to every peer. */
  leave(now: Now): void {
    this.#run(now, () => this.#sessions.leave(now));
  }

  // Outputs

  drain(): readonly SyncEffect[] {
    return this.#state.drain();
  }

  /** At once while restored records wait for their first clock reading, so that our own routes are installed. */
  deadline(): Instant | undefined {
    return this.#restored.isWaiting ? asInstant(0) : this.#state.timers.deadline();
  }

  // Reads

  peers(): readonly SyncPeerStatus[] {
    return [...this.#state.peers.values()].map(statusOf).sort((a, b) => compareText(a.name, b.name));
  }

  /** Topics that a peer subscribed to, by the peer's ids (AMSP-64). */
  subscriptionsOf(name: PeerName): ReadonlyMap<bigint, InterestTopic> {
    return this.#state.peers.get(name)?.subscriptions.topics() ?? new Map();
  }

  /** Every way to an agent, best origin first (AAP-15, AAP-95). */
  routes(agentId: AgentId): readonly RouteCandidate[] {
    return [...this.#state.base.slotsOf(agentId)].flatMap((slot) => slot.route ?? []).sort(compareOrigins);
  }

  /** Every way to one record, the chosen one and the others: what each peer told (AMSP-74). */
  ways(agentId: AgentId, origin: GatewayUri): readonly Way[] {
    const slot = this.#state.base.slot(slotKey(agentId, origin));
    return [...(slot?.ways.values() ?? [])].sort((a, b) => compareText(a.via, b.via));
  }

  /** Every route of the record base, in the order in which the records became known. */
  *allRoutes(): IterableIterator<RouteCandidate> {
    for (const slot of this.#state.base.slots()) if (slot.route !== undefined) yield slot.route;
  }

  /** Whether the peer should hold a record now, or why not (AMSP-74, AMSP-82). */
  explainExport(now: Now, agentId: AgentId, origin: GatewayUri, name: PeerName): PolicyVerdict {
    const peer = this.#state.peers.get(name);
    if (peer === undefined) return { denied: `${name} is not a peer` };
    const key = slotKey(agentId, origin);
    const refused = peer.sent.entry(key)?.refused;
    const desired = desiredExport(this.#state, this.#state.base.slot(key), peer, now);
    if (desired.kind === "none") return { denied: desired.reason };
    if (desired.kind === "tombstone") return { denied: "it is withdrawn" };
    return refused === undefined ? true : { denied: `the peer refused it: ${refused}` };
  }

  /** What a policy would send to a peer and what not, without applying it (AMSP-82). */
  preview(
    now: Now,
    name: PeerName,
    policy: SyncPolicy,
  ): readonly { readonly route: RouteCandidate; readonly verdict: PolicyVerdict }[] {
    const peer = this.#state.peers.get(name);
    if (peer === undefined) return [];
    return [...this.allRoutes()].map((route) => {
      const slot = this.#state.base.slot(slotKey(route.agentId, route.origin));
      const desired = desiredExport(this.#state, slot, peer, now, policy);
      return {
        route,
        verdict: desired.kind === "live" ? true : { denied: desired.kind === "none" ? desired.reason : "withdrawn" },
      };
    });
  }

  /** Applicable routes to agents of a topic, best first: the table by skill, tag or domain (AMSP-25). */
  matching(topic: Partial<InterestTopic>): readonly RouteCandidate[] {
    const whole = completeTopic(topic);
    const found = [...this.allRoutes()].filter((route) => route.applicable && matchesInterest(whole, route.record));
    return found.sort((a, b) => Number(b.via === "local") - Number(a.via === "local") || compareOrigins(a, b));
  }

  /** Per origin, up to which version every body is held. */
  vector(): readonly StoredVector[] {
    return [...this.#state.vector]
      .map(([origin, version]) => ({ origin, ...version }))
      .sort((a, b) => compareText(a.origin, b.origin));
  }

  /** Digest over (agent, origin, version, status) of every applicable record: equal where the views are equal. */
  digest(): Uint8Array {
    return this.#state.base.digest();
  }

  /** Records held, withdrawn ones not counted. */
  recordCount(): number {
    let count = 0;
    for (const slot of this.#state.base.slots()) if (slot.held.body !== undefined) count += 1;
    return count;
  }

  #run<T>(now: Now, work: () => T): T {
    this.#restored.start(now);
    const result = work();
    for (const peer of this.#state.peers.values()) flush(this.#state, now, peer);
    return result;
  }

  #fire(now: Now, timer: string): void {
    const [kind = "", rest = ""] = split(timer);
    switch (kind) {
      case "dial":
        this.#sessions.dialDue(now, rest);
        break;
      case "query":
        this.#queries.timedOut(now, BigInt(rest));
        break;
      case "damp":
        this.#releaseDamped(now);
        break;
      case "expire":
        this.#expire(now);
        break;
      case "idle":
        this.#dropIdle(now);
        break;
      case "resubscribe":
        this.#resubscribe(now, BigInt(rest));
        break;
      case "flush":
      case "audit":
        // Every input ends with a flush of each peer.
        break;
      default: {
        const peer = this.#state.peers.get(rest as PeerName);
        if (peer !== undefined) this.#sessions.timer(now, kind, peer);
        if (peer?.session === undefined) this.#queries.peerLost(now, rest as PeerName);
      }
    }
  }

  #releaseDamped(now: Now): void {
    for (const key of this.#state.damper.takeReleased(now.instant)) {
      const slot = this.#state.base.slot(key);
      if (slot !== undefined) this.#state.markPending(slot);
    }
    const next = this.#state.damper.deadline();
    if (next !== undefined) this.#state.wakeAt("damp", next);
  }

  #expire(now: Now): void {
    for (const slot of this.#state.base.expired(now.instant)) this.#state.forget(slot);
    const next = this.#state.base.nextExpiry();
    if (next !== undefined) this.#state.wakeAt("expire", next);
  }

  #dropIdle(now: Now): void {
    const { idleSubscriptionMs } = this.#state.limits;
    for (const id of this.#state.subscriptions.idle(now.instant, idleSubscriptionMs)) this.#unsubscribe(now, id);
    const next = this.#state.subscriptions.nextIdle(idleSubscriptionMs);
    if (next !== undefined) this.#state.wakeAt("idle", next);
  }

  #resubscribe(now: Now, id: bigint): void {
    const interest = this.#state.subscriptions.find(id);
    if (interest !== undefined) this.#toLevel2(now, { case: "subscribe", value: { id, interest } });
  }

  #unsubscribe(now: Now, id: bigint): void {
    if (!this.#state.subscriptions.remove(id)) return;
    this.#toLevel2(now, { case: "unsubscribe", value: { id } });
    for (const peer of this.#state.peers.values()) peer.received.isScopeDoubtful = true;
    for (const slot of [...this.#state.base.slots()]) if (!isWanted(this.#state, slot)) this.#state.forget(slot);
  }

  #toLevel2(now: Now, body: amsp.Message["body"] | Parameters<SyncState["send"]>[2]): void {
    for (const peer of this.#state.peers.values()) {
      // Before our Hello nothing may be said; it is followed by every subscription.
      if (peer.role === "level2" && peer.session?.isIntroduced === true) this.#state.send(now, peer, body);
    }
  }

  #parts(): Parameters<typeof dispatch>[0] {
    return { state: this.#state, sessions: this.#sessions, queries: this.#queries };
  }
}

/** The sync machine that gateways and registries run. */
export class SyncMachine extends RuledSyncMachine {
  constructor(options: SyncOptions) {
    super(options, productionRules);
  }
}

function completeTopic(topic: Partial<InterestTopic>): InterestTopic {
  return { all: false, agentIds: [], skills: [], tags: [], domains: [], ...topic };
}

function notOriginated(agentId: AgentId): Error {
  return refuse(
    "CAUSEWAY_RECORD_NOT_FOUND",
    `expected an agent that is announced here, got ${agentId}; announce it first`,
  );
}

function split(timer: string): readonly [string, string] {
  const space = timer.indexOf(" ");
  return space < 0 ? [timer, ""] : [timer.slice(0, space), timer.slice(space + 1)];
}
