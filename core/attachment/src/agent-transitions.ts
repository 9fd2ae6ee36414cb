/** The transition table of the agent's side (AAP-2, AAP-10). Every change of state goes through `nextAgentState`. */

export type AgentState =
  | "idle"
  | "discovering"
  | "choosing"
  | "proving"
  | "attached"
  | "refreshing"
  | "detaching"
  | "backoff"
  | "closed";

export type AgentInput =
  | "start"
  | "hints-complete"
  | "candidate-chosen"
  | "source-exhausted"
  | "no-candidate"
  | "lease-accepted"
  | "refresh-sent"
  | "refresh-acknowledged"
  | "link-lost"
  | "gateway-leaves"
  | "detach"
  | "ended"
  | "backoff-over";

/** State and input to next state. A pair that is missing is a defect, not a peer's fault. */
export const agentTransitions: Readonly<Record<AgentState, Partial<Readonly<Record<AgentInput, AgentState>>>>> = {
  idle: { start: "discovering", detach: "closed" },
  discovering: { "hints-complete": "choosing", detach: "closed" },
  choosing: {
    "candidate-chosen": "proving",
    "source-exhausted": "discovering",
    "no-candidate": "backoff",
    detach: "closed",
  },
  proving: { "lease-accepted": "attached", "link-lost": "choosing", detach: "detaching" },
  attached: {
    "refresh-sent": "refreshing",
    "link-lost": "choosing",
    "gateway-leaves": "choosing",
    detach: "detaching",
  },
  refreshing: {
    "refresh-sent": "refreshing",
    "refresh-acknowledged": "attached",
    "link-lost": "choosing",
    "gateway-leaves": "choosing",
    detach: "detaching",
  },
  detaching: { ended: "closed" },
  backoff: { "backoff-over": "discovering", detach: "closed" },
  closed: {},
};
