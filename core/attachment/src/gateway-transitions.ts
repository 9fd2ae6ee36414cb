/**
 * The transition table of the gateway's side, for each link (section 9 of the requirements). `attached` cannot be
 * reached but through `challenged`, `verified` and `registered`, whatever bootstrap brought the agent (AAP-54).
 */

export type GatewayState =
  | "offered"
  | "challenged"
  | "verified"
  | "registered"
  | "attached"
  | "stale"
  | "ending"
  | "removed";

export type GatewayInput =
  | "hello-accepted"
  | "proof-verified"
  | "context-created"
  | "lease-sent"
  | "heartbeat"
  | "heartbeats-missed"
  | "session-end"
  | "expired"
  | "refused"
  | "link-lost";

/** State and input to next state. A pair that is missing is a defect, not a peer's fault. */
export const gatewayTransitions: Readonly<Record<GatewayState, Partial<Readonly<Record<GatewayInput, GatewayState>>>>> =
  {
    offered: { "hello-accepted": "challenged", refused: "removed", expired: "removed", "link-lost": "removed" },
    challenged: { "proof-verified": "verified", refused: "removed", expired: "removed", "link-lost": "removed" },
    verified: { "context-created": "registered", refused: "removed" },
    registered: { "lease-sent": "attached" },
    attached: {
      heartbeat: "attached",
      "heartbeats-missed": "stale",
      "link-lost": "stale",
      "session-end": "ending",
      refused: "ending",
      expired: "ending",
    },
    stale: {
      heartbeat: "attached",
      "link-lost": "stale",
      "session-end": "ending",
      refused: "ending",
      expired: "ending",
    },
    ending: { "link-lost": "removed", expired: "removed" },
    removed: {},
  };
