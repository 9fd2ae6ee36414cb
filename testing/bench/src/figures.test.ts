import { expect, test } from "vitest";
import { judge } from "./figures.ts";

const figure = (system: string, name: string, ...values: number[]) =>
  values.map((value, round) => ({ system, name, round, value }));

test("a target is judged by the ratio of medians, and left out while a side is missing", () => {
  const verdicts = judge([
    ...figure("causeway", "relay 100 cpu", 9, 1.2, 1),
    ...figure("nats", "relay 100 cpu", 1, 0.1, 7),
    ...figure("causeway", "relay 1024 cpu", 1),
    ...figure("causeway", "idle rss KB", 60, 90),
  ]);
  expect(verdicts.map(({ measure, value, outcome }) => [measure, value, outcome])).toEqual([
    ["gateway CPU for a best-effort message, 100 B", 1.2, "must"],
    ["KB of memory for an idle agent", 75, "must"],
  ]);
});

test("more is better where it is", () => {
  const at = (rate: number) =>
    judge([...figure("causeway", "relay 100 rate", rate), ...figure("nats", "relay 100 rate", 100)])[0]?.outcome;
  expect([at(60), at(70), at(111)]).toEqual(["missed", "must", "aim"]);
});
