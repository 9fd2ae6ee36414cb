/** What every RegistryStore does; run against each implementation. */
import { type AgentId, asUnixMs, type RegistryStore, type StoredRegistration } from "@causeway/core-base";
import { describe, expect, test } from "vitest";

export function registryStoreContract(name: string, open: () => RegistryStore): void {
  const registration = (id: string, more: Partial<StoredRegistration> = {}): StoredRegistration => ({
    agentId: `spiffe://blue.example/a/${id}` as AgentId,
    resourceId: `rid-${id}`,
    revision: 2n ** 60n,
    digest: new Uint8Array(32).fill(7),
    record: new Uint8Array([0, 1, 255]),
    registeredAt: asUnixMs(1_000),
    updatedAt: asUnixMs(2_000),
    deregisteredAt: undefined,
    ...more,
  });

  describe(name, () => {
    test("reads back what was put, and replaces by agent", () => {
      const store = open();
      const first = registration("one");
      store.put(first);
      expect(store.get(first.agentId)).toEqual(first);
      const second = { ...first, revision: first.revision + 1n, deregisteredAt: asUnixMs(3_000) };
      store.put(second);
      expect(store.get(first.agentId)).toEqual(second);
      expect([...store.all()]).toEqual([second]);
      expect(store.get("spiffe://blue.example/a/none" as AgentId)).toBeUndefined();
    });

    test("keeps revisions of 64 bits", () => {
      const store = open();
      const largest = registration("largest", { revision: 2n ** 64n - 1n });
      store.put(largest);
      expect(store.get(largest.agentId)).toEqual(largest);
    });

    test("lists every registration once, across pages", () => {
      const store = open();
      for (let i = 0; i < 1_203; i += 1) store.put(registration(`n${i}`));
      expect(new Set([...store.all()].map((r) => r.agentId)).size).toBe(1_203);
    });

    test("prunes only what was deregistered before the given time", () => {
      const store = open();
      store.put(registration("live"));
      store.put(registration("old", { deregisteredAt: asUnixMs(10) }));
      store.put(registration("recent", { deregisteredAt: asUnixMs(30) }));
      expect(store.prune(asUnixMs(20))).toBe(1);
      expect([...store.all()].map((r) => r.resourceId).sort()).toEqual(["rid-live", "rid-recent"]);
    });
  });
}
