import fc from "fast-check";
import { expect, test } from "vitest";
import { type PolicyRule, ruleText } from "./policy.ts";
import { policyChanges } from "./policy-changes.ts";

const rule = fc.record(
  {
    name: fc.constantFrom("a", "b"),
    effect: fc.constantFrom("permit" as const, "deny" as const),
    source: fc.constantFrom("red.example", "green.example"),
    direction: fc.constantFrom("inbound" as const, "transit" as const),
  },
  { requiredKeys: ["name", "effect"] },
);
const rules = fc.array(rule, { maxLength: 8 });
const sorted = (list: readonly string[]): readonly string[] => [...list].sort();

test("what was removed and added, taken from and put to the rules before, makes those after", () => {
  fc.assert(
    fc.property(rules, rules, (before, after) => {
      const { added, removed } = policyChanges(before, after);
      const rest = before.map(ruleText);
      for (const text of removed) rest.splice(rest.indexOf(text), 1);
      expect(sorted([...rest, ...added])).toEqual(sorted(after.map(ruleText)));
      expect(added.filter((text) => removed.includes(text))).toEqual([]);
    }),
  );
});

test("nothing is said of equal policies, and something of all others", () => {
  fc.assert(
    fc.property(rules, fc.oneof(rules, fc.constant(undefined)), (before, other) => {
      const after = other ?? before.map((each) => ({ ...each }));
      const { added, removed, isReordered } = policyChanges(before, after);
      const isSame = JSON.stringify(before.map(ruleText)) === JSON.stringify(after.map(ruleText));
      expect(added.length === 0 && removed.length === 0 && !isReordered).toBe(isSame);
    }),
  );
});

test("another order is told of rules that stay, whatever comes and goes beside them", () => {
  const [a, b, c] = ["a", "b", "c"].map((name): PolicyRule => ({ name, effect: "deny" })) as [
    PolicyRule,
    PolicyRule,
    PolicyRule,
  ];
  expect(policyChanges([a, b], [b, c, a])).toEqual({
    added: ["c: deny from everybody to everything"],
    removed: [],
    isReordered: true,
  });
  expect(policyChanges([a, b, c], [c])).toMatchObject({ added: [], isReordered: false });
});
