/**
 * What a group is for: kind, name and owner, in a private extension of the group context. Every member agrees on it
 * because the context enters the key schedule, and no gateway sees it because the context is never sent in clear.
 */
import { type AgentId, parseAgentId, refuse } from "@causeway/core-base";
import type { ClientState, Extension } from "./library.ts";

/** Extension type of the private range (RFC 9420 section 17.3). */
export const factsExtensionType = 0xf0ca;

/** What a pair is used for: all but bulk, or bulk. Others cannot be made, so that nobody fills this agent with groups. */
export type PairPurpose = "" | "bulk";
const pairPurposes: ReadonlySet<string> = new Set<PairPurpose>(["", "bulk"]);

export interface GroupFacts {
  readonly kind: "pair" | "topic";
  /** Of a pair: what it is used for, empty for most. At most 512 bytes. */
  readonly name: string;
  /** The creator, whose serving gateway orders the commits. */
  readonly owner: AgentId;
}

export function factsExtension(facts: GroupFacts): Extension {
  const text = JSON.stringify({ v: 1, kind: facts.kind, name: facts.name, owner: facts.owner });
  return { extensionType: factsExtensionType, extensionData: new Uint8Array(Buffer.from(text)) };
}

/** Reads the facts of a group. Throws `CAUSEWAY_E2EE_DECRYPT_FAILED` when the group is none of ours. */
export function factsOf(state: ClientState): GroupFacts {
  const extensions = state.groupContext.extensions;
  const [only] = extensions;
  if (extensions.length !== 1 || only?.extensionType !== factsExtensionType)
    throw notOurs("its context has other extensions than ours");
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(only.extensionData).toString("utf8"));
  } catch (cause) {
    throw notOurs("its facts are not JSON", cause);
  }
  if (
    typeof value !== "object" ||
    value === null ||
    !("v" in value) ||
    !("kind" in value) ||
    !("name" in value) ||
    !("owner" in value)
  ) {
    throw notOurs("its facts are incomplete");
  }
  const { v, kind, name, owner } = value;
  if (
    v !== 1 ||
    (kind !== "pair" && kind !== "topic") ||
    typeof name !== "string" ||
    name.length > nameLengthMax ||
    (kind === "pair" && !pairPurposes.has(name)) ||
    typeof owner !== "string"
  ) {
    throw notOurs("its facts are malformed");
  }
  return { kind, name, owner: parseAgentId(owner) };
}

function notOurs(why: string, cause?: unknown): Error {
  return refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", `the group is not one of this network: ${why}`, { cause });
}

const nameLengthMax = 512;
