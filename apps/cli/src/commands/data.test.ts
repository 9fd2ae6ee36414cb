import { describe, expect, test } from "vitest";
import { dataOf, messageIdOf, numberOf, wordOf } from "./data.ts";

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

describe("words of options", () => {
  test("one of the words", () => {
    expect(wordOf("bulk", "--priority", ["interactive", "bulk"])).toBe("bulk");
  });

  test.each(["", "Bulk", "bulky"])("%j is refused with what was expected", (text) => {
    expect(() => wordOf(text, "--priority", ["interactive", "bulk"])).toThrow(
      `expected --priority interactive or bulk, got ${JSON.stringify(text)}`,
    );
    expect(() => wordOf(text, "--ack", ["accepted", "stored", "delivered"])).toThrow(
      `expected --ack accepted, stored or delivered, got ${JSON.stringify(text)}`,
    );
  });
});

describe("message ids", () => {
  test.each(["0191a2b3c4d57e8f9a0b1c2d3e4f5061", "0191A2B3-C4D5-7E8F-9A0B-1C2D3E4F5061"])("%s is one", (text) => {
    expect(Buffer.from(messageIdOf(text) ?? []).toString("hex")).toBe("0191a2b3c4d57e8f9a0b1c2d3e4f5061");
  });

  test.each(["0191a2b3", "blue.example/a/b", "", "0191a2b3c4d57e8f9a0b1c2d3e4f506g"])("%j is none", (text) => {
    expect(messageIdOf(text)).toBeUndefined();
  });
});
