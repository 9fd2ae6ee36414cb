import { expect, test } from "vitest";
import { watchProcess } from "./index.ts";

test("reads processor time that does not shrink, and memory", () => {
  const read = watchProcess();
  const before = read();
  const after = read();
  expect(after.cpuSeconds).toBeGreaterThanOrEqual(before.cpuSeconds);
  expect(before.cpuSeconds).toBeGreaterThan(0);
  expect(after.residentBytes).toBeGreaterThan(1_000_000);
  expect(after.heapBytes).toBeGreaterThan(1_000_000);
  expect(after.loopDelaySeconds).toBeGreaterThanOrEqual(0);
});
