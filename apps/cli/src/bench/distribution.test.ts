import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { distributionOf, plot } from "./distribution.ts";

const latencies = fc.array(fc.double({ min: 0, max: 1e8, noNaN: true }), { minLength: 1, maxLength: 300 });

describe("a distribution of latencies", () => {
  test("percentiles are in order and within what was measured; every value is in one bucket", () => {
    fc.assert(
      fc.property(latencies, (values) => {
        const { count, minMicros, p50Micros, p90Micros, p99Micros, maxMicros, buckets } = distributionOf(values);
        const points = [minMicros, p50Micros, p90Micros, p99Micros, maxMicros];
        expect(points).toEqual(points.toSorted((a, b) => a - b));
        expect(minMicros).toBeCloseTo(Math.min(...values), 0);
        expect(maxMicros).toBeCloseTo(Math.max(...values), 0);
        expect(count).toBe(values.length);
        expect(buckets.reduce((sum, bucket) => sum + bucket.count, 0)).toBe(count);
        expect(buckets.length).toBeLessThanOrEqual(16);
        for (const [i, bucket] of buckets.entries()) {
          expect(bucket.upToMicros).toBeGreaterThan(bucket.fromMicros);
          if (i > 0) expect(bucket.fromMicros).toBe(buckets[i - 1]?.upToMicros);
        }
      }),
    );
  });

  test("the values of a hundred from 1 to 100 ms", () => {
    const ms = Array.from({ length: 100 }, (_, i) => (i + 1) * 1_000);
    expect(distributionOf(ms)).toMatchObject({
      count: 100,
      minMicros: 1_000,
      p50Micros: 51_000,
      p90Micros: 91_000,
      p99Micros: 100_000,
      maxMicros: 100_000,
    });
  });

  test("the plot has a line for each bucket, plain characters, and names each percentile once", () => {
    fc.assert(
      fc.property(latencies, (values) => {
        const distribution = distributionOf(values);
        const text = plot(distribution);
        expect(text.split("\n")).toHaveLength(distribution.buckets.length);
        expect(text).toMatch(/^[ -~\n]*$/);
        for (const name of ["p50", "p90", "p99"]) expect(text.split(name)).toHaveLength(2);
      }),
    );
  });
});
