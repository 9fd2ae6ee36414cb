import type { AgentId, SpiffeId, StoredMail, UnixMs } from "@causeway/core-base";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Lane, SourceBox } from "./lane.ts";
import { MailRows } from "./mail-rows.ts";

const agentId = "example.com/bob" as AgentId;
const mailOf = (id: string, sequence: number): StoredMail => ({
  sequence,
  agentId,
  instance: "",
  source: "spiffe://example.com/alice" as SpiffeId,
  id,
  bytes: 1,
  storedAt: 0 as UnixMs,
  expiresAt: 1 as UnixMs,
  isTraced: sequence % 2 === 0,
});

/** An id of 16 bytes that compares as the number does, with bytes above 127 first. */
const idOf = (number: number): string => `\u{f0}${String(number).padStart(15, "0")}`;

test("every message is found by its id in its box, whatever order ids come and go in", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("next" as const), fc.nat(1), fc.nat(3)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("any" as const), fc.nat(1), fc.nat(400)) },
    { weight: 5, arbitrary: fc.tuple(fc.constant("oldest" as const), fc.nat(1), fc.nat(3)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("remove" as const), fc.nat(1), fc.nat(400)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("look" as const), fc.nat(1), fc.nat(400)) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const rows = new MailRows(7);
      const lane = new Lane(rows, agentId, []);
      const boxes = [0, 1].map((i) => new SourceBox(rows, lane, String(i)).number);
      const held: Map<number, number>[] = [new Map(), new Map()];
      const highest = [0, 0];
      let sequence = 0;
      for (const [kind, which, number] of steps) {
        const box = boxes[which] ?? -1;
        const there = held[which] ?? new Map<number, number>();
        const add = (id: number): void => {
          expect(rows.find(box, idOf(id))).toBe(there.get(id) ?? -1);
          if (there.has(id)) return;
          there.set(id, rows.add(mailOf(idOf(id), ++sequence), box));
          highest[which] = Math.max(highest[which] ?? 0, id);
        };
        const remove = (id: number | undefined): void => {
          const row = id === undefined ? undefined : there.get(id);
          if (id === undefined || row === undefined) return;
          expect(rows.find(box, idOf(id))).toBe(row);
          expect(rows.mail(row)).toMatchObject({ id: idOf(id) });
          rows.remove(row);
          there.delete(id);
          expect(rows.find(box, idOf(id))).toBe(-1);
        };
        if (kind === "next") add((highest[which] ?? 0) + 1 + number);
        else if (kind === "any") add(number);
        else if (kind === "oldest") remove([...there.keys()][0]);
        else if (kind === "remove") remove([...there.keys()][number % Math.max(1, there.size)]);
        else expect(rows.find(box, idOf(number))).toBe(there.get(number) ?? -1);
      }
      for (const [which, there] of held.entries())
        for (const [id, row] of there) expect(rows.find(boxes[which] ?? -1, idOf(id))).toBe(row);
    }),
    { numRuns: 300 },
  );
});

test("thousands that come in order and go in order leave no row behind", () => {
  const rows = new MailRows(7);
  const box = new SourceBox(rows, new Lane(rows, agentId, []), "alice").number;
  const waiting: number[] = [];
  for (let i = 1; i <= 5_000; i++) {
    waiting.push(rows.add(mailOf(idOf(i), i), box));
    if (i % 3 === 0) for (const row of waiting.splice(0, 2)) rows.remove(row);
  }
  const left = 5_000 - waiting.length;
  expect(rows.find(box, idOf(left))).toBe(-1);
  expect(waiting.map((row) => rows.find(box, rows.mail(row).id))).toEqual(waiting);
  for (const row of waiting) rows.remove(row);
  for (let i = 1; i <= 5_000; i++) expect(rows.find(box, idOf(i))).toBe(-1);
});
