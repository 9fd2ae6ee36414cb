import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asUnixMs, type GatewayStore, parseAgentId, parseGatewayUri, type StoredRecord } from "@causeway/core-base";
import { gatewayStoreContract } from "@causeway/testing-contracts";
import { afterAll, describe, expect, test } from "vitest";
import { openGatewayStore } from "./gateway-store.ts";

const directory = mkdtempSync(join(tmpdir(), "causeway-store-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let files = 0;
const newPath = (): string => join(directory, `store-${files++}.db`);

const paths = new WeakMap<GatewayStore, string>();
function openAt(path: string, newEpoch: bigint): GatewayStore {
  const store = openGatewayStore({ path, newEpoch });
  paths.set(store, path);
  return store;
}

gatewayStoreContract("sqlite", {
  create: (epoch) => openAt(newPath(), epoch),
  reopen(store) {
    const path = paths.get(store);
    if (path === undefined) throw new Error("not a store of this test");
    // No close: a killed process does not close either.
    return openAt(path, 999n);
  },
});

const record = (sequence: bigint, bytes: number): StoredRecord => ({
  agentId: parseAgentId(`blue.example/many/a${sequence}`),
  origin: parseGatewayUri("https://gw1.blue.example/amsp"),
  epoch: 1n,
  sequence,
  withdrawn: false,
  statement: new Uint8Array(64),
  record: new Uint8Array(bytes),
  storedAt: asUnixMs(1),
});

const thrownBy = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("sqlite gateway store", () => {
  test("a full disk is reported, nothing is half written, and the store goes on", () => {
    const path = newPath();
    const store = openGatewayStore({ path, newEpoch: 1n, pagesMax: 60 });
    store.putRecord(record(1n, 100));
    const before = store.ownVersion();
    const error = thrownBy(() =>
      store.atomically(() => {
        store.putOwnVersion({ epoch: 1n, sequence: 5n });
        for (let index = 2n; index < 100n; index++) store.putRecord(record(index, 8_000));
      }),
    );
    expect(error).toMatchObject({ code: "CAUSEWAY_STORE_FULL", retryable: true });
    expect(store.ownVersion()).toEqual(before);
    expect([...store.records()]).toHaveLength(1);
    store.putRecord(record(2n, 100));
    expect(store.recordCount()).toBe(2);
    store.close();
    expect(openGatewayStore({ path }).recordCount()).toBe(2);
  });

  test("a file that is no store is refused with what to do, and left alone", () => {
    const path = newPath();
    writeFileSync(path, "This is not a database, but somebody's notes. ".repeat(100));
    expect(thrownBy(() => openGatewayStore({ path }))).toMatchObject({
      code: "CAUSEWAY_STORE_FAILED",
      message: expect.stringContaining("move it away"),
    });
  });

  test("a damaged store is refused instead of served", () => {
    const path = newPath();
    const store = openGatewayStore({ path, newEpoch: 1n });
    store.atomically(() => {
      for (let index = 1n; index < 200n; index++) store.putRecord(record(index, 2_000));
    });
    store.close();
    writeFileSync(path, new Uint8Array(16_384).fill(0xa5), { flag: "r+" });
    expect(thrownBy(() => openGatewayStore({ path }))).toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
  });

  test("a store of a newer program is refused", () => {
    const path = newPath();
    openGatewayStore({ path }).close();
    const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
    const raw = new DatabaseSync(path);
    raw.exec("PRAGMA user_version = 99");
    raw.close();
    expect(thrownBy(() => openGatewayStore({ path }))).toMatchObject({
      code: "CAUSEWAY_STORE_FAILED",
      message: expect.stringContaining("newer program"),
    });
  });
});
