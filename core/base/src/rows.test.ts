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

  const orders: readonly (readonly [string, (rows: readonly number[]) => readonly number[]])[] = [
    ["the first first", (rows) => rows],
    ["the last first", (rows) => rows.toReversed()],
    [
      "every other one, then the rest",
      (rows) => [...rows.filter((_, i) => i % 2 === 0), ...rows.filter((_, i) => i % 2)],
    ],
  ];
  test.each(orders)("memory that nothing is in goes when rows are given back: %s", (_name, order) => {
    const rows = new Rows(4);
    const taken = Array.from({ length: 20_000 }, () => rows.take());
    const most = rows.memory;
    expect(most).toBeLessThan(20_000 * 4 * 4 * 1.1);
    for (const row of order(taken)) rows.giveBack(row);
    expect(rows.size).toBe(0);
    expect(rows.memory).toBe(chunkBytes);
    for (let i = 0; i < 20_000; i++) rows.take();
    expect(rows.memory).toBe(most);
  });

  test("at most one chunk that nothing is in stays, whatever order rows come and go in", () => {
    const turn = fc.record({
      taken: fc.integer({ min: 0, max: 6_000 }),
      keptPercent: fc.integer({ min: 0, max: 90 }),
      order: fc.constantFrom("first", "last", "any"),
    });
    fc.assert(
      fc.property(fc.array(turn, { minLength: 1, maxLength: 6 }), fc.integer(), (turns, seed) => {
        const rows = new Rows(4);
        let held: number[] = [];
        let state = seed;
        const random = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0) >>> 8;
        for (const { taken, keptPercent, order } of turns) {
          for (let i = 0; i < taken; i++) held.push(rows.take());
          if (order === "last") held.reverse();
          for (let i = order === "any" ? held.length - 1 : 0; i > 0; i--) {
            const j = random() % (i + 1);
            [held[i], held[j]] = [held[j] ?? 0, held[i] ?? 0];
          }
          const leaving = held.length - Math.floor((held.length * keptPercent) / 100);
          for (const row of held.slice(0, leaving)) rows.giveBack(row);
          held = held.slice(leaving);
          expect(new Set(held).size).toBe(rows.size);
          const inUse = new Set(held.map((row) => Math.floor(row / 1_024))).size;
          expect(rows.memory).toBeLessThanOrEqual((inUse + 1) * chunkBytes);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("one row that comes and goes makes no memory come and go", () => {
    const rows = new Rows(4);
    for (let i = 0; i < 1_024; i++) rows.take();
    const row = rows.take();
    const { memory } = rows;
    for (let i = 0, last = row; i < 5; i++) {
      rows.giveBack(last);
      expect(rows.memory).toBe(memory);
      last = rows.take();
      expect(rows.memory).toBe(memory);
    }
  });
});

/** Of 1,024 rows of four words. */
const chunkBytes = 1_024 * 4 * 4;
