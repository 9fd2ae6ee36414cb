/** A registry store that forgets: for tests, and the one that the contract suite compares with SQLite. */
import type { AgentId, RegistryStore, StoredRegistration } from "@causeway/core-base";

/** Makes an empty store in memory. */
export function createMemoryRegistryStore(): RegistryStore {
  const registrations = new Map<AgentId, StoredRegistration>();
  return {
    put: (registration) => void registrations.set(registration.agentId, registration),
    get: (agentId) => registrations.get(agentId),
    all: () => registrations.values(),
    prune(before) {
      const gone = [...registrations.values()].filter(
        (r) => r.deregisteredAt !== undefined && r.deregisteredAt < before,
      );
      for (const { agentId } of gone) registrations.delete(agentId);
      return gone.length;
    },
    audit: () => undefined,
  };
}
