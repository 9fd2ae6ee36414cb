/**
 * One SQLite file: opened with the settings that make a commit durable, brought to the current schema, and every error
 * turned into one of the table. Stores of this package are prepared statements over it.
 */
import { statSync } from "node:fs";
import * as sqlite from "node:sqlite";
import { CausewayError, refuse } from "@causeway/core-base";

/** What a column holds and a parameter takes. */
export type Value = null | number | bigint | string | Uint8Array;
/** One result row. */
export type Row = Readonly<Record<string, Value>>;

/** How a file is opened. */
export interface DatabaseOptions {
  /** File path, or ":memory:". */
  readonly path: string;
  /** What the file is, for messages: "gateway store". */
  readonly kind: string;
  /** Written into a new file and checked in an existing one, so that one store is never opened as another. */
  readonly applicationId: number;
  /** SQL that brings version n to n + 1; the version is `PRAGMA user_version`. Entries are added, never changed. */
  readonly migrations: readonly string[];
  /** Largest size in pages of 4 KiB; beyond it writes fail with CAUSEWAY_STORE_FULL. Default: SQLite's own limit. */
  readonly pagesMax?: number;
}

/** Files up to this size are checked page by page at opening; larger ones only as they are read. */
const checkedBytesMax = 268_435_456;

/** One prepared statement. Integers are read as bigint. */
export class Statement {
  readonly #raw: sqlite.StatementSync;
  readonly #name: string;

  constructor(raw: sqlite.StatementSync, name: string) {
    this.#raw = raw;
    this.#name = name;
    raw.setReadBigInts(true);
  }

  /** Runs it; returns the number of changed rows. */
  run(...values: readonly Value[]): number {
    return guard(this.#name, () => Number(this.#raw.run(...(values as Value[])).changes));
  }

  get(...values: readonly Value[]): Row | undefined {
    return guard(this.#name, () => this.#raw.get(...(values as Value[])) as Row | undefined);
  }

  all(...values: readonly Value[]): readonly Row[] {
    return guard(this.#name, () => this.#raw.all(...(values as Value[])) as Row[]);
  }
}

/** An open file. */
export class Database {
  readonly #raw: sqlite.DatabaseSync;
  readonly #name: string;
  #depth = 0;

  constructor(options: DatabaseOptions) {
    this.#name = `${options.kind} ${options.path}`;
    this.#raw = openRaw(options, this.#name);
  }

  prepare(sql: string): Statement {
    return new Statement(
      guard(this.#name, () => this.#raw.prepare(sql)),
      this.#name,
    );
  }

  /** Runs `work` as one transaction. A call inside another joins it. */
  atomically<T>(work: () => T): T {
    if (this.#depth > 0) return work();
    guard(this.#name, () => this.#raw.exec("BEGIN IMMEDIATE"));
    this.#depth++;
    try {
      const result = work();
      guard(this.#name, () => this.#raw.exec("COMMIT"));
      return result;
    } catch (error) {
      // A full disk may have ended the transaction already; then there is nothing to roll back.
      if (this.#raw.isTransaction) this.#raw.exec("ROLLBACK");
      throw error;
    } finally {
      this.#depth--;
    }
  }

  close(): void {
    if (this.#raw.isOpen) this.#raw.close();
  }
}

function openRaw(options: DatabaseOptions, name: string): sqlite.DatabaseSync {
  // Newer Node versions call the class Database.
  const names = sqlite as unknown as Readonly<Record<string, typeof sqlite.DatabaseSync | undefined>>;
  const Constructor = names["DatabaseSync"] ?? names["Database"];
  if (Constructor === undefined)
    throw refuse("CAUSEWAY_STORE_FAILED", "this version of Node has no SQLite; use Node 24 or later");
  const raw = guard(name, () => new Constructor(options.path));
  try {
    guard(name, () => prepareFile(raw, options, name));
  } catch (error) {
    raw.close();
    throw error;
  }
  return raw;
}

function prepareFile(raw: sqlite.DatabaseSync, options: DatabaseOptions, name: string): void {
  // FULL: a commit is on the disk when it returns, also in WAL mode.
  raw.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000",
  );
  if (options.pagesMax !== undefined) raw.exec(`PRAGMA max_page_count = ${options.pagesMax}`);
  const version = pragma(raw, "user_version");
  const applicationId = pragma(raw, "application_id");
  if (version > 0 && applicationId !== options.applicationId) {
    throw refuse(
      "CAUSEWAY_STORE_FAILED",
      `${name} belongs to something else (application id ${applicationId}, expected ${options.applicationId})`,
    );
  }
  if (version > options.migrations.length) {
    throw refuse(
      "CAUSEWAY_STORE_FAILED",
      `${name} has schema version ${version}; this program knows up to ${options.migrations.length}. Use the newer program`,
    );
  }
  if (version > 0) checkPages(raw, options.path, name);
  for (const [index, sql] of options.migrations.entries()) {
    if (index < version) continue;
    raw.exec("BEGIN IMMEDIATE");
    try {
      raw.exec(sql);
      raw.exec(`PRAGMA user_version = ${index + 1}; PRAGMA application_id = ${options.applicationId}`);
      raw.exec("COMMIT");
    } catch (error) {
      if (raw.isTransaction) raw.exec("ROLLBACK");
      throw error;
    }
  }
}

function checkPages(raw: sqlite.DatabaseSync, path: string, name: string): void {
  if (path !== ":memory:" && statSync(path).size > checkedBytesMax) return;
  const first = raw.prepare("PRAGMA quick_check(1)").get();
  const verdict = first?.["quick_check"];
  if (verdict !== "ok") throw damaged(name, String(verdict));
}

function pragma(raw: sqlite.DatabaseSync, key: string): number {
  return Number(raw.prepare(`PRAGMA ${key}`).get()?.[key] ?? 0);
}

const resultFull = 13;
const resultCorrupt = 11;
const resultNotADatabase = 26;
const resultIoError = 10;

/** Runs one SQLite call and names its failure. */
function guard<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw named(error, name);
  }
}

function named(error: unknown, name: string): unknown {
  if (error instanceof CausewayError || !(error instanceof Error)) return error;
  const code = "errcode" in error && typeof error.errcode === "number" ? error.errcode : 0;
  const primary = code & 0xff;
  if (primary === resultFull) {
    return refuse("CAUSEWAY_STORE_FULL", `${name} has no space left; nothing was stored. Free space and retry`, {
      cause: error,
    });
  }
  if (primary === resultCorrupt || primary === resultNotADatabase) return damaged(name, error.message, error);
  const detail = primary === resultIoError ? "the disk reported an error" : error.message;
  return refuse("CAUSEWAY_STORE_FAILED", `${name} cannot be used: ${detail}`, { cause: error });
}

function damaged(name: string, detail: string, cause?: unknown): CausewayError {
  return refuse(
    "CAUSEWAY_STORE_FAILED",
    `${name} is damaged (${detail.slice(0, 200)}). Restore it from a copy, or move it away to start with an empty one`,
    { cause },
  );
}
