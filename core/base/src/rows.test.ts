import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RowIndex, Rows } from "./rows.ts";

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.tuple(fc.constant("take"), fc.integer({ min: 1, max: 400 })) },
    { weight: 4, arbitrary: fc.tuple(fc.constant("give"), fc.integer({ min: 1, max: 500 })) },
  ),
  { maxLength: 40, size: "max" },
);

describe("rows", () => {
  test("whatever is taken and given back: rows in use differ, keep their numbers, and are found by their hash", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 5_000 }), (all, hashes) => {
        const rows = new Rows(3);
        const index = new RowIndex();
        const model = new Map<number, number>();
        // Negative ones and ones that end alike too.
        const hashOf = (number: number): number => (number % hashes) - 7;
        let count = 0;
        for (const [kind, times] of all) {
          for (let i = 0; i < times; i++) {
            const [oldest] = model.keys();
            if (kind === "take") {
              const row = rows.take();
              expect(model.has(row)).toBe(false);
              model.set(row, ++count);
              rows.setDouble(row, 0, count + 0.5);
              rows.setInt(row, 2, -count);
              index.add(row, hashOf(count));
            } else if (oldest !== undefined) {
              const row = (i & 1) === 0 ? oldest : ([...model.keys()].at(-1) ?? oldest);
              index.remove(row, hashOf(model.get(row) ?? 0));
              rows.giveBack(row);
              model.delete(row);
            }
          }
          expect(rows.size).toBe(model.size);
        }
        const found = new Set<number>();
        for (let hash = -7; hash < hashes - 7; hash++) {
          for (let row = index.first(hash); row >= 0; row = index.next(hash)) {
            expect(hashOf(model.get(row) ?? 0)).toBe(hash);
            found.add(row);
          }
        }
        expect(found).toEqual(new Set(model.keys()));
        for (const [row, number] of model)
          expect([rows.double(row, 0), rows.int(row, 2)]).toEqual([number + 0.5, -number]);
      }),
      { numRuns: 60 },
    );
  });

  test("memory that nothing is in goes, in whatever order rows are given back", () => {
    const rows = new Rows(4);
    const taken = Array.from({ length: 20_000 }, () => rows.take());
    const most = rows.memory;
    expect(most).toBeLessThan(20_000 * 4 * 4 * 1.1);
    for (const [i, row] of taken.entries()) if (i % 2 === 0) rows.giveBack(row);
    for (const [i, row] of taken.entries()) if (i % 2 === 1) rows.giveBack(row);
    expect(rows.size).toBe(0);
    expect(rows.memory).toBeLessThanOrEqual(most / 10);
    for (let i = 0; i < 20_000; i++) rows.take();
    expect(rows.memory).toBeLessThanOrEqual(most);
  });
});
