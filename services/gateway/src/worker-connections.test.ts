import { openMetricsText } from "@causeway/core-base";
import { expect, test } from "vitest";
import { workerCounters, workerFamilies } from "./worker-connections.ts";

test("the connections of each worker are told, and nothing without workers", () => {
  expect(workerCounters([3, 0])).toEqual({
    causeway_gateway_worker_0_connections: 3,
    causeway_gateway_worker_1_connections: 0,
  });
  const text = openMetricsText(workerFamilies([3, 0]));
  expect(text).toContain("# TYPE causeway_worker_connections gauge\n");
  expect(text).toContain('causeway_worker_connections{worker="0"} 3\ncauseway_worker_connections{worker="1"} 0\n');
  for (const none of [undefined, []]) {
    expect(workerCounters(none)).toEqual({});
    expect(workerFamilies(none)).toEqual([]);
  }
});
