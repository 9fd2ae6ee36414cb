import { expect, test } from "vitest";
import { flushedAtOnce, Turn } from "./turn.ts";

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

test("what a flush queues leaves with the next turn, before memory is freed, and no turn is lost", async () => {
  const turn = new Turn();
  const said: string[] = [];
  const second = { flush: () => void said.push("second") };
  const first = {
    flush() {
      said.push("first");
      turn.add(second);
    },
  };
  turn.add(first);
  turn.addLast({ flush: () => void said.push("free") });
  await turns(3);
  expect(said).toEqual(["first", "second", "free"]);
  turn.add(second);
  await turns(2);
  expect(said).toEqual(["first", "second", "free", "second"]);
});

test("pieces queued by one of the last keep what they hold", async () => {
  const turn = new Turn();
  const bytes = Uint8Array.of(1, 2, 3);
  let piece = -1;
  let held: unknown;
  turn.add({ flush: () => undefined });
  turn.addLast({
    flush() {
      piece = turn.note(-1, bytes, 0, 3);
      turn.add({
        flush() {
          held = turn.bufferOf(piece);
        },
      });
    },
  });
  await turns(3);
  expect(held).toBe(bytes);
});

/** Adds so many, each of which says the name when it is flushed. */
function crowd(turn: Turn, count: number, said: string[], name: string): void {
  for (let i = 0; i < count; i++) turn.add({ flush: () => void said.push(name) });
}

test("the output of many links leaves in parts, and what comes in between goes before the rest", async () => {
  const turn = new Turn();
  const said: string[] = [];
  crowd(turn, 3 * flushedAtOnce, said, "many");
  turn.addLast({ flush: () => void said.push("free") });
  await turns(1);
  expect(said).toEqual(new Array(flushedAtOnce).fill("many"));
  turn.add({ flush: () => void said.push("urgent") });
  await turns(1);
  expect(said.indexOf("urgent")).toBe(flushedAtOnce);
  await turns(2);
  expect(said.filter((each) => each === "many")).toHaveLength(3 * flushedAtOnce);
  expect(said.at(-1)).toBe("free");
});

test("the last ones get their turn however many links always have output", async () => {
  const turn = new Turn();
  const said: string[] = [];
  const again = { flush: () => void said.push("free") };
  crowd(turn, 3 * flushedAtOnce, said, "many");
  turn.addLast(again);
  for (let i = 0; i < 30; i++) {
    await turns(1);
    crowd(turn, 2 * flushedAtOnce, said, "more");
  }
  expect(said).toContain("free");
  expect(said.filter((each) => each === "many")).toHaveLength(3 * flushedAtOnce);
});

test("pieces of links that wait for their part of a round keep what they hold", async () => {
  const turn = new Turn();
  const held: unknown[] = [];
  const pieces = Array.from({ length: 4 * flushedAtOnce }, (_, i) => Uint8Array.of(i & 255));
  for (const bytes of pieces) {
    const piece = turn.note(-1, bytes, 0, 1);
    turn.add({ flush: () => void held.push(turn.bufferOf(piece)) });
  }
  for (let i = 0; i < 8; i++) {
    await turns(1);
    const piece = turn.note(-1, Uint8Array.of(0), 0, 1);
    turn.add({ flush: () => turn.release(piece) });
  }
  expect(held).toEqual(pieces);
});

test("a round that is to hurry leaves in one go", async () => {
  const turn = new Turn();
  const said: string[] = [];
  crowd(turn, 3 * flushedAtOnce, said, "many");
  turn.addLast({ flush: () => void said.push("free") });
  await turns(1);
  turn.hurry();
  await turns(1);
  expect(said).toHaveLength(3 * flushedAtOnce + 1);
  crowd(turn, 3 * flushedAtOnce, said, "more");
  await turns(1);
  expect(said.filter((each) => each === "more")).toHaveLength(flushedAtOnce);
});
