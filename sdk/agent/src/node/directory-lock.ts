/** One process at a time for a directory: two that advance the same keys would destroy each other's sessions. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CausewayError, refuse } from "@causeway/core-base";

/**
 * Takes the lock of a directory, which is made when it is missing. The operating system ends the lock with the process,
 * however that ends, so there is nothing stale to clear. Throws `CAUSEWAY_STORE_IN_USE`. Releasing twice does nothing.
 */
export async function lockDirectory(directory: string): Promise<{ release(): void }> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // Node has no file locks of its own; an open transaction of an empty database is one on every platform.
  const database = new DatabaseSync(join(directory, "in-use.lock"), { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
  } catch (thrown) {
    database.close();
    if (!isBusy(thrown)) throw CausewayError.from(thrown);
    throw refuse(
      "CAUSEWAY_STORE_IN_USE",
      `expected ${directory} to be free, got one that an agent uses already, in this process or another; close that agent or give this one a dataDir of its own`,
      { details: { directory } },
    );
  }
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}

const sqliteBusy = 5;

function isBusy(thrown: unknown): boolean {
  return thrown instanceof Error && "errcode" in thrown && thrown.errcode === sqliteBusy;
}
