/**
 * What the parts of the sync machine share: the record base, the peers, the timers and the queue of effects, and the one
 * path on which a change of the record base becomes effects (`slotChanged`).
 */

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { getTextEncoding } from "@bufbuild/protobuf/wire";
import {
  type CausewayError,
  type ErrorFacts,
  earliest,
  errorTable,
  type GatewayUri,
  type Instant,
  later,
  type Now,
  type StoredRecord,
  type StoredVector,
  Timers,
} from "@causeway/core-base";
import { compareVersions, type Version } from "@causeway/core-records";
import { amsp, common, record } from "@causeway/core-wire";
import { StatusDamper } from "./damping.ts";
import type { PeerName, SessionId, SyncEffect, SyncEvent, Via } from "./effects.ts";
import { defaultSyncLimits, type SyncLimits } from "./limits.ts";
import { LocRib, type Slot } from "./loc-rib.ts";
import type { SyncOptions, SyncSelf } from "./options.ts";
import type { Peer } from "./peer.ts";
import { modeFor, type SyncPolicy } from "./policy.ts";
import type { SyncRules } from "./rules.ts";
import { nextPeerState, type PeerEvent } from "./session-table.ts";
import { OwnSubscriptions } from "./subscriptions.ts";

/** What kind of change a slot had; only status changes are damped. */
export type SlotChange = "status" | "content" | "ways";

export class SyncState {
  readonly self: SyncSelf;
  readonly options: SyncOptions;
  readonly limits: SyncLimits;
  readonly rules: SyncRules;
  policy: SyncPolicy;
  readonly timers = new Timers<string>();
  readonly peers = new Map<PeerName, Peer>();
  readonly bySession = new Map<SessionId, Peer>();
  readonly base: LocRib;
  readonly damper = new StatusDamper();
  readonly subscriptions: OwnSubscriptions;
  /** Per origin, up to which version every body is held that a peer would send us. */
  readonly vector = new Map<GatewayUri, Version>();
  readonly #effects: SyncEffect[] = [];

  constructor(options: SyncOptions, rules: SyncRules) {
    this.self = options.self;
    this.options = options;
    this.limits = { ...defaultSyncLimits, ...options.limits };
    this.rules = rules;
    this.policy = options.policy ?? {};
    this.base = new LocRib(rules, (text) => options.sha256(getTextEncoding().encodeUtf8(text)));
    this.subscriptions = new OwnSubscriptions(randomId(options.random.bytes(6)));
    for (const { origin, epoch, sequence } of options.vectors ?? []) this.vector.set(origin, { epoch, sequence });
  }

  emit(effect: SyncEffect): void {
    this.#effects.push(effect);
  }

  event(event: SyncEvent): void {
    this.emit({ type: "event", event });
  }

  drain(): readonly SyncEffect[] {
    return this.#effects.splice(0);
  }

  /** Sends one message body to a peer that has a session. */
  send(now: Now, peer: Peer, body: MessageInitShape<typeof amsp.MessageSchema>["body"]): void {
    if (peer.session === undefined || body === undefined) return;
    peer.session.lastSent = now.instant;
    this.emit({ type: "send", session: peer.session.id, message: create(amsp.MessageSchema, { body }) });
  }

  notify(now: Now, peer: Peer, error: ErrorFacts, number = 0n): void {
    this.send(now, peer, { case: "notify", value: { error: errorDetail(error), number } });
  }

  /** Moves a peer along the transition table. */
  move(now: Now, peer: Peer, event: PeerEvent, reason: string): void {
    const from = peer.state;
    const to = nextPeerState(from, event);
    if (to === undefined) throw new Error(`impossible: ${event} in state ${from} of ${peer.name}`);
    if (to === from) return;
    peer.state = to;
    peer.since = now.instant;
    this.event({ name: "sync.peer_changed", peer: peer.name, from, to, reason });
  }

  /** Brings a timer forward to `at` if it would fire later. */
  wakeAt(name: string, at: Instant): void {
    this.timers.set(name, earliest(this.timers.at(name), at) ?? at);
  }

  isUsable(via: Via): boolean {
    if (via === "local") return true;
    const peer = this.peers.get(via);
    return peer !== undefined && this.rules.isUsable(peer.state);
  }

  /** Decides a slot anew, puts the result into effects and tells the peers, or damps it. */
  slotChanged(now: Now, slot: Slot, change: SlotChange): void {
    const outcome = this.base.redecide(slot, (via) => ({
      applicable: this.isUsable(via),
      delayClass: via === "local" ? 0 : (this.peers.get(via)?.delayClass ?? 0),
    }));
    const { agentId, origin } = slot;
    if (slot.route !== undefined && outcome === "installed") this.emit({ type: "install", route: slot.route });
    if (outcome === "removed") {
      const reason = slot.held.statement.withdrawn ? "withdrawn by its origin" : "no way to it is left";
      this.emit({ type: "remove", agentId, origin, reason });
    }
    this.#scheduleExpiry(now, slot, change);
    if (change === "status") {
      const release = this.damper.note(slot.key, now.instant);
      if (release !== undefined) {
        this.event({ name: "sync.status_damped", agentId, origin, until: release });
        this.wakeAt("damp", release);
        return;
      }
    }
    this.markPending(slot);
  }

  /** Lets every peer that may be concerned learn the slot's present state. */
  markPending(slot: Slot): void {
    for (const peer of this.peers.values()) {
      if (peer.state !== "OFFLINE" && !this.rules.isUsable(peer.state)) continue;
      if (this.#concerns(peer, slot)) peer.sent.markPending(slot.key);
    }
  }

  /** Lets one peer learn the present state of everything that concerns it. */
  markAll(peer: Peer): void {
    for (const slot of this.base.slots()) peer.sent.markPending(slot.key);
  }

  /** Removes a slot for good, from disk too. */
  forget(slot: Slot): void {
    if (slot.route !== undefined) {
      this.emit({ type: "remove", agentId: slot.agentId, origin: slot.origin, reason: "no way to it is left" });
    }
    this.base.forget(slot);
    this.damper.forget(slot.key);
    for (const peer of this.peers.values()) {
      if (peer.sent.entry(slot.key)?.isLive) peer.sent.markPending(slot.key);
      else peer.sent.forget(slot.key);
    }
    this.emit({ type: "persist", change: { kind: "forget", agentId: slot.agentId, origin: slot.origin } });
  }

  persistSlot(now: Now, slot: Slot): void {
    this.emit({ type: "persist", change: { kind: "record", record: storedRecord(slot, now) } });
  }

  /** Takes over what a peer holds completely, when its snapshot ended. */
  mergeVector(vector: readonly StoredVector[]): void {
    for (const entry of vector) {
      const held = this.vector.get(entry.origin);
      if (held !== undefined && compareVersions(entry, held) <= 0) continue;
      this.vector.set(entry.origin, { epoch: entry.epoch, sequence: entry.sequence });
      this.emit({ type: "persist", change: { kind: "vector", vector: entry } });
    }
  }

  #scheduleExpiry(now: Now, slot: Slot, change: SlotChange): void {
    const { withdrawn } = slot.held.statement;
    if (!withdrawn && slot.ways.size > 0) {
      this.base.keep(slot);
    } else if (change !== "ways" || !this.base.isExpiring(slot)) {
      const until = later(now.instant, withdrawn ? this.limits.tombstoneMs : this.limits.retainMs);
      this.base.expireAt(slot, until);
      this.wakeAt("expire", until);
    }
  }

  #concerns(peer: Peer, slot: Slot): boolean {
    if (peer.sent.entry(slot.key) !== undefined) return true;
    const body = slot.held.body;
    if (body === undefined) return false;
    return modeFor(this.policy, peer) === "send-filter" || peer.subscriptions.matches(body.record);
  }
}

/** The wire form of an error. */
export function errorDetail(facts: ErrorFacts): common.ErrorDetail {
  return create(common.ErrorDetailSchema, {
    code: facts.code,
    message: facts.message,
    retryable: errorTable[facts.code].retryable,
    retryAfterMs: facts.retryAfterMs ?? 0,
    details: { ...facts.details },
  });
}

/** The facts of an error that may leave the process. */
export function factsOf(error: CausewayError): ErrorFacts {
  return { code: error.code, message: error.message, retryAfterMs: error.retryAfterMs, details: error.details };
}

function storedRecord(slot: Slot, now: Now): StoredRecord {
  const { statement, signed, body } = slot.held;
  return {
    agentId: slot.agentId,
    origin: slot.origin,
    epoch: statement.version.epoch,
    sequence: statement.version.sequence,
    withdrawn: statement.withdrawn,
    statement: toBinary(record.SignedOriginSchema, signed),
    record: body === undefined ? undefined : toBinary(record.SignedRecordSchema, body.signed),
    storedAt: now.unix,
  };
}

function randomId(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 1n);
}
