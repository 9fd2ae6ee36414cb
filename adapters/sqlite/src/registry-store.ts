/** `RegistryStore` on SQLite. */
import { type AgentId, asUnixMs, type RegistryStore, refuse, type StoredRegistration } from "@causeway/core-base";
import { Database, type Row } from "./database.ts";

const migrations: readonly string[] = [
  `
  CREATE TABLE registration (
    agent_id TEXT PRIMARY KEY, resource_id TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL, digest BLOB NOT NULL,
    record BLOB NOT NULL, registered_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deregistered_at INTEGER) STRICT;
  CREATE INDEX deregistered ON registration (deregistered_at) WHERE deregistered_at IS NOT NULL;
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, caller TEXT NOT NULL, action TEXT NOT NULL,
    outcome TEXT NOT NULL) STRICT;
  `,
];

/** How a registry's store is opened. */
export interface RegistryStoreOptions {
  /** File path, or ":memory:". */
  readonly path: string;
  /** Audit lines that are kept; the oldest go first. Default 1,000,000. */
  readonly auditMax?: number;
  /** Largest size in pages of 4 KiB. Default: SQLite's own limit. */
  readonly pagesMax?: number;
}

/** A registry's store that can be closed. */
export interface SqliteRegistryStore extends RegistryStore {
  /** The newest audit lines first. */
  auditLines(
    limit: number,
  ): readonly { readonly at: number; readonly caller: string; readonly action: string; readonly outcome: string }[];
  close(): void;
}

/** Opens or creates the store of one registry. Throws `CAUSEWAY_STORE_FAILED` for a file that is damaged or not one. */
export function openRegistryStore(options: RegistryStoreOptions): SqliteRegistryStore {
  const database = new Database({
    path: options.path,
    kind: "registry store",
    applicationId: 0x43575253,
    migrations,
    ...(options.pagesMax !== undefined && { pagesMax: options.pagesMax }),
  });
  const auditMax = BigInt(options.auditMax ?? 1_000_000);
  const put = database.prepare(
    "INSERT OR REPLACE INTO registration (agent_id, resource_id, revision, digest, record, registered_at, updated_at, deregistered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  const get = database.prepare("SELECT * FROM registration WHERE agent_id = ?");
  const page = database.prepare("SELECT * FROM registration WHERE agent_id > ? ORDER BY agent_id LIMIT 500");
  const prune = database.prepare("DELETE FROM registration WHERE deregistered_at < ?");
  const audit = database.prepare("INSERT INTO audit (at, caller, action, outcome) VALUES (?, ?, ?, ?)");
  const trim = database.prepare("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?");
  const auditLines = database.prepare("SELECT * FROM audit ORDER BY id DESC LIMIT ?");
  return {
    put(r) {
      put.run(
        r.agentId,
        r.resourceId,
        // SQLite integers are signed; the bits are kept.
        BigInt.asIntN(64, r.revision),
        r.digest,
        r.record,
        r.registeredAt,
        r.updatedAt,
        r.deregisteredAt ?? null,
      );
    },
    get(agentId) {
      const row = get.get(agentId);
      return row && registrationOf(row);
    },
    *all() {
      for (let after = ""; ; ) {
        const rows = page.all(after);
        if (rows.length === 0) return;
        for (const row of rows) yield registrationOf(row);
        after = text(rows.at(-1)?.["agent_id"]);
      }
    },
    prune: (before) => prune.run(before),
    audit(entry) {
      database.atomically(() => {
        audit.run(Math.trunc(entry.at), entry.caller, entry.action, entry.outcome);
        trim.run(auditMax);
      });
    },
    auditLines: (limit) =>
      auditLines.all(limit).map((row) => ({
        at: Number(row["at"]),
        caller: text(row["caller"]),
        action: text(row["action"]),
        outcome: text(row["outcome"]),
      })),
    close: () => database.close(),
  };
}

function registrationOf(row: Row): StoredRegistration {
  const { digest, record, revision, deregistered_at: deregisteredAt } = row;
  if (!(digest instanceof Uint8Array) || !(record instanceof Uint8Array) || typeof revision !== "bigint") {
    throw refuse("CAUSEWAY_STORE_FAILED", "a row of the registry store does not have its types; the file is damaged");
  }
  return {
    agentId: text(row["agent_id"]) as AgentId,
    resourceId: text(row["resource_id"]),
    revision: BigInt.asUintN(64, revision),
    digest,
    record,
    registeredAt: asUnixMs(Number(row["registered_at"])),
    updatedAt: asUnixMs(Number(row["updated_at"])),
    deregisteredAt:
      deregisteredAt === null || deregisteredAt === undefined ? undefined : asUnixMs(Number(deregisteredAt)),
  };
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  throw refuse("CAUSEWAY_STORE_FAILED", "a row of the registry store does not have its types; the file is damaged");
}
