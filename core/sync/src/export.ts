/**
 * Telling a peer (seed 003, sections 4.5.2 and 4.5.3). `desiredExport` says what the peer should hold of a slot, and
 * why not if nothing; `flush` sends the difference to what it holds.
 */

import { create } from "@bufbuild/protobuf";
import { domainOf, later, type Now } from "@causeway/core-base";
import { compareVersions } from "@causeway/core-records";
import { amsp } from "@causeway/core-wire";
import type { SentEntry } from "./adj-rib-out.ts";
import type { Via } from "./effects.ts";
import type { Slot, SlotKey, Way } from "./loc-rib.ts";
import { isOpen, type Peer } from "./peer.ts";
import { decideExport, type PolicyVerdict, type SyncPolicy } from "./policy.ts";
import { viewHash } from "./set-digest.ts";
import type { SyncState } from "./sync-state.ts";

/** What a peer should hold of a slot. */
export type Export =
  | { readonly kind: "live"; readonly path: Way["path"] }
  | { readonly kind: "tombstone"; readonly path: Way["path"] }
  | { readonly kind: "none"; readonly reason: string };

/** Judges by the policy in force, or by another one to see what it would do. */
export function desiredExport(
  state: SyncState,
  slot: Slot | undefined,
  peer: Peer,
  now: Now,
  policy: SyncPolicy = state.policy,
): Export {
  const none = (reason: string): Export => ({ kind: "none", reason });
  if (slot === undefined) return none("the record is not known here");
  const { rules, self } = state;
  const { held, heldFrom, route } = slot;
  if (peer.role !== "level2" && self.role !== "level2") return none("only Level-2 gateways serve this kind of peer");
  if (held.body === undefined) {
    if (rules.isBackToSource(heldFrom.via, peer.name)) return none("the withdrawal came from this peer");
    if (!rules.mayAdvertise(self.role, heldFrom.via)) return none("this gateway passes on its own records only");
    const verdict = decideTombstone(policy, slot, peer);
    if (verdict !== true) return none(verdict.denied);
    return { kind: "tombstone", path: rules.extendPath(self, heldFrom.path) };
  }
  if (route === undefined) return none("no way to it is known");
  if (!route.applicable && !isInGrace(state, route.via, now)) return none(`${route.via} is away`);
  if (!rules.mayAdvertise(self.role, route.via)) return none("this gateway passes on its own records only");
  if (rules.isBackToSource(route.via, peer.name)) return none("it was learned from this peer");
  if (slot.origin === peer.name) return none("it is this peer's own record");
  const verdict = decideExport(policy, route.record, peer, peer.subscriptions.matches(route.record));
  if (verdict !== true) return none(verdict.denied);
  if (peer.recordsMax > 0 && peer.sent.liveCount >= peer.recordsMax && peer.sent.entry(slot.key)?.isLive !== true) {
    return none(`the peer takes at most ${peer.recordsMax} records`);
  }
  return { kind: "live", path: rules.extendPath(self, route.path) };
}

/** A withdrawal names the agent, so that it goes no further than the record itself might. */
function decideTombstone(policy: SyncPolicy, slot: Slot, peer: Peer): PolicyVerdict {
  const { lastRecord, agentId } = slot;
  if (lastRecord !== undefined) return decideExport(policy, lastRecord, peer, peer.subscriptions.matches(lastRecord));
  // The record was never here, or a restart lost it. Its own domain may see every record.
  return peer.domain === domainOf(agentId) || { denied: "it is withdrawn, and who might see it is not known here" };
}

/** Sends what is due to one peer: changes, snapshot end or audit, acknowledgement. */
export function flush(state: SyncState, now: Now, peer: Peer): void {
  if (!isOpen(peer)) return;
  sendChanges(state, now, peer);
  sendViewEnd(state, now, peer);
  acknowledge(state, now, peer);
}

function sendChanges(state: SyncState, now: Now, peer: Peer): void {
  const { sent } = peer;
  if (sent.pendingCount === 0) return;
  if (now.instant < peer.nextFlush) {
    state.wakeAt(`flush ${peer.name}`, peer.nextFlush);
    return;
  }
  let count = 0;
  while (sent.unacknowledgedCount < state.limits.unacknowledgedMax) {
    const key = sent.takePending();
    if (key === undefined) break;
    if (sendOne(state, now, peer, key)) count += 1;
  }
  if (count > 0) peer.nextFlush = later(now.instant, state.limits.flushMs);
}

/** Sends the difference between what the peer holds of a slot and what it should hold. False when there is none. */
function sendOne(state: SyncState, now: Now, peer: Peer, key: SlotKey): boolean {
  const slot = state.base.slot(key);
  const desired = desiredExport(state, slot, peer, now);
  const before = peer.sent.entry(key);
  if (slot === undefined || desired.kind === "none")
    return before?.isLive === true && sendWithdraw(state, now, peer, key, before);
  slot.exportHash ??= viewHash(state.options.sha256, key, slot.held.statement.version, desired.path);
  if (before?.hash !== undefined && sameHash(before.hash, slot.exportHash)) return false;
  // A withdrawal goes to whoever holds the record from us, or said at the beginning that it holds an older version.
  if (desired.kind === "tombstone" && before?.isLive !== true && !holdsOlder(peer, slot)) return false;
  return sendUpdate(state, now, peer, slot, desired.path, before);
}

function sendWithdraw(state: SyncState, now: Now, peer: Peer, key: SlotKey, before: SentEntry): boolean {
  const [agentId = "", origin = ""] = key.split(" ");
  const number = peer.sent.sent(key, { ...before, hash: undefined, isLive: false, refused: undefined });
  state.send(now, peer, { case: "withdraw", value: { number, agentId, origin } });
  return true;
}

function sendUpdate(
  state: SyncState,
  now: Now,
  peer: Peer,
  slot: Slot,
  path: Way["path"],
  before: SentEntry | undefined,
): boolean {
  const { statement, signed, body } = slot.held;
  const isBodyHeld =
    body === undefined ||
    before?.bodyDigest === hex(statement.bodyDigest) ||
    (before === undefined && holdsSame(peer, slot));
  const number = peer.sent.sent(slot.key, {
    hash: slot.exportHash,
    // A peer that is in PATH discards it: its view does not hold it.
    isLive: body !== undefined && !path.some((uri) => uri === peer.name),
    bodyDigest: body === undefined ? undefined : hex(statement.bodyDigest),
    refused: undefined,
  });
  peer.counters.sent += 1;
  const update = create(amsp.UpdateSchema, {
    number,
    origin: signed,
    path: { gateways: [...path] },
    ...(!isBodyHeld && { record: body.signed }),
  });
  state.send(now, peer, { case: "update", value: update });
  return true;
}

/** The peer said in its Hello that it holds this version or a later one. */
function holdsSame(peer: Peer, slot: Slot): boolean {
  const have = peer.sent.have.get(slot.origin);
  return have !== undefined && compareVersions(have, slot.held.statement.version) >= 0;
}

/** The peer said in its Hello that it holds records of this origin, and only older ones. */
function holdsOlder(peer: Peer, slot: Slot): boolean {
  const have = peer.sent.have.get(slot.origin);
  return have !== undefined && compareVersions(have, slot.held.statement.version) < 0;
}

/**
 * Ends a snapshot, or lets the peer audit its view after changes. Waits until everything is acknowledged, because a
 * refusal comes before the acknowledgement and takes the record out of the view that is compared.
 */
function sendViewEnd(state: SyncState, now: Now, peer: Peer): void {
  const { sent } = peer;
  if (sent.pendingCount > 0 || sent.unacknowledgedCount > 0) return;
  if (!sent.isSnapshotOpen) {
    if (!sent.isAuditDue) return;
    if (now.instant < peer.nextAudit) {
      state.wakeAt(`audit ${peer.name}`, peer.nextAudit);
      return;
    }
  }
  sent.isSnapshotOpen = false;
  sent.isAuditDue = false;
  peer.nextAudit = later(now.instant, state.limits.auditMs);
  const vector = [...state.vector].map(([origin, version]) => ({ origin, ...version }));
  state.send(now, peer, { case: "snapshotEnd", value: { digest: sent.digest(), vector } });
}

function acknowledge(state: SyncState, now: Now, peer: Peer): void {
  const { received } = peer;
  const open = received.processed - received.acknowledged;
  if (open === 0n) return;
  if (open < BigInt(state.limits.acknowledgeEvery)) {
    peer.acknowledgeAt ??= later(now.instant, state.limits.flushMs);
    if (now.instant < peer.acknowledgeAt) {
      state.wakeAt(`flush ${peer.name}`, peer.acknowledgeAt);
      return;
    }
  }
  peer.acknowledgeAt = undefined;
  received.acknowledged = received.processed;
  state.send(now, peer, { case: "ack", value: { number: received.processed } });
}

/** A peer that was lost without a word may be restarting: for a moment others are not told (AMSP-99). */
function isInGrace(state: SyncState, via: Via, now: Now): boolean {
  if (via === "local") return false;
  const until = state.peers.get(via)?.graceUntil;
  return until !== undefined && now.instant < until;
}

function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
