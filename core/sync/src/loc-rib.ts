/**
 * The record base of one side (Loc-RIB): per (agentId, origin) the newest statement that was seen, with the record body,
 * and every way to it. Candidates are kept per (agentId, ORIGIN), so that a multi-homed agent keeps all its ways (C-11).
 * Knows nothing of sessions; who is applicable comes in as a function.
 */
import type { AgentId, GatewayUri, Instant } from "@causeway/core-base";
import {
  type AgentRecord,
  compareVersions,
  equalBytes,
  type OriginStatement,
  type Version,
} from "@causeway/core-records";
import type { record } from "@causeway/core-wire";
import { type Candidate, decide } from "./decide.ts";
import type { RouteCandidate, Via } from "./effects.ts";
import type { SyncRules } from "./rules.ts";
import { SetDigest } from "./set-digest.ts";

/** Identifies a slot: agent and origin. */
export type SlotKey = string;
export const slotKey = (agentId: string, origin: string): SlotKey => `${agentId} ${origin}`;

/** A record body that a statement refers to by digest. */
export interface HeldBody {
  readonly record: AgentRecord;
  readonly signed: record.SignedRecord;
}

/** The newest statement of a slot. `body` is undefined exactly when it is a withdrawal. */
export interface Held {
  readonly statement: OriginStatement;
  readonly signed: record.SignedOrigin;
  readonly body: HeldBody | undefined;
}

/** One way in a slot; whether it is applicable is asked at each decision. */
export interface Way {
  readonly via: Via;
  readonly version: Version;
  readonly path: readonly GatewayUri[];
}

/** Everything known of one (agentId, origin). */
export interface Slot {
  readonly key: SlotKey;
  readonly agentId: AgentId;
  readonly origin: GatewayUri;
  held: Held;
  /** Where the newest statement came from, and by which PATH; decides where a withdrawal travels. */
  heldFrom: Way;
  readonly ways: Map<Via, Way>;
  /** The last record that was held, over its withdrawal: who might not see it may not see its tombstone either. */
  lastRecord: AgentRecord | undefined;
  /** What the forwarding table has. */
  route: RouteCandidate | undefined;
  /** Hash of the slot in every sent view, kept while route and statement stay. */
  exportHash: Uint8Array | undefined;
  /** Entry in the base's digest while the route is applicable. */
  digestHash: Uint8Array | undefined;
}

/** What a via contributes to a decision. */
export type ViaFacts = (via: Via) => { readonly applicable: boolean; readonly delayClass: number };

/** What `redecide` did to the route. */
export type RouteChange = "installed" | "removed" | "unchanged";

export class LocRib {
  readonly #slots = new Map<SlotKey, Slot>();
  readonly #byAgent = new Map<AgentId, Set<Slot>>();
  /** Slots without a way or withdrawn, by the time at which they may be forgotten; oldest first. */
  readonly #expiring = new Map<SlotKey, Instant>();
  readonly #digest = new SetDigest();
  readonly #rules: SyncRules;
  readonly #hash: (text: string) => Uint8Array;

  constructor(rules: SyncRules, hash: (text: string) => Uint8Array) {
    this.#rules = rules;
    this.#hash = hash;
  }

  slot(key: SlotKey): Slot | undefined {
    return this.#slots.get(key);
  }

  slots(): IterableIterator<Slot> {
    return this.#slots.values();
  }

  slotsOf(agentId: AgentId): ReadonlySet<Slot> {
    return this.#byAgent.get(agentId) ?? none;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** True when the statement would replace what is held: nothing is held, it is newer, or it wins among twins. */
  wouldTake(statement: OriginStatement, bytes: Uint8Array): boolean {
    const held = this.#slots.get(slotKey(statement.agentId, statement.origin))?.held;
    if (held === undefined || this.#rules.isNewer(statement, held.statement)) return true;
    // Two statements under one version are an origin's fault; the greater bytes win everywhere, whatever came first.
    const isTwin = compareVersions(statement.version, held.statement.version) === 0;
    return isTwin && !equalBytes(bytes, held.signed.statement) && compareBytes(bytes, held.signed.statement) > 0;
  }

  /** Takes a statement that `wouldTake` allowed. */
  take(held: Held, from: Way): Slot {
    const { agentId, origin } = held.statement;
    const key = slotKey(agentId, origin);
    const slot = this.#slots.get(key);
    if (slot !== undefined) {
      slot.held = held;
      slot.heldFrom = from;
      slot.lastRecord = held.body?.record ?? slot.lastRecord;
      slot.exportHash = undefined;
      return slot;
    }
    const fresh: Slot = {
      key,
      agentId,
      origin,
      held,
      heldFrom: from,
      ways: new Map(),
      lastRecord: held.body?.record,
      route: undefined,
      exportHash: undefined,
      digestHash: undefined,
    };
    this.#slots.set(key, fresh);
    const siblings = this.#byAgent.get(agentId);
    if (siblings === undefined) this.#byAgent.set(agentId, new Set([fresh]));
    else siblings.add(fresh);
    return fresh;
  }

  /** Chooses among the slot's ways anew. Ways of another version than the newest are out of the question. */
  redecide(slot: Slot, facts: ViaFacts): RouteChange {
    const { held } = slot;
    const body = held.body;
    const eligible: Candidate[] = [];
    if (body !== undefined) {
      for (const way of slot.ways.values()) {
        if (compareVersions(way.version, held.statement.version) === 0) eligible.push({ ...way, ...facts(way.via) });
      }
    }
    const decision = decide(eligible, this.#rules.compareCandidates);
    const before = slot.route;
    if (decision === undefined || body === undefined) {
      slot.route = undefined;
      slot.exportHash = undefined;
      this.#redigest(slot);
      return before === undefined ? "unchanged" : "removed";
    }
    const { winner, reason } = decision;
    const route: RouteCandidate = {
      agentId: slot.agentId,
      origin: slot.origin,
      via: winner.via,
      path: winner.path,
      version: held.statement.version,
      status: held.statement.status,
      applicable: winner.applicable,
      reason,
      attachmentSequence: held.statement.attachmentSequence,
      allowedDomains: body.record.allowedDomains,
      record: body.record,
      signed: body.signed,
      signedOrigin: held.signed,
    };
    if (before !== undefined && sameRoute(before, route)) return "unchanged";
    slot.route = route;
    slot.exportHash = undefined;
    this.#redigest(slot);
    return "installed";
  }

  /** Forgets the slot at `until` unless a way comes back. */
  expireAt(slot: Slot, until: Instant): void {
    this.#expiring.delete(slot.key);
    this.#expiring.set(slot.key, until);
  }

  keep(slot: Slot): void {
    this.#expiring.delete(slot.key);
  }

  isExpiring(slot: Slot): boolean {
    return this.#expiring.has(slot.key);
  }

  /** Slots that may be forgotten now. */
  expired(now: Instant): readonly Slot[] {
    const due: Slot[] = [];
    for (const [key, until] of this.#expiring) {
      const slot = this.#slots.get(key);
      if (slot !== undefined && until <= now) due.push(slot);
    }
    return due;
  }

  nextExpiry(): Instant | undefined {
    let due: Instant | undefined;
    for (const until of this.#expiring.values()) if (due === undefined || until < due) due = until;
    return due;
  }

  forget(slot: Slot): void {
    slot.route = undefined;
    this.#redigest(slot);
    this.#slots.delete(slot.key);
    this.#expiring.delete(slot.key);
    const siblings = this.#byAgent.get(slot.agentId);
    siblings?.delete(slot);
    if (siblings?.size === 0) this.#byAgent.delete(slot.agentId);
  }

  /** Digest over (agent, origin, version, status) of every applicable record. */
  digest(): Uint8Array {
    return this.#digest.value();
  }

  #redigest(slot: Slot): void {
    if (slot.digestHash !== undefined) this.#digest.toggle(slot.digestHash);
    const route = slot.route;
    slot.digestHash =
      route === undefined || !route.applicable
        ? undefined
        : this.#hash(`${slot.key}\n${route.version.epoch}.${route.version.sequence}\n${route.status}`);
    if (slot.digestHash !== undefined) this.#digest.toggle(slot.digestHash);
  }
}

function sameRoute(a: RouteCandidate, b: RouteCandidate): boolean {
  return (
    a.via === b.via &&
    a.applicable === b.applicable &&
    a.reason === b.reason &&
    a.signedOrigin === b.signedOrigin &&
    a.signed === b.signed &&
    a.path.length === b.path.length &&
    a.path.every((uri, i) => uri === b.path[i])
  );
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

const none: ReadonlySet<Slot> = new Set();
