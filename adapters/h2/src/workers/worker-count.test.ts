import { expect, test } from "vitest";
import { autoWorkers } from "./worker-count.ts";

test.each([
  [1, 0],
  [2, 0],
  [3, 2],
  [4, 3],
  [5, 4],
  [64, 4],
])("%i cores: %i workers", (cores, workers) => {
  expect(autoWorkers({ cores, platform: "linux" })).toBe(workers);
});

test("no workers where a shared port is not spread", () => {
  expect(autoWorkers({ cores: 8, platform: "darwin" })).toBe(0);
});
