/** What is to be done with one message. Verdicts are shared, frozen objects: forwarding allocates none. */
import type { AgentId, ErrorCode, GatewayUri } from "@causeway/core-base";
import type { LinkId } from "@causeway/core-wire";
import type { RouteReason } from "./route.ts";

/** The policy rule that decided. */
export interface DecidingRule {
  readonly name: string;
  /** Its place in the policy, from 1. */
  readonly number: number;
  /** In words. */
  readonly text: string;
}

/** The outcome of `forward`. */
export type Verdict =
  /** Hand to the attachment on `link` of this gateway. The TTL stays as it is. */
  | {
      readonly action: "deliver";
      readonly link: LinkId;
      readonly agentId: AgentId;
      readonly instance: string;
      readonly reason: RouteReason;
    }
  /** Send to the neighbour, after `decrementTtl`. */
  | { readonly action: "relay"; readonly peer: GatewayUri; readonly reason: RouteReason }
  /** This gateway serves the target, which is stale or not attached now: keep it, or answer with `code`. */
  | { readonly action: "hold"; readonly agentId: AgentId; readonly code: ErrorCode; readonly reason: RouteReason }
  /** Nobody here knows the agent: keep it and ask for the way (AAP-79). */
  | { readonly action: "resolve"; readonly reason: RouteReason }
  /** A topic: ask `Topics.fanOut`. */
  | { readonly action: "topic"; readonly reason: RouteReason }
  /** Refuse. `rule` is there if a policy rule decided. */
  | {
      readonly action: "drop";
      readonly code: ErrorCode;
      readonly reason: RouteReason;
      readonly text: string;
      readonly rule?: DecidingRule;
    };
