/** One peer: who it is, in which state, and its three views (received, sent, subscribed). */
import type { Domain, Instant } from "@causeway/core-base";
import { AdjRibIn } from "./adj-rib-in.ts";
import { AdjRibOut } from "./adj-rib-out.ts";
import type { PeerName, SessionId, SyncPeerStatus, SyncRole } from "./effects.ts";
import type { SyncLimits } from "./limits.ts";
import type { PeerState } from "./session-table.ts";
import { ReceivedSubscriptions } from "./subscriptions.ts";

/** The transport of a peer; there is at most one. */
export interface Session {
  readonly id: SessionId;
  /** The target that we dialled; undefined when the peer dialled. */
  readonly target: string | undefined;
  /** SHA-256 of the peer's certificate. */
  readonly fingerprint: string;
  /** Our Hello is out, so that what belongs after it may follow. */
  isIntroduced: boolean;
  lastHeard: Instant;
  lastSent: Instant;
}

export interface Peer {
  readonly name: PeerName;
  readonly role: SyncRole;
  readonly domain: Domain;
  state: PeerState;
  since: Instant;
  session: Session | undefined;
  readonly received: AdjRibIn;
  readonly sent: AdjRibOut;
  readonly subscriptions: ReceivedSubscriptions;
  delayClass: number;
  /** Negotiated interval of our KeepAlive. */
  keepAliveMs: number;
  /** Largest number of records that the peer takes; 0 for no statement. */
  recordsMax: number;
  /** Others are told of its records until then although it is away (graceful restart). */
  graceUntil: Instant | undefined;
  nextFlush: Instant;
  /** When what was processed is acknowledged at the latest. */
  acknowledgeAt: Instant | undefined;
  nextAudit: Instant;
  /** Complete views asked for in the current minute. */
  refreshes: { start: Instant; count: number };
  /** Queries of this peer that wait for an answer. */
  openQueries: number;
  readonly counters: { received: number; sent: number; loops: number; refused: number };
}

/** True while messages of the session's body may flow. */
export function isOpen(peer: Peer): peer is Peer & { session: Session } {
  return (
    peer.session !== undefined && (peer.state === "SYNCING" || peer.state === "ESTABLISHED" || peer.state === "RESYNC")
  );
}

/** A peer of which nothing is known but its identity. */
export function createPeer(facts: Pick<Peer, "name" | "role" | "domain">, now: Instant, limits: SyncLimits): Peer {
  return {
    ...facts,
    state: "IDLE",
    since: now,
    session: undefined,
    received: new AdjRibIn(),
    sent: new AdjRibOut(),
    subscriptions: new ReceivedSubscriptions(),
    delayClass: 0,
    keepAliveMs: limits.keepAliveMs,
    recordsMax: 0,
    graceUntil: undefined,
    nextFlush: now,
    acknowledgeAt: undefined,
    nextAudit: now,
    refreshes: { start: now, count: 0 },
    openQueries: 0,
    counters: { received: 0, sent: 0, loops: 0, refused: 0 },
  };
}

/** State and counters of a peer as the admin interface shows them. */
export function statusOf(peer: Peer): SyncPeerStatus {
  const { name, role, domain, state, since, counters, received, sent, subscriptions } = peer;
  return {
    name,
    role,
    domain,
    state,
    since,
    received: counters.received,
    sent: counters.sent,
    loopsDiscarded: counters.loops,
    refused: counters.refused,
    recordsIn: received.size,
    recordsOut: sent.liveCount,
    unacknowledged: sent.unacknowledgedCount,
    queued: sent.pendingCount,
    subscriptions: subscriptions.size,
  };
}
