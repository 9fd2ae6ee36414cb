import { defaults } from "@causeway/core-base";

/** Bounds of the sync machine. What happens at each one is said beside it. */
export interface SyncLimits {
  /** Own heartbeat interval; the lower of both sides counts. */
  readonly keepAliveMs: number;
  /** Silence after which a peer is offline. */
  readonly offlineAfterMs: number;
  /** Time for the other side's Hello; then the session is closed. */
  readonly helloMs: number;
  /** How long the state of an offline peer is kept; then it is closed. Not longer than tombstones are kept. */
  readonly offlineKeepMs: number;
  /** How long a record stays after the last way to it was lost, so that its body need not be sent again. */
  readonly retainMs: number;
  readonly tombstoneMs: number;
  /** Shortest time between two flushes to one peer; changes in between are coalesced. */
  readonly flushMs: number;
  /** Grace before a peer that was lost without a word is taken out of what others are told (graceful restart). */
  readonly restartGraceMs: number;
  /** Shortest time between two audits of one view after changes. */
  readonly auditMs: number;
  /** Updates sent and not acknowledged; further changes wait, one entry per record. */
  readonly unacknowledgedMax: number;
  /** An Ack is sent after so many updates, or after `flushMs`. */
  readonly acknowledgeEvery: number;
  /** Records accepted from one peer; further ones are refused one by one. */
  readonly recordsPerPeerMax: number;
  readonly pathHopsMax: number;
  /** Accepted from one peer; further ones are refused with a retry time. */
  readonly subscriptionsPerMinute: number;
  readonly subscriptionsActiveMax: number;
  readonly idleSubscriptionMs: number;
  /** Entries of one subscription, all fields together. */
  readonly interestEntriesMax: number;
  /** Complete views that one peer may ask for in a minute; further requests are refused with a retry time. */
  readonly refreshesPerMinute: number;
  /** Mismatching complete views in a row after which the session is closed. */
  readonly mismatchesMax: number;
  readonly queryMs: number;
  /** Gateways that a query may pass; each further one multiplies the traffic of a query that nobody can answer. */
  readonly queryHops: number;
  /** Queries of one peer in progress; further ones are refused. */
  readonly queriesPerPeerMax: number;
  readonly queryMatchesMax: number;
  readonly reconnectMsMin: number;
  readonly reconnectMsMax: number;
}

/** Defaults of REQUIREMENTS section 10; the rest is ours. */
export const defaultSyncLimits: SyncLimits = {
  keepAliveMs: defaults.heartbeatMs,
  offlineAfterMs: defaults.staleAfterMs,
  helloMs: 10_000,
  offlineKeepMs: defaults.tombstoneMs,
  retainMs: defaults.tombstoneMs,
  tombstoneMs: defaults.tombstoneMs,
  flushMs: 50,
  restartGraceMs: 2_000,
  auditMs: 60_000,
  unacknowledgedMax: 256,
  acknowledgeEvery: 32,
  recordsPerPeerMax: 2_000_000,
  pathHopsMax: defaults.pathHopsMax,
  subscriptionsPerMinute: defaults.subscriptionsPerMinute,
  subscriptionsActiveMax: defaults.subscriptionsActiveMax,
  idleSubscriptionMs: defaults.idleSubscriptionMs,
  interestEntriesMax: 64,
  refreshesPerMinute: 12,
  mismatchesMax: 3,
  queryMs: 2_000,
  queryHops: 2,
  queriesPerPeerMax: 1_000,
  queryMatchesMax: 50,
  reconnectMsMin: defaults.reconnectMsMin,
  reconnectMsMax: defaults.reconnectMsMax,
};
