import { expect, test } from "vitest";
import { asInstant, boundLog, type Log, type LogValue } from "./index.ts";

type Line = readonly [string, Readonly<Record<string, LogValue>> | undefined];

function recorder(): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = [];
  const keep = (...[event, fields]: Parameters<Log["warn"]>): void => void lines.push([event, fields]);
  return { log: { debug: keep, info: keep, warn: keep, error: keep }, lines };
}

test("passes a burst, then so many lines a second, and tells how many it left out", () => {
  let now = 0;
  const { log, lines } = recorder();
  const bounded = boundLog(log, () => asInstant(now), 2);
  for (let i = 0; i < 25; i++) bounded.warn("noise", { i });
  expect(lines).toHaveLength(10);
  now = 500;
  bounded.error("noise", { i: 25 });
  bounded.info("noise");
  expect(lines.slice(10)).toEqual([["noise", { i: 25, leftOut: 15 }]]);
  now = 60_000;
  for (let i = 0; i < 25; i++) bounded.info("noise");
  expect(lines).toHaveLength(21);
  expect(lines[11]).toEqual(["noise", { leftOut: 1 }]);
  bounded.debug("detail");
  expect(lines).toHaveLength(22);
});
