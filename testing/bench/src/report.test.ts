import { expect, test } from "vitest";
import { quantile, type Sample } from "./measure.ts";
import { readOptions } from "./options.ts";
import { ratiosOf, renderTable, summarise } from "./report.ts";

const sample = (system: string, round: number, rate: number, more: Partial<Sample> = {}): Sample => ({
  system,
  round,
  size: 100,
  messagesPerSecond: rate,
  gatewayCpuPerMillion: 2_000_000 / rate,
  lost: 0,
  roundTripP50Micros: 300,
  roundTripP99Micros: 900,
  roundTrips: 1_000,
  ...more,
});

test("a row is the median of the rounds with its range", () => {
  const rows = summarise([sample("causeway", 1, 300), sample("causeway", 2, 100), sample("causeway", 3, 200)]);
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({
    system: "causeway",
    rounds: 3,
    messagesPerSecond: { median: 200, min: 100, max: 300 },
  });
  expect(summarise([sample("nats", 1, 100), sample("nats", 2, 200)])[0]?.messagesPerSecond.median).toBe(150);
});

test("a ratio is ours divided by the peer's, size by size", () => {
  const rows = summarise([
    sample("causeway", 1, 300),
    sample("nats", 1, 150),
    sample("causeway", 1, 10, { size: 16_384 }),
    sample("slim", 1, 40, { size: 16_384, gatewayCpuPerMillion: undefined }),
  ]);
  expect(
    ratiosOf(rows, "causeway").map(({ peer, size, messagesPerSecond, gatewayCpuPerMillion }) => ({
      peer,
      size,
      messagesPerSecond,
      gatewayCpuPerMillion,
    })),
  ).toEqual([
    { peer: "nats", size: 100, messagesPerSecond: 2, gatewayCpuPerMillion: 0.5 },
    { peer: "slim", size: 16_384, messagesPerSecond: 0.25, gatewayCpuPerMillion: undefined },
  ]);
  expect(ratiosOf(rows, "absent")).toEqual([]);
});

test("the table names every system and ratio, and a dash where nothing was measured", () => {
  const rows = summarise([sample("causeway", 1, 300), sample("slim", 1, 150, { gatewayCpuPerMillion: undefined })]);
  const table = renderTable(rows, ratiosOf(rows, "causeway"));
  expect(table).toContain("causeway / slim");
  expect(table.split("\n").find((line) => line.includes("slim"))).toMatch(/ - /);
});

test("a quantile is a value that was measured", () => {
  const values = Array.from({ length: 100 }, (_, i) => i);
  expect([quantile(values, 0.5), quantile(values, 0.99), quantile([7], 0.99)]).toEqual([50, 99, 7]);
  expect(quantile([], 0.5)).toBeNaN();
});

test("options are checked and have defaults", () => {
  expect(readOptions([])).toMatchObject({
    systems: ["causeway", "nats", "slim"],
    sizes: [100, 1_024, 16_384],
    rounds: 5,
  });
  expect(readOptions(["--quick", "--sizes", "64,128"])).toMatchObject({ rounds: 1, sizes: [64, 128] });
  expect(readOptions(["--quick", "--rounds", "2"])).toMatchObject({ rounds: 2 });
  expect(readOptions(["--help"])).toBe("help");
  for (const args of [["--rounds", "0"], ["--sizes", "x"], ["--systems", "rabbit"], ["--nothing"]])
    expect(() => readOptions(args)).toThrow();
});
