import { parseAgentId } from "@causeway/core-base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PatternIndex } from "./subscriptions.ts";
import { isTopicOf, matchesTopic, parseTopic, parseTopicPattern } from "./topic-name.ts";

const invalid = expect.objectContaining({ code: "CAUSEWAY_NAME_INVALID", status: "INVALID_ARGUMENT" });

describe("one grammar for topics [AGP-20]", () => {
  test.each(["blue.example/a", "blue.example/travel/booker/deals", "b/A_1.x-y/z"])("accepted: %s", (text) => {
    expect(parseTopic(text)).toBe(text);
    expect(parseTopicPattern(text)).toBe(text);
  });

  test.each(["blue.example/*", "blue.example/travel/*", "blue.example/travel/booker/deals/*"])(
    "a pattern only: %s",
    (text) => {
      expect(parseTopicPattern(text)).toBe(text);
      expect(() => parseTopic(text)).toThrow(invalid);
    },
  );

  test.each([
    "",
    "*",
    "/*",
    "blue.example",
    "blue.example/",
    "/blue.example/a",
    "Blue.example/a",
    "blue.example//a",
    "blue.example/a/",
    "blue.example/./a",
    "blue.example/a/..",
    "blue.example/a b",
    "blue.example/ä",
    "blue.example/*/a",
    "blue.example/a*",
    "spiffe://blue.example/a",
    `blue.example/${"a".repeat(500)}`,
    `blue.example/${"a".repeat(498)}/*`,
  ])("refused: %j", (text) => {
    expect(() => parseTopic(text)).toThrow(invalid);
    expect(() => parseTopicPattern(text)).toThrow(invalid);
  });

  test("a topic lies below its owner's Agent ID", () => {
    const owner = parseAgentId("blue.example/travel/booker");
    expect(isTopicOf(owner, parseTopic("blue.example/travel/booker/deals"))).toBe(true);
    expect(isTopicOf(owner, parseTopic("blue.example/travel/booker"))).toBe(false);
    expect(isTopicOf(owner, parseTopic("blue.example/travel/booker2/deals"))).toBe(false);
    expect(isTopicOf(owner, parseTopic("green.example/travel/booker/deals"))).toBe(false);
  });
});

test("'*' stands for one or more segments", () => {
  const of = (pattern: string, topic: string): boolean => matchesTopic(parseTopicPattern(pattern), parseTopic(topic));
  expect([
    of("b.e/x/*", "b.e/x/y"),
    of("b.e/x/*", "b.e/x/y/z"),
    of("b.e/x/*", "b.e/x"),
    of("b.e/x/*", "b.e/xy"),
    of("b.e/*", "b.e/x"),
    of("b.e/x", "b.e/x"),
  ]).toEqual([true, true, false, false, true, true]);
});

test("the index finds what matching each pattern finds", () => {
  const segment = fc.constantFrom("a", "b", "ab");
  const topics = fc.array(segment, { minLength: 1, maxLength: 4 }).map((s) => parseTopic(`b.e/${s.join("/")}`));
  const patterns = fc
    .oneof(
      topics,
      fc.array(segment, { maxLength: 3 }).map((s) => ["b.e", ...s, "*"].join("/")),
    )
    .map(parseTopicPattern);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), patterns, fc.nat(3)), { maxLength: 40 }), topics, (steps, topic) => {
      const index = new PatternIndex<number>();
      const model = new Map<string, Set<number>>();
      for (const [isAdd, pattern, subscriber] of steps) {
        const held = model.get(pattern) ?? new Set();
        expect(isAdd ? index.add(pattern, subscriber) : index.delete(pattern, subscriber)).toBe(
          isAdd ? !held.has(subscriber) : held.has(subscriber),
        );
        if (isAdd) held.add(subscriber);
        else held.delete(subscriber);
        model.set(pattern, held);
      }
      const found = new Set<number>();
      index.collect(topic, found);
      const expected = [...model].filter(([p]) => matchesTopic(p as never, topic)).flatMap(([, s]) => [...s]);
      expect([...found].sort()).toEqual([...new Set(expected)].sort());
      expect(index.patterns()).toEqual(
        [...model]
          .filter(([, s]) => s.size > 0)
          .map(([p]) => p)
          .sort(),
      );
    }),
  );
});
