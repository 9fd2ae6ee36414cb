/** What each limit of a gateway may be, and when a change of it counts (AAP-103). */
import type { LimitEffect, LimitRule } from "@causeway/core-base";
import { defaultSyncLimits, type SyncLimits } from "@causeway/core-sync";
import { gatewayLimits } from "./limits.ts";
import type { GatewayLimits } from "./ports.ts";

/** Bounds of record synchronisation under the names that operators use. */
export type NamedSyncLimits = { readonly [K in keyof SyncLimits as `sync.${K}`]: number };

/** Every limit that an operator of a gateway sees. */
export type AllGatewayLimits = GatewayLimits & NamedSyncLimits;

/** Their defaults. */
export const allGatewayLimits: AllGatewayLimits = {
  ...gatewayLimits,
  ...(Object.fromEntries(
    Object.entries(defaultSyncLimits).map(([name, value]) => [`${prefix()}${name}`, value]),
  ) as unknown as NamedSyncLimits),
};

/** What the record base is given. */
export function syncLimitsOf(values: AllGatewayLimits): SyncLimits {
  const all = values as unknown as Readonly<Record<string, number>>;
  const names = Object.keys(defaultSyncLimits);
  return Object.fromEntries(names.map((name) => [name, all[`${prefix()}${name}`]])) as unknown as SyncLimits;
}

/** Counts of what is granted or negotiated once: a change does not take back what was promised. */
const forNew: ReadonlySet<string> = new Set<keyof AllGatewayLimits>([
  "heartbeatMs",
  "staleAfterMs",
  "removeAfterStaleMs",
  "leaseMs",
  "handshakeMs",
  "mailboxMs",
  "mailboxMsMax",
  "sync.keepAliveMs",
  "sync.helloMs",
  "sync.tombstoneMs",
  "sync.retainMs",
]);

/** Where the least or the greatest value is not the usual one. */
const bounds: Readonly<Partial<Record<keyof AllGatewayLimits, readonly [min: number, max: number]>>> = {
  // Agents refuse leases below these.
  heartbeatMs: [1_000, 86_400_000],
  leaseMs: [3_000, 86_400_000],
  handshakeMs: [100, 600_000],
  reconnectMsMin: [10, 86_400_000],
  reconnectMsMax: [10, 86_400_000],
  hopRecordsMax: [1, 10_000_000],
  drainAloneMs: [0, 86_400_000],
  silentAtLoadPercent: [1, 101],
  "sync.keepAliveMs": [1_000, 86_400_000],
  "sync.helloMs": [100, 600_000],
  "sync.reconnectMsMin": [10, 86_400_000],
  "sync.reconnectMsMax": [10, 86_400_000],
  "sync.queryHops": [1, 16],
  "sync.pathHopsMax": [1, 255],
};

/** The rule of each limit. */
export const gatewayLimitRules = Object.fromEntries(
  Object.keys(allGatewayLimits).map((name): [string, LimitRule] => {
    const [min, max] = bounds[name as keyof AllGatewayLimits] ?? [1, Number.MAX_SAFE_INTEGER];
    const effect: LimitEffect = forNew.has(name) ? "for new" : "at once";
    return [name, { min, max, effect }];
  }),
) as unknown as Readonly<Record<keyof AllGatewayLimits, LimitRule>>;

/** Why these values do not go together; undefined when they do. */
export function contradictionIn(values: AllGatewayLimits): string | undefined {
  for (const [less, more] of ordered) {
    if (values[less] <= values[more]) continue;
    return `expected ${less} of at most ${more}, got ${values[less]} and ${values[more]}`;
  }
  return undefined;
}

const ordered: readonly (readonly [keyof AllGatewayLimits, keyof AllGatewayLimits])[] = [
  // An agent that lives must not be taken for dead between two heartbeats.
  ["heartbeatMs", "staleAfterMs"],
  ["heartbeatMs", "leaseMs"],
  ["reconnectMsMin", "reconnectMsMax"],
  ["mailboxMs", "mailboxMsMax"],
  ["sync.keepAliveMs", "sync.offlineAfterMs"],
  ["sync.reconnectMsMin", "sync.reconnectMsMax"],
];

function prefix(): "sync." {
  return "sync.";
}
