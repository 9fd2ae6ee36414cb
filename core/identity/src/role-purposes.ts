/**
 * What each role may be certified for, and which role a name stands for. The authority issues by this table, enrolment
 * asks by it, and the end-to-end layer believes by it: who forwards, finds or certifies has no part in the security
 * contexts of applications (AAP-80, AAP-98), so only agents have MLS leaves.
 */
import type { AgentId } from "@causeway/core-base";
import type { Purpose, Role } from "./ports.ts";

/** The purposes of each role. Every role has connections. */
export const purposesOf: Readonly<Record<Role, readonly Purpose[]>> = {
  agent: ["tls", "mls", "record"],
  gateway: ["tls", "record"],
  registry: ["tls", "record"],
  authority: ["tls"],
  operator: ["tls"],
  monitor: ["tls"],
};

/** The roles that may be certified for a purpose. */
export function rolesFor(purpose: Purpose): readonly Role[] {
  return (Object.keys(purposesOf) as Role[]).filter((role) => purposesOf[role].includes(purpose));
}

/** The role that a name is reserved for by its first segment (`gateway/…`, `registry`), or agent. */
export function roleOfName(spiffeId: AgentId): Role {
  const first = spiffeId.split("/")[3];
  return reservedRoles.find((role) => role === first) ?? "agent";
}

const reservedRoles = ["gateway", "registry", "authority", "operator", "monitor"] as const satisfies readonly Role[];
