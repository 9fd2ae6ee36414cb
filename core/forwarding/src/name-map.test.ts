import fc from "fast-check";
import { expect, test } from "vitest";
import { asciiBytes, NameMap } from "./name-map.ts";

const segment = fc.constantFrom("a", "b", "ab", "c", "x1");
const name = fc.array(segment, { minLength: 1, maxLength: 5 }).map((s) => s.join("/"));
const longest = (keys: Iterable<string>, of: string): string | undefined =>
  [...keys].filter((k) => of === k || of.startsWith(`${k}/`)).sort((a, b) => b.length - a.length)[0];

test("equals a Map over random sets and deletes", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), name), { maxLength: 200 }), fc.integer(), (steps, seed) => {
      const map = new NameMap<number>(seed);
      const model = new Map<string, number>();
      steps.forEach(([isSet, key], i) => {
        if (isSet) {
          map.set(key, i);
          model.set(key, i);
        } else {
          expect(map.delete(key)).toBe(model.delete(key));
        }
      });
      expect(new Map(map.entries())).toEqual(model);
      expect([...map.values()].sort()).toEqual([...model.values()].sort());
      expect(map.size).toBe(model.size);
      for (const [, key] of steps) expect(map.getName(key)).toBe(model.get(key));
    }),
  );
});

test("the longest whole-segment prefix wins: a/b does not cover a/bc [AAP-76]", () => {
  const map = new NameMap<string>();
  map.set("a", "a");
  map.set("a/b", "a/b");
  const find = (text: string): string | undefined => map.longestPrefix(asciiBytes(text), 0, text.length);
  expect([find("a/b/c"), find("a/bc"), find("a/b"), find("ab"), find("b")]).toEqual([
    "a/b",
    "a",
    "a/b",
    undefined,
    undefined,
  ]);
  fc.assert(
    fc.property(fc.array(name, { maxLength: 30 }), name, (keys, wanted) => {
      const table = new NameMap<string>();
      for (const key of keys) table.set(key, key);
      const padded = asciiBytes(`--${wanted}--`);
      expect(table.longestPrefix(padded, 2, 2 + wanted.length)).toBe(longest(keys, wanted));
    }),
  );
});

const agentName = (i: number): string => `spiffe://blue.example/team/agent-${i}`;

test("in a table of 100,000 agents each is found, and no other [AAP-75]", () => {
  const map = new NameMap<number>();
  for (let i = 0; i < 100_000; i++) map.set(agentName(i), i);
  for (let i = 0; i < 200_000; i++) {
    if (map.getName(agentName(i)) !== (i < 100_000 ? i : undefined)) expect.unreachable(agentName(i));
  }
});

test("a hit compares the whole name: one of two names with the same hash is not the other", () => {
  const map = new NameMap<string>();
  const seen = new Map<number, string>();
  let pairs = 0;
  for (let i = 0; i < 200_000; i++) {
    // Scattered names: numbers in a row hardly ever share a hash.
    const name = `spiffe://blue.example/${(Math.imul(i, 0x9e3779b1) >>> 0).toString(36)}/${Math.imul(i, 0x85ebca6b) >>> 0}`;
    const hash = map.hash(asciiBytes(name), 0, name.length);
    const other = seen.get(hash);
    seen.set(hash, name);
    if (other === undefined) continue;
    pairs++;
    map.set(other, other);
    expect([map.getName(other), map.getName(name)]).toEqual([other, undefined]);
    map.set(name, name);
    expect([map.getName(other), map.getName(name)]).toEqual([other, name]);
  }
  expect(pairs).toBeGreaterThan(0);
});
