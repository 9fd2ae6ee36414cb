import { describe, expect, test } from "vitest";
import { dataOf, numberOf } from "./data.ts";

describe("content on the command line", () => {
  test.each([
    ["Lisbon", "Lisbon"],
    ['{"city":"Lisbon"}', { city: "Lisbon" }],
    ["[1, 2]", [1, 2]],
    ["{not JSON}", "{not JSON}"],
    ["42", "42"],
    ["", ""],
  ])("%j is %j", (text, data) => {
    expect(dataOf(text)).toEqual(data);
  });
});

describe("numbers of options", () => {
  test("within the range", () => {
    expect(numberOf("10", "--limit", 1, 100)).toBe(10);
  });

  test.each(["ten", "0", "101", "1.5", "", " ", "-1", "1e9"])("%j is refused with what was expected", (text) => {
    expect(() => numberOf(text, "--limit", 1, 100)).toThrow(
      `expected a whole number from 1 to 100 for --limit, got ${JSON.stringify(text)}`,
    );
  });
});
