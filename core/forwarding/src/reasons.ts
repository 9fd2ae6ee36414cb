/** Every reason of a forwarding decision in words, for drops, traces and `explain`. */
import type { RouteReason } from "./route.ts";

export const reasonTexts = {
  "local-attachment": "the target is attached here",
  "named-instance": "the named instance is attached here",
  "sticky-instance": "this source used the same instance before",
  "least-loaded-instance": "of the instances attached here this one serves the fewest sources",
  "only-candidate": "only one way is known",
  "applicable-first": "the neighbours of the other ways are lost",
  "online-first": "the agent is in a better state there than elsewhere",
  "newest-attachment": "the agent attached there most recently",
  "local-first": "the agent is served here, all else being equal",
  "shortest-path": "fewer gateways are on the way",
  "lowest-origin": "all else is equal and the origin's URI is the lowest",
  "better-way-leads-back": "the better way leads back to where the message came from",
  "longest-prefix": "the longest prefix route that covers the target",
  "return-path": "the way back to a sender that is not advertised, for those it wrote to",
  "default-uplink": "nothing more exact is known here; the Level-2 gateway decides",
  "asked-for": "nothing is known of the target here; the neighbours are asked, and the message waits for the answer",
  topic: "a topic: subscribers and interested neighbours get a copy",
  "attachment-stale": "the target missed its heartbeats; messages wait",
  "not-attached": "the target is known and not attached now; retry later",
  "peer-lost": "the gateway that leads to the target is not connected now; retry later",
  "no-entry": "no gateway on the way knows the target; check the name, or discover it first",
  "only-way-is-back":
    "the only known way leads back to where the message came from; the target may be moving, retry later",
  "unknown-way-is-back": "the target is not known here, and its only way leads back to where the message came from",
  "ttl-exhausted": "the message passed as many gateways as its hop TTL allows; a loop, or a TTL that is too small",
  expired: "the message's expiry time has passed",
  "source-not-attached": "the source is not the Agent ID of the attachment that sent it",
  "source-of-own-domain-from-outside": "the source belongs to this domain, yet the message came from another one",
  "policy-rule": "a rule of this gateway's policy denies it",
} as const satisfies Record<RouteReason, string>;
