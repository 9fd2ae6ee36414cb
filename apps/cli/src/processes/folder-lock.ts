/** One process at a time for a folder of state: two would overwrite each other's keys and records. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { refuse } from "@causeway/core-base";

const sqliteBusy = 5;

/**
 * Takes `directory`, which is made when it is missing, until it is disposed of or the process has ended, however it
 * ends. Throws `CAUSEWAY_STORE_IN_USE` while another process has it.
 */
export function holdFolder(directory: string): Disposable {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Node has no file locks of its own; an open transaction of an empty database is one on every platform.
  const database = new DatabaseSync(join(directory, "in-use.lock"), { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
  } catch (thrown) {
    database.close();
    if (!(thrown instanceof Error && "errcode" in thrown && thrown.errcode === sqliteBusy)) throw thrown;
    throw refuse(
      "CAUSEWAY_STORE_IN_USE",
      `expected ${directory} to be free, got one that a running process uses; stop that process, or choose another folder`,
      { details: { directory } },
    );
  }
  return {
    [Symbol.dispose]: () => {
      if (database.isOpen) database.close();
    },
  };
}
