/** Which message goes where, and what each needs of the session's state. Anything out of turn ends the session. */
import { type ErrorFacts, isErrorCode, later, type Now } from "@causeway/core-base";
import { matchesInterest } from "@causeway/core-records";
import type { amsp } from "@causeway/core-wire";
import type { SessionId } from "./effects.ts";
import { takeUpdate, takeWithdraw } from "./import.ts";
import { isOpen, type Peer } from "./peer.ts";
import type { Queries } from "./queries.ts";
import type { Sessions } from "./session.ts";
import type { SyncState } from "./sync-state.ts";

interface Parts {
  readonly state: SyncState;
  readonly sessions: Sessions;
  readonly queries: Queries;
}

export function dispatch(parts: Parts, now: Now, session: SessionId, message: amsp.Message): void {
  const { state, sessions, queries } = parts;
  const peer = state.bySession.get(session);
  if (peer?.session === undefined) return;
  peer.session.lastHeard = now.instant;
  const { body } = message;
  if (body.case === "hello") {
    sessions.takeHello(now, peer, body.value);
    return;
  }
  if (body.case === "close") {
    sessions.takeClose(now, peer, body.value);
    queries.peerLost(now, peer.name);
    return;
  }
  if (!isOpen(peer)) {
    sessions.reject(now, peer, unexpected(`expected a Hello first, got ${body.case ?? "an unknown message"}`));
    return;
  }
  switch (body.case) {
    case "snapshotBegin":
      sessions.snapshots.takeBegin(now, peer, body.value);
      break;
    case "update":
      if (isInTurn(parts, now, peer, body.value.number)) takeUpdate(state, now, peer, body.value);
      break;
    case "withdraw":
      if (isInTurn(parts, now, peer, body.value.number)) takeWithdraw(state, now, peer, body.value);
      break;
    case "snapshotEnd":
      sessions.snapshots.takeEnd(now, peer, body.value);
      break;
    case "subscribe":
      takeSubscribe(state, now, peer, body.value);
      break;
    case "unsubscribe":
      takeUnsubscribe(state, peer, body.value);
      break;
    case "query":
      queries.take(now, peer, body.value);
      break;
    case "result":
      queries.takeResult(now, peer, body.value);
      break;
    case "ack":
      if (!peer.sent.acknowledge(body.value.number)) {
        sessions.reject(now, peer, unexpected(`expected an Ack of what was sent, got number ${body.value.number}`));
      }
      break;
    case "keepAlive":
      break;
    case "refresh":
      sessions.snapshots.takeRefresh(now, peer);
      break;
    case "notify":
      takeNotify(state, now, peer, body.value);
      break;
    default:
      // A later version may have more messages; one that we do not know changes nothing here.
      state.notify(now, peer, { code: "CAUSEWAY_FRAME_UNKNOWN", message: "expected a message of AMSP version 1" });
  }
}

/** Numbers leave no gap within a view; after one the view is asked for again (AMSP-33). */
function isInTurn({ sessions }: Parts, now: Now, peer: Peer, number: bigint): boolean {
  const { received } = peer;
  if (received.isWaitingForSnapshot) return false;
  if (received.token === undefined || number !== received.processed + 1n) {
    sessions.snapshots.resync(now, peer, `expected number ${received.processed + 1n}, got ${number}`);
    return false;
  }
  received.processed = number;
  return true;
}

function takeSubscribe(state: SyncState, now: Now, peer: Peer, { id, interest }: amsp.Subscribe): void {
  if (state.self.role !== "level2" || peer.role === "reader" || interest === undefined) {
    const error = { code: "CAUSEWAY_UNSUPPORTED", message: "expected a subscription to a Level-2 gateway" } as const;
    state.notify(now, peer, { ...error, details: { subscription: id.toString() } });
    return;
  }
  // What it did not want until now it did not keep, even if it was sent.
  const fresh = [...state.base.slots()].filter(({ held: { body } }) => {
    return body !== undefined && matchesInterest(interest, body.record) && !peer.subscriptions.matches(body.record);
  });
  const error = peer.subscriptions.add(id, interest, now.instant, state.limits);
  if (error !== undefined) {
    state.notify(now, peer, error);
    state.event({ name: "sync.subscription_refused", peer: peer.name, error });
    return;
  }
  for (const slot of fresh) peer.sent.sendAgain(slot.key);
}

function takeUnsubscribe(state: SyncState, peer: Peer, { id }: amsp.Unsubscribe): void {
  if (peer.subscriptions.remove(id) === undefined) return;
  for (const slot of state.base.slots()) {
    if (peer.sent.entry(slot.key)?.isLive === true) peer.sent.markPending(slot.key);
  }
}

function takeNotify(state: SyncState, now: Now, peer: Peer, { error, number }: amsp.Notify): void {
  const { code = "", message = "", retryAfterMs = 0, details = {} } = error ?? {};
  const subscription = details["subscription"];
  if (code === "CAUSEWAY_SYNC_BODY_MISSING") peer.sent.bodyMissing(number);
  else if (number > 0n) peer.sent.refused(number, message);
  else if (subscription !== undefined && /^\d{1,20}$/.test(subscription)) {
    // Others may end, so that one beyond the count has a chance later; one with too many entries never has.
    const isFull = code === "CAUSEWAY_LIMIT_COUNT" && details["limit"] === "subscriptionsActiveMax";
    const waitMs =
      code === "CAUSEWAY_LIMIT_RATE" ? Math.max(retryAfterMs, retryMsMin) : isFull ? fullRetryMs : undefined;
    if (waitMs !== undefined) state.timers.set(`resubscribe ${subscription}`, later(now.instant, waitMs));
  }
  state.event({
    name: "sync.notified",
    peer: peer.name,
    code: isErrorCode(code) ? code : "unknown",
    message: message.slice(0, 500),
  });
}

function unexpected(message: string): ErrorFacts {
  return { code: "CAUSEWAY_FRAME_UNEXPECTED", message };
}

/** A peer cannot make us retry more often than this. */
const retryMsMin = 1_000;
/** When a subscription is tried again that was one too many. */
const fullRetryMs = 60_000;
