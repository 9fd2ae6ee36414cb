import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FileStateStore } from "./file-store.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-state-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Descriptors that this process has open, where the system tells. */
const openFiles = (): number => (existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0);

test("durable writes of more keys than are kept open, all at once, are all made", async () => {
  const store = new FileStateStore(directory);
  const keys = Array.from({ length: 300 }, (_, i) => `groups/${i}`);
  const before = openFiles();
  for (let round = 0; round < 6; round++) {
    // Longer and longer, so that files are also replaced while they are being synced.
    const value = (i: number): Uint8Array => new Uint8Array(40 + 100 * round).fill((i + round) & 255);
    const writes = keys.flatMap((key, i) => [
      store.put(key, value(i), { durable: true }),
      store.put(key, value(i), { durable: true }),
    ]);
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.filter(({ status }) => status === "rejected")).toEqual([]);
    for (const [i, key] of keys.entries()) expect(await store.get(key)).toEqual(value(i));
  }
  // At most 64 stay open, and nothing leaks.
  expect(openFiles() - before).toBeLessThan(80);
});
