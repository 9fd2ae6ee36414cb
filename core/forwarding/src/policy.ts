/**
 * Forwarding policy (AAP-7): ordered rules that permit or deny by source, target, domain and direction. The first match
 * decides; without a match the message passes. Rules see the routing header only (AAP-31).
 */
import { type Domain, refuse } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";
import { asciiBytes } from "./name-map.ts";
import { reasonTexts } from "./reasons.ts";
import type { Verdict } from "./verdict.ts";

/** Direction of a message as this gateway sees it. */
export type Direction = "inbound" | "outbound" | "internal" | "transit";

/** One rule. An absent condition matches everything. */
export interface PolicyRule {
  /** Shown in drops and in the audit record. */
  readonly name: string;
  readonly effect: "permit" | "deny";
  /** Prefix of whole segments of the source, for example `red.example` or `spiffe://blue.example/travel`. */
  readonly source?: string;
  /** Prefix of whole segments of the target or topic. */
  readonly target?: string;
  /** inbound: from another domain to ours; outbound: from ours to another; internal: ours to ours; transit: neither. */
  readonly direction?: Direction;
}

/** Compiled rules. Replace the object to change the policy: nothing else has to restart, and no decision outlives it. */
export class ForwardingPolicy {
  /** As they were given. */
  readonly rules: readonly PolicyRule[];
  readonly #rules: readonly CompiledRule[];
  readonly #ownDomain: Uint8Array;

  /** Throws `CAUSEWAY_CONFIG_INVALID` for a rule without a name or with an empty condition. At most 10,000 rules. */
  constructor(rules: readonly PolicyRule[], ownDomain: Domain) {
    if (rules.length > rulesMax)
      throw refuse("CAUSEWAY_CONFIG_INVALID", `expected at most ${rulesMax} policy rules, got ${rules.length}`);
    this.rules = [...rules];
    this.#rules = rules.map(compile);
    this.#ownDomain = asciiBytes(ownDomain);
  }

  /** The drop that a rule orders, or undefined to go on. */
  check(scan: FrameScan): Verdict | undefined {
    if (this.#rules.length === 0) return undefined;
    const direction = this.#directionOf(scan);
    for (const rule of this.#rules) {
      if (rule.direction !== undefined && rule.direction !== direction) continue;
      if (rule.source !== undefined && !covers(rule.source, scan.buf, scan.sourceStart, scan.sourceEnd)) continue;
      if (rule.target !== undefined && !covers(rule.target, scan.buf, scan.targetStart, scan.targetEnd)) continue;
      return rule.verdict;
    }
    return undefined;
  }

  #directionOf(scan: FrameScan): Direction {
    const fromUs = covers(this.#ownDomain, scan.buf, scan.sourceStart, scan.sourceEnd);
    const toUs = covers(this.#ownDomain, scan.buf, scan.targetStart, scan.targetEnd);
    if (fromUs) return toUs ? "internal" : "outbound";
    return toUs ? "inbound" : "transit";
  }
}

interface CompiledRule {
  readonly direction: Direction | undefined;
  readonly source: Uint8Array | undefined;
  readonly target: Uint8Array | undefined;
  readonly verdict: Verdict | undefined;
}

/** One rule in words, with nothing but what the configuration says of it. */
export function ruleText({ name, effect, source, target, direction }: PolicyRule): string {
  const who = source === undefined ? "from everybody" : `from ${source}`;
  const whom = target === undefined ? "to everything" : `to ${target}`;
  return `${name}: ${effect} ${who} ${whom}${direction === undefined ? "" : `, ${direction}`}`;
}

/** True when the prefix, given without scheme, covers the name in the range by whole segments. */
export function covers(prefix: Uint8Array, buf: Uint8Array, start: number, end: number): boolean {
  // Only a SPIFFE ID has a colon; its scheme is nine bytes long.
  const from = buf[start + 6] === 0x3a ? start + 9 : start;
  if (end - from < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (buf[from + i] !== prefix[i]) return false;
  return from + prefix.length === end || buf[from + prefix.length] === 0x2f;
}

function compile(rule: PolicyRule, index: number): CompiledRule {
  if (rule.name === "")
    throw refuse("CAUSEWAY_CONFIG_INVALID", "expected a name for every policy rule, got an empty one");
  const verdict: Verdict | undefined =
    rule.effect === "permit"
      ? undefined
      : Object.freeze({
          action: "drop",
          code: "CAUSEWAY_FORWARDING_NOT_ALLOWED",
          reason: "policy-rule",
          text: `${reasonTexts["policy-rule"]} (${rule.name})`,
          rule: Object.freeze({ name: rule.name, number: index + 1, text: ruleText(rule) }),
        });
  return { direction: rule.direction, source: condition(rule, "source"), target: condition(rule, "target"), verdict };
}

function condition(rule: PolicyRule, key: "source" | "target"): Uint8Array | undefined {
  const text = rule[key];
  if (text === undefined) return undefined;
  const bare = text.replace(/^spiffe:\/\//, "").replace(/\/$/, "");
  if (!/^[a-z0-9._-]+(\/[A-Za-z0-9._@-]+)*$/.test(bare)) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a domain or a prefix of whole segments as ${key} of rule ${rule.name}, got ${JSON.stringify(text)}`,
    );
  }
  return asciiBytes(bare);
}

const rulesMax = 10_000;
