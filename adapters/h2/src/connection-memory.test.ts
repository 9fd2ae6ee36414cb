import { getHeapStatistics } from "node:v8";
import { expect, test } from "vitest";
import { weighConnectionMemory } from "./index.ts";

test("the memory of connections is weighed where the heap and all of them have room below V8's ceiling", () => {
  const room = getHeapStatistics().heap_size_limit;
  expect(weighConnectionMemory(Math.ceil(room / 100_000))).toBe(false);
  expect(weighConnectionMemory(Math.floor(room / 200_000))).toBe(process.versions.v8.startsWith("13."));
});
