/** What one policy has and another has not, for the operator who replaces it. Knows nothing of when that happens. */
import { type PolicyRule, ruleText } from "./policy.ts";

/** Rules in words, each in the order of its policy. */
export interface PolicyChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** The rules that both have are in another order. */
  readonly isReordered: boolean;
}

/** The way from one list of rules to another. */
export function policyChanges(before: readonly PolicyRule[], after: readonly PolicyRule[]): PolicyChanges {
  const [old, now] = [before.map(ruleText), after.map(ruleText)];
  const was = split(old, now);
  const is = split(now, old);
  return {
    added: is.own,
    removed: was.own,
    isReordered: was.shared.some((text, index) => text !== is.shared[index]),
  };
}

/** Texts of `list` by whether `other` has them too, as often as it has them. */
function split(
  list: readonly string[],
  other: readonly string[],
): { readonly shared: string[]; readonly own: string[] } {
  const left = new Map<string, number>();
  for (const text of other) left.set(text, (left.get(text) ?? 0) + 1);
  const shared: string[] = [];
  const own: string[] = [];
  for (const text of list) {
    const count = left.get(text) ?? 0;
    if (count > 0) left.set(text, count - 1);
    (count > 0 ? shared : own).push(text);
  }
  return { shared, own };
}
