import { expect, test } from "vitest";
import { runMixed } from "./mixed-run/run.ts";

/** `npm run mixed` does the same with 1,000 agents for ten minutes. */
test("agents of two domains send, ask, stream and publish at once: each piece arrives once, before the next is produced, and no link is lost [AGP-1]", {
  timeout: 240_000,
}, async () => {
  const report = await runMixed({ agents: 30, forMs: 8_000, pauseMs: 100 });
  expect(report).toMatchObject({ attached: 30, lost: [], repeated: [], held: 0, linksLost: 0 });
  expect(report.failed).toEqual({});
  // 15 pairs, and three topics with nine subscribers each.
  const { message, request, stream, publication } = report.acknowledged;
  expect(Math.min(message, request, stream)).toBeGreaterThanOrEqual(2 * 15);
  expect(publication).toBeGreaterThanOrEqual(2 * 27);
  expect(report.memory.filter(({ isBounded }) => !isBounded)).toEqual([]);
});
