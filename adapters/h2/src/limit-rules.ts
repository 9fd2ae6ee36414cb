/** What operators of a service may set of its connections (AAP-103). Read when its port is made. */
import { type LimitRule, type LimitTable, LiveLimits } from "@causeway/core-base";
import { type H2Limits, h2Limits } from "./limits.ts";

/** Bounds of connections under the names that operators use. */
export type ConnectionLimits = { readonly [K in keyof H2Limits as `connection.${K}`]: number };

const kib = 1_024;
const mib = 1_048_576;
const countMax = 1_000_000;
/** The largest window of HTTP/2. */
const windowMax = 2_147_483_647;

const bounds: { readonly [K in keyof H2Limits]: readonly [min: number, max: number] } = {
  sessionsMax: [1, countMax],
  handshakesPerSourceMax: [1, countMax],
  sessionsPerPeerMax: [1, countMax],
  streamsPerSessionMax: [1, countMax],
  headerListBytesMax: [4 * kib, mib],
  headerFieldsMax: [16, 1_000],
  // Nothing larger is a message.
  frameBytesMax: [64 * kib, h2Limits.frameBytesMax],
  messageBytesMax: [64 * kib, h2Limits.messageBytesMax],
  streamWindowBytes: [65_535, windowMax],
  sessionWindowBytes: [65_535, windowMax],
  queueHighWaterBytes: [kib, 1_024 * mib],
  queueBytesMax: [64 * kib, 1_024 * mib],
  sessionMemoryMbMax: [1, 4_096],
  invalidFramesMax: [1, countMax],
  rejectedStreamsMax: [1, countMax],
  streamResetBurst: [1, countMax],
  streamResetsPerSecond: [1, countMax],
  settingsEntriesMax: [16, 1_000],
  outstandingPingsMax: [1, 1_000],
  controlFrameBurst: [100, countMax],
  controlFramesPerSecond: [10, countMax],
  controlFramesOpenMax: [10, countMax],
  handshakeMs: [100, 600_000],
  dialMs: [100, 600_000],
  pingEveryMs: [1_000, 3_600_000],
  pingTimeoutMs: [100, 3_600_000],
  idleMs: [1_000, 86_400_000],
  closeMs: [10, 600_000],
};

const prefix = "connection.";

const named = (of: (name: keyof H2Limits) => unknown): unknown =>
  Object.fromEntries(Object.keys(h2Limits).map((name) => [`${prefix}${name}`, of(name as keyof H2Limits)]));

/** What a service lists beside its own limits. */
export const connectionLimits: LimitTable<ConnectionLimits> = {
  defaults: named((name) => h2Limits[name]) as ConnectionLimits,
  rules: named((name) => ({ min: bounds[name][0], max: bounds[name][1], effect: "after a restart" })) as Readonly<
    Record<keyof ConnectionLimits, LimitRule>
  >,
  contradiction(values) {
    for (const [less, more] of ordered) {
      if (values[less] > values[more])
        return `expected ${less} of at most ${more}, got ${values[less]} and ${values[more]}`;
    }
    return undefined;
  },
};

const ordered: readonly (readonly [keyof ConnectionLimits, keyof ConnectionLimits])[] = [
  ["connection.queueHighWaterBytes", "connection.queueBytesMax"],
  ["connection.streamWindowBytes", "connection.sessionWindowBytes"],
];

/** For `createPort` and dialling, of what is configured; other limits are left out. Throws CAUSEWAY_CONFIG_INVALID. */
export function h2LimitsOf(configured: Partial<ConnectionLimits>): Partial<H2Limits> {
  const given = Object.entries(configured).filter(([name]) => name.startsWith(prefix));
  const { values } = new LiveLimits({
    ...connectionLimits,
    configured: Object.fromEntries(given) as Partial<ConnectionLimits>,
  });
  return Object.fromEntries(
    given.map(([name]) => [name.slice(prefix.length), values[name as keyof ConnectionLimits]]),
  ) as Partial<H2Limits>;
}
