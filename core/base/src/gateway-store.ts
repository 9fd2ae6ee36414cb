/**
 * What a gateway keeps on disk, as a port: the record base with its tombstones, the version space of its own records,
 * key packages, the commit log of MLS groups, and topics. Synchronous, because a gateway answers only after the write
 * and orders effects one by one. Contents are opaque bytes; the store judges none of them.
 *
 * Every method is atomic and, unless it says otherwise, durable when it returns. A full disk throws
 * `CAUSEWAY_STORE_FULL` and leaves the state as it was; any other failure throws `CAUSEWAY_STORE_FAILED`.
 */
import type { AgentId, GatewayUri } from "./ids.ts";
import type { UnixMs } from "./time.ts";

/** One record of one origin, or its tombstone. The key is (agentId, origin). */
export interface StoredRecord {
  readonly agentId: AgentId;
  readonly origin: GatewayUri;
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly withdrawn: boolean;
  /** Serialised SignedOrigin. */
  readonly statement: Uint8Array;
  /** Serialised SignedRecord; undefined in a tombstone. */
  readonly record: Uint8Array | undefined;
  /** When this version was stored; a tombstone goes `tombstoneMs` later. */
  readonly storedAt: UnixMs;
}

/** How far an origin's versions are held completely, for resuming a session. */
export interface StoredVector {
  readonly origin: GatewayUri;
  readonly epoch: bigint;
  readonly sequence: bigint;
}

/** Version space of the records that this gateway originates (C-11). */
export interface OwnVersion {
  readonly epoch: bigint;
  /** Last sequence that was given out. */
  readonly sequence: bigint;
}

/** One key package that was handed out. */
export interface TakenKeyPackage {
  readonly keyPackage: Uint8Array;
  readonly lastResort: boolean;
}

/** Outcome of offering a commit for (group, epoch). */
export type CommitOutcome =
  | { readonly accepted: true }
  /** `winner` is the commit that holds the epoch; undefined when it is no longer kept or the epoch is ahead. */
  | { readonly accepted: false; readonly winner: Uint8Array | undefined; readonly nextEpoch: bigint };

/** A topic that was created at this gateway. */
export interface StoredTopic {
  readonly topic: string;
  readonly owner: AgentId;
  /** Serialised TopicPolicy. */
  readonly policy: Uint8Array;
  readonly createdAt: UnixMs;
}

/** How much of the delivery service is stored. */
export interface DeliverySizes {
  /** Unused key packages of all agents. */
  readonly keyPackages: number;
  readonly groups: number;
  readonly commits: number;
}

/** The durable state of one gateway. */
export interface GatewayStore {
  /** Runs `work` as one transaction: all of it is stored, or nothing. A call inside another joins it. */
  atomically<T>(work: () => T): T;

  /** Inserts or replaces by (agentId, origin). The caller has decided that it is newer. */
  putRecord(record: StoredRecord): void;
  deleteRecord(agentId: AgentId, origin: GatewayUri): void;
  /** Every record of one agent, tombstones included. */
  recordsOf(agentId: AgentId): readonly StoredRecord[];
  /** Every record, tombstones included, in key order. */
  records(): IterableIterator<StoredRecord>;
  /** Live records, tombstones not counted. */
  recordCount(): number;
  /** Removes tombstones stored before `before`; returns how many. */
  pruneTombstones(before: UnixMs): number;

  putVector(vector: StoredVector): void;
  deleteVector(origin: GatewayUri): void;
  vectors(): readonly StoredVector[];

  /** The last version given out. A new store begins with an epoch greater than that of any lost one and sequence 0. */
  ownVersion(): OwnVersion;
  /** Notes a version as given out. An older one than the one held is refused with `CAUSEWAY_MISUSE`. */
  putOwnVersion(version: OwnVersion): void;

  /**
   * Adds unused packages of an agent, the oldest dropped beyond `unusedMax`, and replaces its last-resort package when
   * one is given. Returns the number of unused ones now held.
   */
  addKeyPackages(
    agentId: AgentId,
    packages: readonly Uint8Array[],
    lastResort: Uint8Array | undefined,
    unusedMax: number,
  ): number;
  /** Takes the oldest unused package, which is gone when this returns; the last-resort one when none is left. */
  takeKeyPackage(agentId: AgentId): TakenKeyPackage | undefined;
  keyPackageCount(agentId: AgentId): number;
  /** Drops all packages of an agent (revocation, deregistration). */
  dropKeyPackages(agentId: AgentId): void;

  /**
   * Compare and set: the first commit for (group, epoch) wins. The group's first commit fixes its first epoch; a later
   * one has to be for the next epoch. The same bytes again are accepted again. Beyond `commitsMax` of a group the
   * oldest are dropped.
   */
  submitCommit(groupId: Uint8Array, epoch: bigint, commit: Uint8Array, at: UnixMs, commitsMax: number): CommitOutcome;
  /** Commits of a group from `fromEpoch` on, in epoch order, at most `limit`; undefined when an earlier one was dropped. */
  commits(groupId: Uint8Array, fromEpoch: bigint, limit: number): readonly Uint8Array[] | undefined;
  /** Drops groups without a commit since `before`; returns how many. */
  pruneGroups(before: UnixMs): number;
  /** Counts row by row: not for every message. */
  deliverySizes(): DeliverySizes;

  /** Notes how long an agent's record stays announced while it is away; 0 forgets it. */
  setAway(agentId: AgentId, awayMs: number): void;
  /** 0 when nothing is noted. */
  awayMs(agentId: AgentId): number;

  putTopic(topic: StoredTopic): void;
  deleteTopic(topic: string): void;
  topics(): readonly StoredTopic[];

  close(): void;
}
