/**
 * Taking what a peer sends (seed 003, section 4.5.2; C-10, C-11). Every received update ends in one of four ways: taken;
 * kept as a way of an older version; dropped silently because it looped; refused, which the peer is told by number and
 * which has no effect but to end the way that the peer had before.
 */
import { CausewayError, type ErrorFacts, isCausewayError, type Now } from "@causeway/core-base";
import { compareVersions, equalBytes, type OriginStatement, parseOriginStatement } from "@causeway/core-records";
import type { amsp, record } from "@causeway/core-wire";
import { type HeldBody, type Slot, type SlotKey, slotKey, type Way } from "./loc-rib.ts";
import type { Peer } from "./peer.ts";
import { viewHash } from "./set-digest.ts";
import { factsOf, type SlotChange, type SyncState } from "./sync-state.ts";

/** Takes one update of a session. */
export function takeUpdate(state: SyncState, now: Now, peer: Peer, update: amsp.Update): void {
  peer.counters.received += 1;
  const statement = attempt(() => statementOf(update));
  const key = statement instanceof CausewayError ? undefined : slotKey(statement.agentId, statement.origin);
  const error = takeOrRefuse(state, now, peer, update, statement);
  if (error === undefined) return;
  peer.counters.refused += 1;
  if (key !== undefined) dropWay(state, now, peer, key);
  state.notify(now, peer, error, update.number);
  state.event({
    name: "sync.update_refused",
    peer: peer.name,
    error,
    ...(!(statement instanceof CausewayError) && { agentId: statement.agentId }),
  });
}

/** The peer has no way to the record any more. */
export function takeWithdraw(state: SyncState, now: Now, peer: Peer, withdraw: amsp.Withdraw): void {
  dropWay(state, now, peer, slotKey(withdraw.agentId, withdraw.origin));
}

/** Ends the way through the peer and its place in the peer's view. */
export function dropWay(state: SyncState, now: Now, peer: Peer, key: SlotKey): void {
  peer.received.delete(key);
  const slot = state.base.slot(key);
  if (slot?.ways.delete(peer.name) !== true) return;
  state.slotChanged(now, slot, "ways");
  if (slot.ways.size === 0 && !isWanted(state, slot)) state.forget(slot);
}

/** A Level-1 gateway keeps of others only what a subscription of its own asks for (AMSP-45). */
export function isWanted(state: SyncState, slot: Slot): boolean {
  if (state.self.role !== "level1" || slot.origin === state.self.name) return true;
  const body = slot.held.body;
  return body === undefined || state.subscriptions.matches(body.record);
}

function takeOrRefuse(
  state: SyncState,
  now: Now,
  peer: Peer,
  update: amsp.Update,
  statement: OriginStatement | CausewayError,
): ErrorFacts | undefined {
  const path = update.path?.gateways;
  const pathError = state.rules.checkPath(peer, path, state.limits.pathHopsMax);
  if (pathError !== undefined || path === undefined) return pathError;
  if (peer.role === "reader") return { code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED", message: "a reader sends no records" };
  if (statement instanceof CausewayError) return factsOf(statement);
  const key = slotKey(statement.agentId, statement.origin);
  if (state.rules.isLoop(state.self.name, path) || statement.origin === state.self.name) {
    // AMSP 4.5.2 b: our own URI in PATH means a loop; discarded without a word. What the peer said before is void all
    // the same, since it replaced it by this.
    peer.counters.loops += 1;
    state.event({ name: "sync.loop_discarded", peer: peer.name, agentId: statement.agentId });
    dropWay(state, now, peer, key);
    return undefined;
  }
  if (peer.role === "level1" && statement.origin !== peer.name) {
    return {
      code: "CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED",
      message: `expected records of ${peer.name} itself, got one of ${statement.origin}; Level-1 gateways pass nothing on`,
    };
  }
  if (!peer.received.has(key) && peer.received.size >= state.limits.recordsPerPeerMax) {
    return {
      code: "CAUSEWAY_SYNC_LIMIT_RECORDS",
      message: `expected at most ${state.limits.recordsPerPeerMax} records from ${peer.name}`,
      details: { limit: "recordsPerPeerMax" },
    };
  }
  const way: Way = { via: peer.name, version: statement.version, path: path as readonly string[] as Way["path"] };
  return place(state, now, peer, update, statement, way);
}

function place(
  state: SyncState,
  now: Now,
  peer: Peer,
  update: amsp.Update,
  statement: OriginStatement,
  way: Way,
): ErrorFacts | undefined {
  const key = slotKey(statement.agentId, statement.origin);
  let slot = state.base.slot(key);
  let change: SlotChange = "ways";
  const signed = update.origin as record.SignedOrigin;
  if (state.base.wouldTake(statement, signed.statement)) {
    const body = attempt(() => verify(state, now, update, statement, slot));
    if (body instanceof CausewayError) return factsOf(body);
    const denied = body === undefined ? undefined : importDenied(state, peer, body);
    if (denied !== undefined) return denied;
    const isStatusOnly =
      body !== undefined && slot?.held.body?.signed === body.signed && !slot.held.statement.withdrawn;
    change = isStatusOnly && slot?.held.statement.status !== statement.status ? "status" : "content";
    if (!isSubscribed(state, body, slot)) {
      if (body !== undefined) remember(state, peer, key, way);
      // A withdrawal of what was unsubscribed in the meantime leaves the peer's view all the same.
      else peer.received.delete(key);
      return undefined;
    }
    slot = state.base.take({ statement, signed, body }, way);
    state.persistSlot(now, slot);
  } else if (isUnknownTwin(slot, statement, signed)) {
    // Without this check a forged statement under the version held would count as one more way to the agent.
    const forged = attempt(() => state.options.verifier.verifyOrigin(signed, now.unix));
    if (forged instanceof CausewayError) return factsOf(forged);
  }
  if (statement.withdrawn) {
    peer.received.delete(key);
    slot?.ways.delete(peer.name);
  } else {
    remember(state, peer, key, way);
    if (slot !== undefined && !isOlderThanHeld(slot, way)) slot.ways.set(peer.name, way);
  }
  if (slot !== undefined) state.slotChanged(now, slot, change);
  return undefined;
}

/** The peer itself said a newer version before; that way stays. */
function isOlderThanHeld(slot: Slot, way: Way): boolean {
  const before = slot.ways.get(way.via);
  return before !== undefined && compareVersions(way.version, before.version) < 0;
}

function isUnknownTwin(slot: Slot | undefined, statement: OriginStatement, signed: record.SignedOrigin): boolean {
  return (
    slot !== undefined &&
    compareVersions(statement.version, slot.held.statement.version) === 0 &&
    !equalBytes(signed.statement, slot.held.signed.statement)
  );
}

function remember(state: SyncState, peer: Peer, key: SlotKey, way: Way): void {
  peer.received.set(key, viewHash(state.options.sha256, key, way.version, way.path));
}

/** Verifies a statement that would be taken; its body, or undefined for a withdrawal. Throws what is wrong. */
function verify(
  state: SyncState,
  now: Now,
  update: amsp.Update,
  statement: OriginStatement,
  slot: Slot | undefined,
): HeldBody | undefined {
  state.options.verifier.verifyOrigin(update.origin as record.SignedOrigin, now.unix);
  if (statement.withdrawn) return undefined;
  const held = slot?.held;
  if (held?.body !== undefined && equalBytes(held.statement.bodyDigest, statement.bodyDigest)) return held.body;
  if (update.record === undefined) {
    throw new CausewayError({
      code: "CAUSEWAY_SYNC_BODY_MISSING",
      message: `expected the record body of ${statement.agentId}, which is not held here; send it with the update`,
    });
  }
  const verified = state.options.verifier.verifyRecord(update.record, now.unix);
  if (verified.record.agentId !== statement.agentId || !equalBytes(verified.digest, statement.bodyDigest)) {
    throw new CausewayError({
      code: "CAUSEWAY_RECORD_MALFORMED",
      message: "origin.body_digest: expected the digest of the record that came with it",
      details: { field: "origin.body_digest" },
    });
  }
  return { record: verified.record, signed: verified.signed };
}

function importDenied(state: SyncState, peer: Peer, body: HeldBody): ErrorFacts | undefined {
  const verdict = state.policy.imports?.(body.record, peer) ?? true;
  return verdict === true ? undefined : { code: "CAUSEWAY_SYNC_OUT_OF_SCOPE", message: verdict.denied };
}

function isSubscribed(state: SyncState, body: HeldBody | undefined, slot: Slot | undefined): boolean {
  if (state.self.role !== "level1") return true;
  return body === undefined ? slot !== undefined : state.subscriptions.matches(body.record);
}

function statementOf(update: amsp.Update): OriginStatement {
  if (update.origin === undefined) {
    throw new CausewayError({
      code: "CAUSEWAY_RECORD_MALFORMED",
      message: "origin: expected the origin's signed statement, got none",
      details: { field: "origin" },
    });
  }
  return parseOriginStatement(update.origin.statement);
}

/** The refusal as a value. What is not a refusal is a defect and goes on. */
function attempt<T>(work: () => T): T | CausewayError {
  try {
    return work();
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown;
    throw thrown;
  }
}
