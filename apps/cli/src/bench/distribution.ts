/** Latencies of one measurement: percentiles, and how they are spread. Numbers are microseconds. */

/** Values below `upToMicros` and not below the bucket before. */
export interface Bucket {
  readonly fromMicros: number;
  readonly upToMicros: number;
  readonly count: number;
}

/** What is told of many latencies. */
export interface Distribution {
  readonly count: number;
  readonly minMicros: number;
  readonly p50Micros: number;
  readonly p90Micros: number;
  readonly p99Micros: number;
  readonly maxMicros: number;
  /** From the least to the greatest value without a gap, each bucket wider than the one before by the same factor. */
  readonly buckets: readonly Bucket[];
}

/** Sums up; at least one value. */
export function distributionOf(values: Iterable<number>): Distribution {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return {
    count: sorted.length,
    minMicros: round(at(0)),
    p50Micros: round(at(0.5)),
    p90Micros: round(at(0.9)),
    p99Micros: round(at(0.99)),
    maxMicros: round(at(1)),
    buckets: bucketsOf(sorted),
  };
}

/**
 * A line for each bucket, with a bar as long as its share and the percentiles that fall into it. Plain characters;
 * `paint` may colour a bar.
 */
export function plot(
  { buckets, count, ...values }: Distribution,
  paint: (bar: string) => string = (bar) => bar,
): string {
  const greatest = Math.max(...buckets.map((bucket) => bucket.count));
  const marks = [
    ["p50", values.p50Micros],
    ["p90", values.p90Micros],
    ["p99", values.p99Micros],
  ] as const;
  return buckets
    .map((bucket, i) => {
      const { fromMicros, upToMicros } = bucket;
      const isLast = i === buckets.length - 1;
      const length = Math.ceil((bucket.count / greatest) * barWidth);
      const bar = paint("#".repeat(length)) + " ".repeat(barWidth - length);
      const share = `${((bucket.count / count) * 100).toFixed(1)} %`.padStart(7);
      const here = marks.filter(([, value]) => (value >= fromMicros || i === 0) && (value < upToMicros || isLast));
      const range = `${millis(fromMicros).padStart(labelWidth)} - ${millis(upToMicros).padStart(labelWidth)} ms`;
      return `${range} |${bar} ${share} ${here.map(([name]) => name).join(" ")}`.trimEnd();
    })
    .join("\n");
}

/** Milliseconds with three digits behind the point. */
export const millis = (micros: number): string => (micros / 1_000).toFixed(3);

function bucketsOf(sorted: Float64Array): readonly Bucket[] {
  const least = Math.max(leastMicros, sorted[0] ?? 0);
  const greatest = Math.max(least, sorted.at(-1) ?? 0);
  const count = Math.min(bucketsMax, Math.ceil(Math.log(greatest / least) / Math.log(growthMin)) + 1);
  const growth = Math.max(growthMin, (greatest / least) ** (1 / count));
  const edges = Array.from({ length: count + 1 }, (_, i) => round(least * growth ** i));
  const counts = Array.from({ length: count }, () => 0);
  let bucket = 0;
  for (const value of sorted) {
    while (bucket < count - 1 && value >= (edges[bucket + 1] ?? 0)) bucket++;
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  return counts.map((each, i) => ({ fromMicros: edges[i] ?? 0, upToMicros: edges[i + 1] ?? 0, count: each }));
}

const round = (micros: number): number => Math.round(micros * 10) / 10;

const bucketsMax = 16;
/** A bucket ends at least a tenth above where it begins. */
const growthMin = 1.1;
const leastMicros = 1;
const barWidth = 40;
const labelWidth = 9;
