import { expect, test } from "vitest";
import { Turn } from "./turn.ts";

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
