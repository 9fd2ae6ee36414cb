/** Pairs of two purposes between the same agents: what is sealed for one may overtake what is sealed for the other. */
import { expect, test } from "vitest";
import type { SealedFrame } from "./api.ts";
import { bytes, textOf, World } from "./testing/world.ts";

test("any number of messages may overtake bulk, which has a group of its own for each peer [BEY-1]", async () => {
  const world = new World();
  const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
  const bulk: (readonly SealedFrame[])[] = [];
  const rest: (readonly SealedFrame[])[] = [];
  for (let i = 0; i < 300; i++) {
    bulk.push(await alice.e2ee.seal(bob.id, bytes(`b${i}`), "bulk"));
    rest.push(await alice.e2ee.seal(bob.id, bytes(`i${i}`)));
  }
  const read: string[] = [];
  for (const frames of [...rest, ...bulk]) read.push(textOf(await bob.receive(alice, frames)));
  const all = (letter: string): string[] => Array.from({ length: 300 }, (_, i) => `${letter}${i}`);
  expect(read).toEqual([...all("i"), ...all("b")]);
  expect(
    [alice, bob].map(({ e2ee }) =>
      e2ee
        .groups()
        .map(({ name }) => name)
        .sort(),
    ),
  ).toEqual([
    ["", "bulk"],
    ["", "bulk"],
  ]);
  // Answers go in the group of their purpose.
  const [answer] = await bob.e2ee.seal(alice.id, bytes("done"), "bulk");
  expect(answer?.securityContextId).toEqual(bulk[0]?.at(-1)?.securityContextId);
});

test("a pair for a purpose that nobody knows is refused: groups with one peer stay few", async () => {
  const world = new World();
  const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
  // Facts of a group are read by one function, for its founder as for those who are invited.
  await expect(alice.e2ee.seal(bob.id, bytes("x"), "anything" as "bulk")).rejects.toMatchObject({
    code: "CAUSEWAY_E2EE_DECRYPT_FAILED",
  });
  expect(alice.e2ee.groups()).toEqual([]);
});
