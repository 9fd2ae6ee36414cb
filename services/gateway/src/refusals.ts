/** Why the data path sends a message no further, for its source. */
import type { AgentId, ErrorFacts, GatewayUri } from "@causeway/core-base";
import { Lane } from "@causeway/core-wire";
import type { LinkEntry } from "./links.ts";

export const peerLost = (peer: GatewayUri): ErrorFacts => ({
  code: "CAUSEWAY_FORWARDING_PEER_LOST",
  message: `the link to ${peer}, which leads to the target, is down; retry later`,
});

/** The target takes no more for now, by its own word (ANA-49). */
export const targetBusy = (agentId: AgentId, retryAfterMs: number): ErrorFacts => ({
  code: "CAUSEWAY_LIMIT_RATE",
  message: `${agentId} takes no more messages for now; send again in ${retryAfterMs} ms`,
  retryAfterMs,
  details: { limit: "targetMessagesPerSecond" },
});

export const overloaded = (out: LinkEntry, lane: Lane): ErrorFacts => ({
  code: "CAUSEWAY_FORWARDING_OVERLOADED",
  message: `the queue${lane === Lane.bulk ? " for bulk" : ""} to ${out.name} is full; slow down and retry`,
  details: { limit: lane === Lane.bulk ? "linkBulkBytesMax" : "linkBufferedBytesMax" },
  retryAfterMs: 1_000,
});

export const notAllowed = (agentId: AgentId): ErrorFacts => ({
  code: "CAUSEWAY_FORWARDING_NOT_ALLOWED",
  message: `${agentId} does not take messages from this domain`,
});

export const controlToTopic: ErrorFacts = {
  code: "CAUSEWAY_UNSUPPORTED",
  message: "control frames have an agent as target, got a topic",
};

export const storedNotReliable: ErrorFacts = {
  code: "CAUSEWAY_HEADER_INVALID",
  message: "expected delivery mode reliable and an agent as target with a flag that asks for storing",
};

export const goingOut: ErrorFacts = {
  code: "CAUSEWAY_GATEWAY_DRAINING",
  message: "the message waited for its target in memory, and this gateway goes out of service; send it again",
};

export const justLeft = (agentId: AgentId): ErrorFacts => ({
  code: "CAUSEWAY_FORWARDING_NOT_ATTACHED",
  message: `${agentId} has just left`,
});
