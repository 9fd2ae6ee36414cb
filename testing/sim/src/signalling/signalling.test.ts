import { beforeAll, expect, test } from "vitest";
import { runCrowd } from "./crowd.ts";
import { type Comparison, compare, situations } from "./situations.ts";

/** `npm run signalling` does the same with 10,000 agents for twenty minutes. */
const size = { agents: 300, minutes: 12, seed: 1 };
let comparisons: readonly Comparison[];

beforeAll(() => {
  comparisons = compare(size);
});

function bothIn(situation: string): Comparison {
  const found = comparisons.find((each) => each.situation === situation);
  if (found === undefined) throw new Error(`${situation} was not compared`);
  return found;
}

for (const situation of Object.keys(situations)) {
  test(`soft attachments need fewer frames and bytes than stateful ones: ${situation} [AAP-92]`, () => {
    const { stateful, soft } = bothIn(situation);
    expect(soft.perAgentHour.frames).toBeLessThan(stateful.perAgentHour.frames);
    expect(soft.perAgentHour.bytes).toBeLessThan(stateful.perAgentHour.bytes);
    // Heartbeats and what answers them; a message of its own takes the place of a refresh.
    if (situation === "idle") {
      expect(stateful.perAgentHour.frames - stateful.handshakes.frames).toBeCloseTo(2 * (3_600 / 30), -1.5);
      expect(soft.perAgentHour.frames - soft.handshakes.frames).toBeCloseTo(2 * (3_600 / 100), -1.5);
    }
  });

  test(`no agent that is there is ever given up, and none that is not stays listed: ${situation}`, () => {
    const { stateful, soft } = bothIn(situation);
    for (const { came, vanished, reaped, ghosts, listedMsMax } of [stateful, soft]) {
      expect({ reaped, ghosts }).toEqual({ reaped: 0, ghosts: 0 });
      expect(came - vanished).toBe(size.agents);
      const isChanging = situations[situation]?.stayMs !== undefined;
      expect(vanished > 0).toBe(isChanging);
      expect(listedMsMax > 0).toBe(isChanging);
    }
  });
}

test("one that is removed later than promised counts as a ghost, also when it is gone at the end", () => {
  const options = { model: "stateful", agents: 20, minutes: 30, seed: 7, stayMs: 60_000 } as const;
  const { vanished, listedMsMax } = runCrowd(options);
  // No gateway removes one that hangs as soon as this.
  const { ghosts } = runCrowd({ ...options, listedMsBound: 1_000 });
  expect(ghosts).toBeGreaterThan(vanished / 2);
  expect(runCrowd({ ...options, listedMsBound: listedMsMax }).ghosts).toBe(0);
  expect(runCrowd({ ...options, listedMsBound: listedMsMax - 1 }).ghosts).toBeGreaterThan(0);
});

test("the same seed gives the same count", () => {
  const small = { model: "soft", agents: 20, minutes: 10, seed: 7, stayMs: 60_000, trafficMs: 20_000 } as const;
  expect(runCrowd(small)).toEqual(runCrowd(small));
});
