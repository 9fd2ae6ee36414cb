/** One peer: who it is, in which state, and its three views (received, sent, subscribed). */
import type { Domain, Instant } from "@causeway/core-base";
import type { AdjRibIn } from "./adj-rib-in.ts";
import type { AdjRibOut } from "./adj-rib-out.ts";
import type { PeerName, SessionId, SyncRole } from "./effects.ts";
import type { PeerState } from "./session-table.ts";
import type { ReceivedSubscriptions } from "./subscriptions.ts";

/** The transport of a peer; there is at most one. */
export interface Session {
  readonly id: SessionId;
  /** The target that we dialled; undefined when the peer dialled. */
  readonly target: string | undefined;
  /** SHA-256 of the peer's certificate. */
  readonly fingerprint: string;
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
