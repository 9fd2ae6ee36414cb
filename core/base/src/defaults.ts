/** Default values of the protocols (REQUIREMENTS section 10). All can be configured. */
export const defaults = {
  /** Heartbeat of agents and peers. */
  heartbeatMs: 30_000,
  /** Silence after which an attachment is stale and a peer offline: three missed heartbeats. */
  staleAfterMs: 90_000,
  /** Further silence after which a stale attachment is removed. */
  removeAfterStaleMs: 300_000,
  /** Lifetime of a soft-state attachment and of a lease. */
  leaseMs: 300_000,
  /** How long an agent collects offers. */
  offerWindowMs: 500,
  offerValidityMs: 60_000,
  hopTtl: 16,
  discoveryQueriesPerMinute: 60,
  subscriptionsPerMinute: 100,
  subscriptionsActiveMax: 10_000,
  idleSubscriptionMs: 900_000,
  recordBytesMax: 16_384,
  l1CacheBytesMax: 268_435_456,
  tombstoneMs: 86_400_000,
  mlsUpdateMs: 3_600_000,
  mlsUpdateMessages: 1_000,
  crlRefreshMs: 60_000,
  certificateLifetimeMs: 86_400_000,
  /** Fraction of the lifetime after which a certificate is renewed. */
  renewAt: 2 / 3,
  messageBytesMax: 4_194_304,
  /** Longest PATH; longer ones are refused. */
  pathHopsMax: 32,
  reconnectMsMin: 500,
  reconnectMsMax: 30_000,
  /** How long a message is stored for an agent that is away, when its sender does not say. */
  mailboxMs: 86_400_000,
  /** The longest, whatever its sender says; and the longest that a record stays announced while its agent is away. */
  mailboxMsMax: 604_800_000,
} as const;
