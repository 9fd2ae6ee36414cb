/**
 * `GatewayStore` on SQLite. Statements that change with every status are in a narrow table apart from record bodies,
 * so that presence never rewrites a body.
 */
import type {
  AgentId,
  CommitOutcome,
  DeliverySizes,
  GatewayStore,
  GatewayUri,
  OwnVersion,
  StoredRecord,
  StoredTopic,
  StoredVector,
  TakenKeyPackage,
  UnixMs,
} from "@causeway/core-base";
import { asUnixMs, refuse } from "@causeway/core-base";
import { Database, type Row, type Statement, type Value } from "./database.ts";

const migrations: readonly string[] = [
  `
  CREATE TABLE own (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT;
  CREATE TABLE statement (
    agent_id TEXT NOT NULL, origin TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL, statement BLOB NOT NULL, stored_at INTEGER NOT NULL,
    PRIMARY KEY (agent_id, origin)) STRICT;
  CREATE INDEX tombstone ON statement (stored_at) WHERE withdrawn = 1;
  CREATE TABLE body (
    agent_id TEXT NOT NULL, origin TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (agent_id, origin)) STRICT;
  CREATE TABLE vector (origin TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE key_package (id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT NOT NULL, package BLOB NOT NULL) STRICT;
  CREATE INDEX key_package_agent ON key_package (agent_id, id);
  CREATE TABLE last_resort (agent_id TEXT PRIMARY KEY, package BLOB NOT NULL) STRICT;
  CREATE TABLE mls_group (
    group_id BLOB PRIMARY KEY, first_epoch INTEGER NOT NULL, next_epoch INTEGER NOT NULL, updated_at INTEGER NOT NULL) STRICT;
  CREATE INDEX mls_group_updated ON mls_group (updated_at);
  CREATE TABLE mls_commit (
    group_id BLOB NOT NULL REFERENCES mls_group ON DELETE CASCADE, epoch INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (group_id, epoch)) STRICT;
  CREATE TABLE topic (topic TEXT PRIMARY KEY, owner TEXT NOT NULL, policy BLOB NOT NULL, created_at INTEGER NOT NULL) STRICT;
  `,
  "CREATE TABLE away (agent_id TEXT PRIMARY KEY, away_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID",
];

/** How a gateway's store is opened. */
export interface GatewayStoreOptions {
  /** File path, or ":memory:". */
  readonly path: string;
  /** Epoch for a new file; has to be greater than that of any lost one. Default: the Unix time in milliseconds. */
  readonly newEpoch?: bigint;
  /** Largest size in pages of 4 KiB. Default: SQLite's own limit. */
  readonly pagesMax?: number;
}

/** Opens or creates the store of one gateway. Throws `CAUSEWAY_STORE_FAILED` for a file that is damaged or not one. */
export function openGatewayStore(options: GatewayStoreOptions): GatewayStore {
  const database = new Database({
    path: options.path,
    kind: "gateway store",
    applicationId: 0x43574757,
    migrations,
    ...(options.pagesMax !== undefined && { pagesMax: options.pagesMax }),
  });
  try {
    return new SqliteGatewayStore(database, options.newEpoch ?? BigInt(Date.now()));
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Rows read at once while walking all records. */
const pageRows = 256;

class SqliteGatewayStore implements GatewayStore {
  readonly #database: Database;
  readonly #sql: Statements;

  constructor(database: Database, newEpoch: bigint) {
    this.#database = database;
    this.#sql = prepareAll(database);
    this.#sql.createOwn.run(int64(newEpoch));
  }

  atomically<T>(work: () => T): T {
    return this.#database.atomically(work);
  }

  putRecord(record: StoredRecord): void {
    const { agentId, origin } = record;
    this.atomically(() => {
      this.#sql.putStatement.run(
        agentId,
        origin,
        int64(record.epoch),
        int64(record.sequence),
        record.withdrawn ? 1 : 0,
        record.statement,
        record.storedAt,
      );
      if (record.record === undefined) this.#sql.deleteBody.run(agentId, origin);
      else this.#sql.putBody.run(agentId, origin, record.record);
    });
  }

  deleteRecord(agentId: AgentId, origin: GatewayUri): void {
    this.atomically(() => {
      this.#sql.deleteStatement.run(agentId, origin);
      this.#sql.deleteBody.run(agentId, origin);
    });
  }

  recordsOf(agentId: AgentId): readonly StoredRecord[] {
    return this.#sql.recordsOf.all(agentId).map(toRecord);
  }

  *records(): IterableIterator<StoredRecord> {
    let last = { agentId: "", origin: "" };
    for (;;) {
      const rows = this.#sql.recordsAfter.all(last.agentId, last.agentId, last.origin, pageRows).map(toRecord);
      yield* rows;
      const tail = rows.at(-1);
      if (tail === undefined || rows.length < pageRows) return;
      last = tail;
    }
  }

  recordCount(): number {
    return integer(this.#sql.recordCount.get());
  }

  pruneTombstones(before: UnixMs): number {
    return this.#sql.pruneTombstones.run(before);
  }

  putVector(vector: StoredVector): void {
    this.#sql.putVector.run(vector.origin, int64(vector.epoch), int64(vector.sequence));
  }

  deleteVector(origin: GatewayUri): void {
    this.#sql.deleteVector.run(origin);
  }

  vectors(): readonly StoredVector[] {
    return this.#sql.vectors.all().map((row) => ({
      origin: text(row, "origin") as GatewayUri,
      epoch: uint64(row, "epoch"),
      sequence: uint64(row, "sequence"),
    }));
  }

  ownVersion(): OwnVersion {
    return toOwnVersion(this.#sql.ownVersion.get());
  }

  putOwnVersion(version: OwnVersion): void {
    this.atomically(() => {
      const held = this.ownVersion();
      if (version.epoch < held.epoch || (version.epoch === held.epoch && version.sequence < held.sequence)) {
        throw refuse(
          "CAUSEWAY_MISUSE",
          `expected a version from ${held.epoch}.${held.sequence} on, got ${version.epoch}.${version.sequence}`,
        );
      }
      this.#sql.putOwn.run(int64(version.epoch), int64(version.sequence));
    });
  }

  addKeyPackages(
    agentId: AgentId,
    packages: readonly Uint8Array[],
    lastResort: Uint8Array | undefined,
    unusedMax: number,
  ): number {
    return this.atomically(() => {
      for (const each of packages) this.#sql.addKeyPackage.run(agentId, each);
      if (lastResort !== undefined) this.#sql.putLastResort.run(agentId, lastResort);
      this.#sql.trimKeyPackages.run(agentId, agentId, unusedMax);
      return this.keyPackageCount(agentId);
    });
  }

  takeKeyPackage(agentId: AgentId): TakenKeyPackage | undefined {
    const unused = this.#sql.takeKeyPackage.get(agentId);
    if (unused !== undefined) return { keyPackage: bytes(unused, "package"), lastResort: false };
    const last = this.#sql.lastResort.get(agentId);
    return last && { keyPackage: bytes(last, "package"), lastResort: true };
  }

  keyPackageCount(agentId: AgentId): number {
    return integer(this.#sql.keyPackageCount.get(agentId));
  }

  dropKeyPackages(agentId: AgentId): void {
    this.atomically(() => {
      this.#sql.dropKeyPackages.run(agentId);
      this.#sql.dropLastResort.run(agentId);
    });
  }

  submitCommit(groupId: Uint8Array, epoch: bigint, commit: Uint8Array, at: UnixMs, commitsMax: number): CommitOutcome {
    return this.atomically(() => {
      const head = this.#sql.group.get(groupId);
      const nextEpoch = head === undefined ? epoch : uint64(head, "next_epoch");
      if (epoch !== nextEpoch) {
        const held = this.#sql.commit.get(groupId, int64(epoch));
        const winner = held && bytes(held, "content");
        if (winner !== undefined && equal(winner, commit)) return { accepted: true };
        return { accepted: false, winner, nextEpoch };
      }
      const first = head === undefined ? epoch : uint64(head, "first_epoch");
      const kept = epoch + 1n - first > BigInt(commitsMax) ? epoch + 1n - BigInt(commitsMax) : first;
      this.#sql.putGroup.run(groupId, int64(kept), int64(epoch + 1n), at);
      this.#sql.putCommit.run(groupId, int64(epoch), commit);
      if (kept > first) this.#sql.dropCommits.run(groupId, int64(kept));
      return { accepted: true };
    });
  }

  commits(groupId: Uint8Array, fromEpoch: bigint, limit: number): readonly Uint8Array[] | undefined {
    const head = this.#sql.group.get(groupId);
    if (head === undefined) return [];
    if (fromEpoch < uint64(head, "first_epoch")) return undefined;
    return this.#sql.commitsFrom.all(groupId, int64(fromEpoch), limit).map((row) => bytes(row, "content"));
  }

  pruneGroups(before: UnixMs): number {
    return this.#sql.pruneGroups.run(before);
  }

  deliverySizes(): DeliverySizes {
    return {
      keyPackages: integer(this.#sql.keyPackagesAll.get()),
      groups: integer(this.#sql.groupsAll.get()),
      commits: integer(this.#sql.commitsAll.get()),
    };
  }

  setAway(agentId: AgentId, awayMs: number): void {
    if (awayMs === 0) this.#sql.deleteAway.run(agentId);
    else this.#sql.putAway.run(agentId, awayMs);
  }

  awayMs(agentId: AgentId): number {
    return integer(this.#sql.awayMs.get(agentId));
  }

  putTopic(topic: StoredTopic): void {
    this.#sql.putTopic.run(topic.topic, topic.owner, topic.policy, topic.createdAt);
  }

  deleteTopic(topic: string): void {
    this.#sql.deleteTopic.run(topic);
  }

  topics(): readonly StoredTopic[] {
    return this.#sql.topics.all().map((row) => ({
      topic: text(row, "topic"),
      owner: text(row, "owner") as AgentId,
      policy: bytes(row, "policy"),
      createdAt: asUnixMs(Number(row["created_at"])),
    }));
  }

  close(): void {
    this.#database.close();
  }
}

type Statements = ReturnType<typeof prepareAll>;

function prepareAll(database: Database) {
  const sql = (text: string): Statement => database.prepare(text);
  const columns = "s.agent_id, s.origin, s.epoch, s.sequence, s.withdrawn, s.statement, s.stored_at, b.record";
  const joined = `SELECT ${columns} FROM statement s LEFT JOIN body b USING (agent_id, origin)`;
  return {
    createOwn: sql("INSERT INTO own VALUES (1, ?, 0) ON CONFLICT DO NOTHING"),
    ownVersion: sql("SELECT epoch, sequence FROM own"),
    putOwn: sql("UPDATE own SET epoch = ?, sequence = ?"),
    putStatement: sql("INSERT OR REPLACE INTO statement VALUES (?, ?, ?, ?, ?, ?, ?)"),
    putBody: sql(
      `INSERT INTO body VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET record = excluded.record WHERE record IS NOT excluded.record`,
    ),
    deleteStatement: sql("DELETE FROM statement WHERE agent_id = ? AND origin = ?"),
    deleteBody: sql("DELETE FROM body WHERE agent_id = ? AND origin = ?"),
    recordsOf: sql(`${joined} WHERE s.agent_id = ? ORDER BY s.origin`),
    recordsAfter: sql(
      `${joined} WHERE s.agent_id >= ? AND (s.agent_id, s.origin) > (?, ?) ORDER BY s.agent_id, s.origin LIMIT ?`,
    ),
    recordCount: sql("SELECT count(*) AS n FROM statement WHERE withdrawn = 0"),
    pruneTombstones: sql("DELETE FROM statement WHERE withdrawn = 1 AND stored_at < ?"),
    putVector: sql("INSERT OR REPLACE INTO vector VALUES (?, ?, ?)"),
    deleteVector: sql("DELETE FROM vector WHERE origin = ?"),
    vectors: sql("SELECT * FROM vector ORDER BY origin"),
    addKeyPackage: sql("INSERT INTO key_package (agent_id, package) VALUES (?, ?)"),
    trimKeyPackages: sql(
      `DELETE FROM key_package WHERE agent_id = ? AND id <=
       (SELECT id FROM key_package WHERE agent_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
    ),
    takeKeyPackage: sql(
      "DELETE FROM key_package WHERE id = (SELECT min(id) FROM key_package WHERE agent_id = ?) RETURNING package",
    ),
    keyPackageCount: sql("SELECT count(*) AS n FROM key_package WHERE agent_id = ?"),
    dropKeyPackages: sql("DELETE FROM key_package WHERE agent_id = ?"),
    putLastResort: sql("INSERT OR REPLACE INTO last_resort VALUES (?, ?)"),
    lastResort: sql("SELECT package FROM last_resort WHERE agent_id = ?"),
    dropLastResort: sql("DELETE FROM last_resort WHERE agent_id = ?"),
    group: sql("SELECT first_epoch, next_epoch FROM mls_group WHERE group_id = ?"),
    putGroup: sql(
      `INSERT INTO mls_group VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
       SET first_epoch = excluded.first_epoch, next_epoch = excluded.next_epoch, updated_at = excluded.updated_at`,
    ),
    commit: sql("SELECT content FROM mls_commit WHERE group_id = ? AND epoch = ?"),
    putCommit: sql("INSERT INTO mls_commit VALUES (?, ?, ?)"),
    dropCommits: sql("DELETE FROM mls_commit WHERE group_id = ? AND epoch < ?"),
    commitsFrom: sql("SELECT content FROM mls_commit WHERE group_id = ? AND epoch >= ? ORDER BY epoch LIMIT ?"),
    pruneGroups: sql("DELETE FROM mls_group WHERE updated_at < ?"),
    keyPackagesAll: sql("SELECT count(*) AS n FROM key_package"),
    groupsAll: sql("SELECT count(*) AS n FROM mls_group"),
    commitsAll: sql("SELECT count(*) AS n FROM mls_commit"),
    putAway: sql("INSERT OR REPLACE INTO away VALUES (?, ?)"),
    deleteAway: sql("DELETE FROM away WHERE agent_id = ?"),
    awayMs: sql("SELECT away_ms AS n FROM away WHERE agent_id = ?"),
    putTopic: sql("INSERT OR REPLACE INTO topic VALUES (?, ?, ?, ?)"),
    deleteTopic: sql("DELETE FROM topic WHERE topic = ?"),
    topics: sql("SELECT * FROM topic ORDER BY topic"),
  };
}

/** SQLite integers are signed; unsigned 64-bit values keep their bits. Their order is only right below 2^63. */
const int64 = (value: bigint): bigint => BigInt.asIntN(64, value);

function toRecord(row: Row): StoredRecord {
  const record = row["record"];
  return {
    agentId: text(row, "agent_id") as AgentId,
    origin: text(row, "origin") as GatewayUri,
    epoch: uint64(row, "epoch"),
    sequence: uint64(row, "sequence"),
    withdrawn: row["withdrawn"] === 1n,
    statement: bytes(row, "statement"),
    record: record instanceof Uint8Array ? record : undefined,
    storedAt: asUnixMs(Number(row["stored_at"])),
  };
}

function toOwnVersion(row: Row | undefined): OwnVersion {
  if (row === undefined)
    throw refuse("CAUSEWAY_STORE_FAILED", "the gateway store has lost its own version; restore it from a copy");
  return { epoch: uint64(row, "epoch"), sequence: uint64(row, "sequence") };
}

function integer(row: Row | undefined): number {
  return Number(row?.["n"] ?? 0);
}

function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === "string") return value;
  throw wrongColumn(column, value);
}

function bytes(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (value instanceof Uint8Array) return value;
  throw wrongColumn(column, value);
}

function uint64(row: Row, column: string): bigint {
  const value = row[column];
  if (typeof value === "bigint") return BigInt.asUintN(64, value);
  throw wrongColumn(column, value);
}

function wrongColumn(column: string, value: Value | undefined): Error {
  return refuse(
    "CAUSEWAY_STORE_FAILED",
    `the gateway store's column ${column} holds a ${typeof value}; restore the store from a copy`,
  );
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
