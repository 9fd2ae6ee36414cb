import fc from "fast-check";
import { expect, test } from "vitest";
import { ChunkPool } from "./chunk-pool.ts";

test("chunks are long enough, nobody else's, and kept up to a bound", () => {
  const step = fc.oneof(
    fc.record({ length: fc.integer({ min: 1, max: 70_000 }), wanted: fc.integer({ min: 0, max: 200_000 }) }),
    fc.nat(20),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const spareBytesMax = 200_000;
      const pool = new ChunkPool(spareBytesMax);
      const made = new Set<Buffer>();
      const used: Buffer[] = [];
      for (const each of steps) {
        if (typeof each === "number") {
          for (const chunk of used.splice(each, 1)) pool.giveBack(chunk);
          continue;
        }
        const chunk = pool.take(each.length, each.wanted);
        expect(chunk.length).toBeGreaterThanOrEqual(each.length);
        expect(chunk.length).toBeLessThanOrEqual(Math.max(each.length, 65_536));
        expect(used.includes(chunk)).toBe(false);
        made.add(chunk);
        used.push(chunk);
      }
      for (const chunk of used) pool.giveBack(chunk);
      let kept = 0;
      for (let size = 4_096; size <= 65_536; size *= 2) {
        for (let chunk = pool.take(size, size); made.has(chunk); chunk = pool.take(size, size)) kept += chunk.length;
      }
      expect(kept).toBeLessThanOrEqual(spareBytesMax);
    }),
  );
});

test("every size is used again", () => {
  const pool = new ChunkPool();
  for (const [length, wanted] of [
    [1, 0],
    [4_097, 0],
    [100, 16_384],
    [20_000, 1],
    [65_536, 131_072],
  ] as const) {
    const chunk = pool.take(length, wanted);
    pool.giveBack(chunk);
    expect(pool.take(length, wanted)).toBe(chunk);
  }
});
