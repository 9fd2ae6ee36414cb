/**
 * The transition table of a peering session (AMSP-99), apart from what happens in each state. A pair that is missing
 * is impossible, and asking for it is a defect of this room.
 *
 * OFFLINE keeps what the peer told us, inapplicable, for its return; CLOSED removes it (C-12).
 */

/** State of a peer. */
export type PeerState =
  | "IDLE"
  | "CONNECTING"
  | "HELLO_SENT"
  | "SYNCING"
  | "ESTABLISHED"
  | "RESYNC"
  | "OFFLINE"
  | "CLOSED";

/** What moves a peer from state to state. */
export type PeerEvent =
  /** A dial starts, or an accepted transport waits for the other side's Hello. */
  | "connect"
  /** Our Hello is out and the other side's is not here yet. */
  | "hello-sent"
  /** Both Hellos are exchanged and agreed. */
  | "hello-agreed"
  /** The other side's view is here and its digest matches ours. */
  | "synced"
  /** Digest or numbering does not match: the view was asked for again. */
  | "mismatch"
  /** The transport is gone or silent; the peer may return. */
  | "lost"
  /** The dial failed, or the session was refused before anything was learned. */
  | "failed"
  /** The peer leaves service, or an operator or a revocation ends the peering. */
  | "leave";

/** Next state by state and event. */
export const sessionTable: Readonly<Record<PeerState, Partial<Readonly<Record<PeerEvent, PeerState>>>>> = {
  IDLE: { connect: "CONNECTING", leave: "CLOSED" },
  CONNECTING: {
    connect: "CONNECTING",
    "hello-sent": "HELLO_SENT",
    "hello-agreed": "SYNCING",
    failed: "IDLE",
    lost: "IDLE",
    leave: "CLOSED",
  },
  HELLO_SENT: { "hello-agreed": "SYNCING", failed: "IDLE", lost: "IDLE", leave: "CLOSED" },
  SYNCING: { synced: "ESTABLISHED", mismatch: "RESYNC", lost: "OFFLINE", leave: "CLOSED" },
  ESTABLISHED: { synced: "ESTABLISHED", mismatch: "RESYNC", lost: "OFFLINE", leave: "CLOSED" },
  RESYNC: { synced: "ESTABLISHED", mismatch: "RESYNC", lost: "OFFLINE", leave: "CLOSED" },
  OFFLINE: { "hello-agreed": "SYNCING", lost: "OFFLINE", leave: "CLOSED" },
  CLOSED: { connect: "CONNECTING", "hello-agreed": "SYNCING", leave: "CLOSED" },
};

/** The state that follows, or undefined when the table has no such transition. */
export function nextPeerState(state: PeerState, event: PeerEvent): PeerState | undefined {
  return sessionTable[state][event];
}
