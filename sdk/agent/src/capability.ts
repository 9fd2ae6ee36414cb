/** `requestFor`: a question to whoever can answer it, not to a name (AAP-17). */
import { CausewayError, type ErrorCode, refuse } from "@causeway/core-base";
import type {
  Answer,
  Ask,
  CallOptions,
  Capability,
  CapabilityAnswer,
  DiscoverOptions,
  Discovery,
  Match,
} from "./api.ts";
import { timeoutOf } from "./exchange/limits.ts";

export interface CapabilityPorts {
  readonly request: (target: string, ask: Ask, options: CallOptions) => Promise<Answer>;
  readonly discover: (text: string, options: DiscoverOptions) => Promise<Discovery>;
  /** Milliseconds on a clock that only moves on. */
  readonly nowMs: () => number;
}

/**
 * Asks the best match, and the next one when the request certainly reached nobody. An outcome that is not known ends it:
 * a second agent must not do what the first may have done.
 */
export async function requestFor(
  ports: CapabilityPorts,
  capability: Capability,
  ask: Ask,
  options: CallOptions,
): Promise<CapabilityAnswer> {
  const { text = "", ...filters } = typeof capability === "string" ? { text: capability } : capability;
  if (text === "" && (filters.skills?.length ?? 0) === 0 && (filters.tags?.length ?? 0) === 0)
    throw refuse("CAUSEWAY_MISUSE", "expected plain words, a skill or a tag of what is needed, got none");
  const until = ports.nowMs() + timeoutOf(options);
  const { signal } = options;
  const found = await ports.discover(text, {
    statuses: ["online", "degraded"],
    ...filters,
    timeoutMs: timeoutOf(options),
    ...(signal && { signal }),
  });
  const passedOver: { match: Match; error: CausewayError }[] = [];
  for (const match of found.matches) {
    const timeoutMs = until - ports.nowMs();
    if (timeoutMs <= 0) break;
    try {
      const answer = await ports.request(match.agentId, ask, { ...options, timeoutMs });
      return { answer, chosen: match, passedOver };
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      if (!reachedNobody.has(error.code)) throw error;
      passedOver.push({ match, error });
    }
  }
  const tried = passedOver.map(({ match, error }) => `${match.agentId} (${error.code})`).join(", ");
  throw refuse(
    "CAUSEWAY_RECORD_NOT_FOUND",
    tried === ""
      ? `expected an agent for ${JSON.stringify(text || filters)}, found none; ${found.notes.join("; ") || "discover shows who is there"}`
      : `expected an agent for ${JSON.stringify(text || filters)} that can be reached, tried ${tried}`,
  );
}

/** After these nobody has taken the request. */
const reachedNobody: ReadonlySet<ErrorCode> = new Set([
  "CAUSEWAY_FORWARDING_NO_ROUTE",
  "CAUSEWAY_FORWARDING_NOT_ATTACHED",
  "CAUSEWAY_FORWARDING_NOT_ALLOWED",
  "CAUSEWAY_FORWARDING_PEER_LOST",
  "CAUSEWAY_E2EE_NO_KEY_PACKAGE",
  "CAUSEWAY_LIMIT_RATE",
]);
