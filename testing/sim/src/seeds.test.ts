import { describe, expect, test } from "vitest";
import { runSeed } from "./run.ts";
import { directedWorlds, mailWorlds, type WorldName } from "./world-names.ts";

/** Each has failed once. */
const regressions: readonly (readonly [WorldName, number, string])[] = [
  ["stalls", 341, "a message that waits for its agent while the world heals is no loop"],
  ["stalls", 532, "an agent gives up its link a moment after everything seemed well"],
  ["streams", 2, "the end of a stream is lost, and so is the word of it"],
  [
    "streams",
    4804,
    "a receiver restarts and gets the beginning of a stream again, which has ended well for its sender",
  ],
  ["moves", 5, "answers to the offer of a mailbox take longer than they are waited for"],
  ["moves", 9, "a message expires on its way to another gateway"],
];

/** A sample for every test run; `npm run sim -- --seeds 2000` plays many. */
const seeds = Array.from({ length: 40 }, (_, i) => 1 + i);

describe("seeded worlds of gateways and agents stay safe under faults and converge after healing [AMSP-22] [AMSP-33] [AAP-44]", () => {
  test.each(seeds)("seed %i", (seed) => {
    expect(runSeed(seed).failure).toBeUndefined();
  });

  test.each(directedWorlds.filter((name) => !mailWorlds.some((other) => other === name)))(
    "five seeds of the world %s",
    (world) => {
      for (let seed = 1; seed <= 5; seed++) expect(runSeed(seed, world).failure).toBeUndefined();
    },
  );

  test.each(mailWorlds)(
    "three seeds of the world %s: what is stored arrives once, in order [AGP-58] [AAP-95]",
    (world) => {
      for (let seed = 1; seed <= 3; seed++) expect(runSeed(seed, world).failure).toBeUndefined();
    },
  );

  test.each(regressions)("world %s, seed %i: %s", (world, seed) => {
    expect(runSeed(seed, world).failure).toBeUndefined();
  });
});
