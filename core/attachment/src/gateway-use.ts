/**
 * Whether messages inside a domain go through gateways (ANA-96): what the agent wants and what its domain's operator
 * prescribes become one rule, and the rule says for each message which way it takes. Messages to other domains go
 * through the gateway whatever anybody wants (ANA-95).
 */
import { aap } from "@causeway/core-wire";

/** `always`: through gateways only. `prefer`: directly while there is no gateway. `never`: directly only. */
export type GatewayUse = "always" | "prefer" | "never";

/** What agent and operator agree on; `none` when one forbids the one way and the other the other. */
export type AgreedUse = GatewayUse | "none";

/** What each side permits has to be permitted by the other: the stricter wins. */
export function agreedUse(own: GatewayUse, prescribed: GatewayUse): AgreedUse {
  if (own === "prefer") return prescribed;
  return prescribed === "prefer" || prescribed === own ? own : "none";
}

/** What is known when a message is about to leave. */
export interface WayFacts {
  readonly use: AgreedUse;
  /** The target is one agent of the own domain: not a topic, not of another domain. */
  readonly isInside: boolean;
  readonly isGatewayUp: boolean;
  /** A direct link is open to the target, or it is known where it takes one. */
  readonly isDirectKnown: boolean;
  /** The target has said over an open direct link that it cannot be reached through its gateway. */
  readonly isPeerWithoutGateway: boolean;
}

/** Where a message goes: a way, or why there is none. */
export type Way = "gateway" | "direct" | "no direct way" | "forbidden";

/** The way of one message. */
export function wayOf({ use, isInside, isGatewayUp, isDirectKnown, isPeerWithoutGateway }: WayFacts): Way {
  if (!isInside || use === "always") return "gateway";
  if (use === "none") return "forbidden";
  if (use === "never") return isDirectKnown ? "direct" : "no direct way";
  return isDirectKnown && (!isGatewayUp || isPeerWithoutGateway) ? "direct" : "gateway";
}

/** As it stands in a lease. */
export function encodeGatewayUse(use: GatewayUse): aap.GatewayUse {
  return toWire[use];
}

/** What a lease says: an older gateway, and one that says what this version does not know, leave it to the agent. */
export function decodeGatewayUse(use: aap.GatewayUse): GatewayUse {
  if (use === aap.GatewayUse.ALWAYS) return "always";
  return use === aap.GatewayUse.NEVER ? "never" : "prefer";
}

const toWire: Readonly<Record<GatewayUse, aap.GatewayUse>> = {
  always: aap.GatewayUse.ALWAYS,
  prefer: aap.GatewayUse.PREFER,
  never: aap.GatewayUse.NEVER,
};
