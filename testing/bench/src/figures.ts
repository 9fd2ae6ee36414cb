/** All that was measured, by system and name, and the targets that it is held against. */
import type { Sample } from "./measure.ts";

/** One value of one round. */
export interface Figure {
  readonly system: string;
  readonly name: string;
  readonly round: number;
  readonly value: number;
}

/** One line of the table of targets. */
export interface Target {
  /** What is measured, for people. */
  readonly measure: string;
  /** Name of our figure. */
  readonly figure: string;
  /** Divides our figure: that of another system, or another one of ours. Without it the figure itself is judged. */
  readonly by?: { readonly system: string; readonly figure?: string };
  readonly better: "lower" | "higher";
  readonly must: number;
  readonly aim?: number;
}

/** A target with what came out. */
export interface Verdict extends Target {
  readonly ours: number;
  readonly peer: number | undefined;
  readonly value: number;
  readonly outcome: "aim" | "must" | "missed";
}

/** The targets of the product, each a ratio of medians in one run. */
export const targets: readonly Target[] = [
  ...[100, 1_024, 16_384].map(
    (size): Target => ({
      measure: `gateway CPU for a best-effort message, ${size} B`,
      figure: `relay ${size} cpu`,
      by: { system: "nats" },
      better: "lower",
      must: 1.5,
      aim: 1,
    }),
  ),
  {
    measure: "gateway CPU for a best-effort message, 100 B",
    figure: "relay 100 cpu",
    by: { system: "slim" },
    better: "lower",
    must: 0.5,
    aim: 0.25,
  },
  {
    measure: "gateway CPU for a best-effort message, 1024 B",
    figure: "relay 1024 cpu",
    by: { system: "slim" },
    better: "lower",
    must: 0.7,
    aim: 0.4,
  },
  ...[100, 1_024, 16_384].map(
    (size): Target => ({
      measure: `sustained messages a second, ${size} B`,
      figure: `relay ${size} rate`,
      by: { system: "nats" },
      better: "higher",
      must: 0.7,
      aim: 1.1,
    }),
  ),
  {
    measure: "64 pairs, one outstanding each: gateway CPU for a message",
    figure: "pairs cpu µs",
    by: { system: "nats" },
    better: "lower",
    must: 1.9,
    aim: 1.2,
  },
  {
    measure: "round trip p50, 1 KB",
    figure: "relay 1024 p50",
    by: { system: "nats" },
    better: "lower",
    must: 1.5,
    aim: 1.1,
  },
  {
    measure: "round trip p99, 1 KB",
    figure: "relay 1024 p99",
    by: { system: "nats" },
    better: "lower",
    must: 2.5,
    aim: 1.2,
  },
  ...[10, 100, 1_000].map(
    (count): Target => ({
      measure: `CPU for a delivery, fan-out to ${count}`,
      figure: `fan-out ${count} cpu µs`,
      by: { system: "nats" },
      better: "lower",
      must: 1.1,
      aim: 0.6,
    }),
  ),
  {
    measure: "CPU for a delivery, fan-out to 10,000 against 10, one publication at a time",
    figure: "fan-out 10000 one by one cpu µs",
    by: { system: "causeway", figure: "fan-out 10 one by one cpu µs" },
    better: "lower",
    must: 1.5,
  },
  {
    measure: "reliable, acknowledged end to end, SDK to SDK, 1 KB",
    figure: "sdk reliable/s",
    by: { system: "slim", figure: "session reliable/s" },
    better: "higher",
    must: 3,
    aim: 10,
  },
  {
    measure: "stored durably and acknowledged (mailbox), 1 KB",
    figure: "stored/s",
    by: { system: "nats" },
    better: "higher",
    must: 1,
    aim: 3,
  },
  {
    measure: "SDK to SDK with MLS, 1 KB",
    figure: "sdk mls/s",
    by: { system: "slim", figure: "session mls/s" },
    better: "higher",
    must: 0.6,
    aim: 1,
  },
  {
    measure: "one of ten subscribers stopped: rate of the others",
    figure: "stopped ratio",
    better: "higher",
    must: 0.9,
    aim: 0.98,
  },
  {
    measure: "interactive p99 beside bulk to the same slow receiver, against idle",
    figure: "classes receiver p99",
    by: { system: "causeway", figure: "classes idle p99" },
    better: "lower",
    must: 2,
  },
  {
    measure: "interactive p99 beside bulk of others through the gateway, against idle",
    figure: "classes gateway p99",
    by: { system: "causeway", figure: "classes idle p99" },
    better: "lower",
    must: 2,
  },
  {
    measure: "forwarding at 1,000,000 entries against 1,000",
    figure: "forward 1000000 ns",
    by: { system: "causeway", figure: "forward 1000 ns" },
    better: "lower",
    must: 1.5,
  },
  { measure: "KB of memory for an idle agent", figure: "idle rss KB", better: "lower", must: 75, aim: 40 },
  { measure: "ms of gateway CPU for an attachment", figure: "attach cpu ms", better: "lower", must: 2.5, aim: 1.5 },
];

/** Figures of the relay's samples. */
export function figuresOf(samples: readonly Sample[]): readonly Figure[] {
  return samples.flatMap(({ system, round, size, ...s }) => {
    const values: Readonly<Record<string, number | undefined>> = {
      cpu: s.gatewayCpuPerMillion,
      rate: s.messagesPerSecond,
      p50: s.roundTripP50Micros,
      p99: s.roundTripP99Micros,
    };
    return Object.entries(values).flatMap(([name, value]) =>
      value === undefined ? [] : [{ system, round, name: `relay ${size} ${name}`, value }],
    );
  });
}

/** Judges every target whose figures were measured. */
export function judge(figures: readonly Figure[]): readonly Verdict[] {
  const values = Map.groupBy(figures, ({ system, name }) => `${system}/${name}`);
  const medianOf = (system: string, name: string): number | undefined => {
    const sorted = (values.get(`${system}/${name}`) ?? []).map(({ value }) => value).sort((a, b) => a - b);
    const middle = (sorted.length - 1) / 2;
    const [low, high] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]];
    return low === undefined || high === undefined ? undefined : (low + high) / 2;
  };
  return targets.flatMap((target) => {
    const ours = medianOf("causeway", target.figure);
    const peer = target.by && medianOf(target.by.system, target.by.figure ?? target.figure);
    if (ours === undefined || (target.by !== undefined && peer === undefined)) return [];
    const value = peer === undefined ? ours : ours / peer;
    const reaches = (bound: number): boolean => (target.better === "lower" ? value <= bound : value >= bound);
    const outcome = target.aim !== undefined && reaches(target.aim) ? "aim" : reaches(target.must) ? "must" : "missed";
    return [{ ...target, ours, peer, value, outcome }];
  });
}
