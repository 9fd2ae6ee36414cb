/** `GatewayStore` in memory: passes the contract, keeps nothing. For tests and the simulator. */

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
import { refuse } from "@causeway/core-base";

interface Group {
  readonly first: bigint;
  readonly next: bigint;
  readonly updatedAt: UnixMs;
  readonly commits: ReadonlyMap<bigint, Uint8Array>;
}

/** Everything the store holds; replaced as a whole when a transaction fails. */
interface State {
  own: OwnVersion;
  records: Map<string, StoredRecord>;
  vectors: Map<GatewayUri, StoredVector>;
  packages: Map<AgentId, readonly Uint8Array[]>;
  lastResort: Map<AgentId, Uint8Array>;
  groups: Map<string, Group>;
  topics: Map<string, StoredTopic>;
  away: Map<AgentId, number>;
}

/** A store that survives `close` as long as the object lives, so that a test can restart a gateway on it. */
export class MemoryGatewayStore implements GatewayStore {
  #state: State;
  #depth = 0;

  constructor(epoch = 1n) {
    this.#state = {
      own: { epoch, sequence: 0n },
      records: new Map(),
      vectors: new Map(),
      packages: new Map(),
      lastResort: new Map(),
      groups: new Map(),
      topics: new Map(),
      away: new Map(),
    };
  }

  atomically<T>(work: () => T): T {
    if (this.#depth > 0) return work();
    const before = copy(this.#state);
    this.#depth++;
    try {
      return work();
    } catch (error) {
      this.#state = before;
      throw error;
    } finally {
      this.#depth--;
    }
  }

  putRecord(record: StoredRecord): void {
    this.#state.records.set(recordKey(record.agentId, record.origin), record);
  }

  deleteRecord(agentId: AgentId, origin: GatewayUri): void {
    this.#state.records.delete(recordKey(agentId, origin));
  }

  recordsOf(agentId: AgentId): readonly StoredRecord[] {
    return [...this.records()].filter((record) => record.agentId === agentId);
  }

  *records(): IterableIterator<StoredRecord> {
    const keys = [...this.#state.records.keys()].sort();
    for (const key of keys) {
      const record = this.#state.records.get(key);
      if (record !== undefined) yield record;
    }
  }

  recordCount(): number {
    return [...this.#state.records.values()].filter((record) => !record.withdrawn).length;
  }

  pruneTombstones(before: UnixMs): number {
    const old = [...this.#state.records].filter(([, record]) => record.withdrawn && record.storedAt < before);
    for (const [key] of old) this.#state.records.delete(key);
    return old.length;
  }

  putVector(vector: StoredVector): void {
    this.#state.vectors.set(vector.origin, vector);
  }

  deleteVector(origin: GatewayUri): void {
    this.#state.vectors.delete(origin);
  }

  vectors(): readonly StoredVector[] {
    return [...this.#state.vectors.values()].sort((a, b) => (a.origin < b.origin ? -1 : 1));
  }

  ownVersion(): OwnVersion {
    return this.#state.own;
  }

  putOwnVersion(version: OwnVersion): void {
    const { epoch, sequence } = this.#state.own;
    if (version.epoch < epoch || (version.epoch === epoch && version.sequence < sequence)) {
      throw refuse("CAUSEWAY_MISUSE", `expected a version from ${epoch}.${sequence} on`);
    }
    this.#state.own = version;
  }

  addKeyPackages(
    agentId: AgentId,
    packages: readonly Uint8Array[],
    lastResort: Uint8Array | undefined,
    unusedMax: number,
  ): number {
    const unused = [...(this.#state.packages.get(agentId) ?? []), ...packages].slice(-unusedMax);
    this.#state.packages.set(agentId, unused);
    if (lastResort !== undefined) this.#state.lastResort.set(agentId, lastResort);
    return unused.length;
  }

  takeKeyPackage(agentId: AgentId): TakenKeyPackage | undefined {
    const [first, ...rest] = this.#state.packages.get(agentId) ?? [];
    this.#state.packages.set(agentId, rest);
    if (first !== undefined) return { keyPackage: first, lastResort: false };
    const last = this.#state.lastResort.get(agentId);
    return last && { keyPackage: last, lastResort: true };
  }

  keyPackageCount(agentId: AgentId): number {
    return this.#state.packages.get(agentId)?.length ?? 0;
  }

  dropKeyPackages(agentId: AgentId): void {
    this.#state.packages.delete(agentId);
    this.#state.lastResort.delete(agentId);
  }

  submitCommit(groupId: Uint8Array, epoch: bigint, commit: Uint8Array, at: UnixMs, commitsMax: number): CommitOutcome {
    const key = groupKey(groupId);
    const group = this.#state.groups.get(key) ?? { first: epoch, next: epoch, updatedAt: at, commits: new Map() };
    if (epoch !== group.next) {
      const winner = group.commits.get(epoch);
      if (winner !== undefined && Buffer.compare(winner, commit) === 0) return { accepted: true };
      return { accepted: false, winner, nextEpoch: group.next };
    }
    const commits = new Map([...group.commits, [epoch, commit] as const].slice(-commitsMax));
    const first = commits.keys().next().value ?? epoch;
    this.#state.groups.set(key, { first, next: epoch + 1n, updatedAt: at, commits });
    return { accepted: true };
  }

  commits(groupId: Uint8Array, fromEpoch: bigint, limit: number): readonly Uint8Array[] | undefined {
    const group = this.#state.groups.get(groupKey(groupId));
    if (group === undefined) return [];
    if (fromEpoch < group.first) return undefined;
    return [...group.commits]
      .filter(([epoch]) => epoch >= fromEpoch)
      .slice(0, limit)
      .map(([, commit]) => commit);
  }

  pruneGroups(before: UnixMs): number {
    const old = [...this.#state.groups].filter(([, group]) => group.updatedAt < before);
    for (const [key] of old) this.#state.groups.delete(key);
    return old.length;
  }

  deliverySizes(): DeliverySizes {
    const { packages, groups } = this.#state;
    return {
      keyPackages: [...packages.values()].reduce((sum, each) => sum + each.length, 0),
      groups: groups.size,
      commits: [...groups.values()].reduce((sum, each) => sum + each.commits.size, 0),
    };
  }

  setAway(agentId: AgentId, awayMs: number): void {
    if (awayMs === 0) this.#state.away.delete(agentId);
    else this.#state.away.set(agentId, awayMs);
  }

  awayMs(agentId: AgentId): number {
    return this.#state.away.get(agentId) ?? 0;
  }

  putTopic(topic: StoredTopic): void {
    this.#state.topics.set(topic.topic, topic);
  }

  deleteTopic(topic: string): void {
    this.#state.topics.delete(topic);
  }

  topics(): readonly StoredTopic[] {
    return [...this.#state.topics.values()].sort((a, b) => (a.topic < b.topic ? -1 : 1));
  }

  close(): void {
    // Kept: see the class comment.
  }
}

// NUL sorts before every character of a name, so that key order is the order of (agentId, origin).
const recordKey = (agentId: AgentId, origin: GatewayUri): string => `${agentId}\0${origin}`;
const groupKey = (groupId: Uint8Array): string => Buffer.from(groupId).toString("hex");

function copy(state: State): State {
  return {
    own: state.own,
    records: new Map(state.records),
    vectors: new Map(state.vectors),
    packages: new Map(state.packages),
    lastResort: new Map(state.lastResort),
    groups: new Map(state.groups),
    topics: new Map(state.topics),
    away: new Map(state.away),
  };
}
