/** The forwarding policy of a gateway, which a reload replaces while it runs (AAP-7). */
import type { Domain, Log } from "@causeway/core-base";
import { ForwardingPolicy, type PolicyChanges, type PolicyRule, policyChanges } from "@causeway/core-forwarding";

/** Holds the one policy that is in force. Whoever asks it to decide reads it anew each time. */
export class LivePolicy {
  readonly #domain: Domain;
  readonly #log: Log;
  #current: ForwardingPolicy;

  /** Throws CAUSEWAY_CONFIG_INVALID for a rule that is none. */
  constructor(rules: readonly PolicyRule[], domain: Domain, log: Log) {
    this.#domain = domain;
    this.#log = log;
    this.#current = new ForwardingPolicy(rules, domain);
  }

  get current(): ForwardingPolicy {
    return this.#current;
  }

  /** Checks rules, throws like the constructor, and changes nothing. The result puts them in force; `by` is who asked. */
  prepare(rules: readonly PolicyRule[]): (by: string) => PolicyChanges {
    const next = new ForwardingPolicy(rules, this.#domain);
    return (by) => {
      const changes = policyChanges(this.#current.rules, next.rules);
      const { added, removed, isReordered } = changes;
      if (added.length === 0 && removed.length === 0 && !isReordered) return changes;
      this.#current = next;
      for (const rule of removed) this.#log.info("policy.rule_removed", { rule, by });
      for (const rule of added) this.#log.info("policy.rule_added", { rule, by });
      this.#log.info("policy.changed", { rules: rules.length, isReordered, by });
      return changes;
    };
  }
}
