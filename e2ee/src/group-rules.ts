/**
 * The rules of this network on top of RFC 9420. A commit may only replace a credential by one of the same SPIFFE ID;
 * names of members are unique; in a pair nobody is added or removed; in a topic group only the owner adds, and nobody
 * removes the owner; no external commits, pre-shared keys or changed extensions.
 */
import { type AgentId, refuse } from "@causeway/core-base";
import type { CredentialJudge } from "./credentials.ts";
import type { GroupFacts } from "./group-facts.ts";
import type { Names } from "./group-parts.ts";
import type { ClientState, Proposal } from "./library.ts";

/** Why a commit with these proposals may not be accepted; undefined when it may. */
export function objectionTo(
  proposals: readonly Proposal[],
  committer: number | undefined,
  facts: GroupFacts,
  names: Names,
): string | undefined {
  if (committer === undefined) return "external commits are not accepted";
  const byOwner = names.get(committer) === facts.owner;
  for (const proposal of proposals) {
    if (proposal.proposalType === "add") {
      if (facts.kind === "pair") return "nobody can be added to a pair";
      if (!byOwner) return "only the owner may add members";
    } else if (proposal.proposalType === "remove" && "remove" in proposal) {
      if (facts.kind === "pair") return "nobody can be removed from a pair";
      if (names.get(proposal.remove.removed) === facts.owner) return "the owner cannot be removed";
    } else {
      return `proposals of type ${proposal.proposalType} are not used`;
    }
  }
  return undefined;
}

/** Names of all leaves after a change; verifies the credentials of those that are new. */
export function verifiedNames(
  state: ClientState,
  before: ClientState | undefined,
  known: Names,
  judge: CredentialJudge,
): Names {
  const names = new Map<number, AgentId>();
  const seen = new Set<AgentId>();
  for (const [nodeIndex, node] of state.ratchetTree.entries()) {
    if (node?.nodeType !== "leaf") continue;
    const leafIndex = nodeIndex / 2;
    const old = before?.ratchetTree[nodeIndex];
    const unchanged = old !== undefined && old === node ? known.get(leafIndex) : undefined;
    const name = unchanged ?? judge.nameOf(node.leaf);
    if (
      unchanged === undefined &&
      node.leaf.leafNodeSource !== "key_package" &&
      old !== undefined &&
      known.get(leafIndex) !== name
    ) {
      throw refuse("CAUSEWAY_IDENTITY_MISMATCH", `${known.get(leafIndex)} tried to become ${name} in the group`);
    }
    if (seen.has(name)) throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", `${name} is in the group twice`);
    seen.add(name);
    names.set(leafIndex, name);
  }
  return names;
}
