import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AgentId, asUnixMs } from "@causeway/core-base";
import { expect, test } from "vitest";
import { registryStoreContract } from "../../../testing/contracts/src/registry-store.ts";
import { openRegistryStore } from "./registry-store.ts";

registryStoreContract("SQLite registry store", () => openRegistryStore({ path: ":memory:" }));

const registration = (id: string) => ({
  agentId: `spiffe://blue.example/a/${id}` as AgentId,
  resourceId: id,
  revision: 1n,
  digest: new Uint8Array(32),
  record: new Uint8Array(8_192),
  registeredAt: asUnixMs(1),
  updatedAt: asUnixMs(1),
  deregisteredAt: undefined,
});

test("a registration survives closing and opening the file [ANA-17]", () => {
  const path = join(mkdtempSync(join(tmpdir(), "causeway-registry-")), "registry.db");
  const first = openRegistryStore({ path });
  first.put(registration("one"));
  first.audit({ at: asUnixMs(5), caller: "spiffe://blue.example/a/one", action: "register", outcome: "revision 1" });
  first.close();
  const second = openRegistryStore({ path });
  expect([...second.all()]).toEqual([registration("one")]);
  expect(second.auditLines(10)).toEqual([
    { at: 5, caller: "spiffe://blue.example/a/one", action: "register", outcome: "revision 1" },
  ]);
  second.close();
});

test("a full disk refuses with its code and keeps what was there", () => {
  const store = openRegistryStore({ path: ":memory:", pagesMax: 40 });
  let refused: unknown;
  let stored = 0;
  try {
    for (; stored < 100; stored += 1) store.put(registration(`n${stored}`));
  } catch (thrown) {
    refused = thrown;
  }
  expect(refused).toMatchObject({ code: "CAUSEWAY_STORE_FULL" });
  expect([...store.all()]).toHaveLength(stored);
});

test("the audit log is bounded", () => {
  const store = openRegistryStore({ path: ":memory:", auditMax: 3 });
  for (let i = 0; i < 10; i += 1) store.audit({ at: asUnixMs(i), caller: "c", action: "a", outcome: String(i) });
  expect(store.auditLines(100).map((line) => line.outcome)).toEqual(["9", "8", "7"]);
});
