import { expect, test } from "vitest";
import { Flow } from "./flow.ts";

test("a piece that is acknowledged and does not arrive is lost, one that comes twice is repeated, one that comes late was held", () => {
  const flow = new Flow("message", "pair 0");
  const pass = (n: number): void => {
    flow.arrive(n);
    flow.acknowledge(n);
  };
  pass(flow.produce());
  flow.acknowledge(flow.produce());
  pass(flow.produce());
  flow.arrive(2);
  const unacknowledged = flow.produce();
  flow.produce();
  flow.arrive(unacknowledged);
  expect(flow.outcome).toEqual({
    acknowledged: 3,
    lost: ["message 1 of pair 0"],
    repeated: ["message 2 of pair 0"],
    held: 1,
  });
});
