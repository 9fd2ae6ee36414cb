/**
 * Forwarding policy (AAP-7): ordered rules that permit or deny by source, target, domain and direction. The first match
 * decides; without a match the message passes. Rules see the routing header only (AAP-31).
 */

/** Direction of a message as this gateway sees it. */
export type Direction = "inbound" | "outbound" | "internal" | "transit";

/** One rule. An absent condition matches everything. */
export interface PolicyRule {
  /** Shown in drops and in the audit record. */
  readonly name: string;
  readonly effect: "permit" | "deny";
  /** Prefix of whole segments of the source, for example `spiffe://red.example` or `blue.example/travel`. */
  readonly source?: string;
  /** Prefix of whole segments of the target (topics: without scheme). */
  readonly target?: string;
  /** inbound: from another domain to ours; outbound: from ours to another; internal: ours to ours; transit: neither. */
  readonly direction?: Direction;
}
