import { expect, test } from "vitest";
import { runCrashes } from "./mailbox-crash/run.ts";

/** `npm run crash -- --kills 300` does the same some hundred times. */
const kills = 8;

test("a gateway is killed at random instants: all that was acknowledged as stored arrives once or is a dead letter [AGP-58]", {
  timeout: 240_000,
}, async () => {
  const report = await runCrashes({ kills, flows: 8, random: Math.random });
  expect(report.stored).toBeGreaterThanOrEqual(kills);
  expect(report).toMatchObject({ lost: [], repeated: [] });
  expect(report.arrived + report.dead).toBe(report.stored);
});
