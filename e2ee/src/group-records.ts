/**
 * How groups are kept. For each epoch one record with everything that stays the same during it, and small records with
 * the ratchets of 16 leaves each, so that a message rewrites about two kilobytes whatever the size of the group. The
 * own sending ratchet is stored ahead of its use: after a restart generations are skipped, never used twice. Former
 * epochs are not stored: what arrives late after a restart is refused and sent again.
 */
import { type AgentId, asUnixMs, parseAgentId, refuse } from "@causeway/core-base";
import type { CredentialJudge } from "./credentials.ts";
import { Group } from "./group.ts";
import { clientConfig } from "./group-config.ts";
import type { GroupHistory, PendingCommit } from "./group-parts.ts";
import {
  type ClientState,
  decodeGroupState,
  decodeSecretTreeNode,
  encode,
  encodeGroupState,
  type SecretTree,
  secretTreeNodeEncoder,
} from "./library.ts";
import { pack, type SealedStore, unpack } from "./sealed-store.ts";
import type { StateVersion } from "./state-version.ts";
import { suiteImpl, suiteOf } from "./suites.ts";

/** Leaves whose ratchets share one record. */
const leavesPerRecord = 16;

interface BaseMeta {
  readonly version: number;
  readonly epoch: string;
  readonly history: Omit<GroupHistory, "welcome">;
  readonly names: Readonly<Record<string, string>>;
}

/** The records of one group. Writes of one group never overlap. */
export class GroupRecords {
  readonly #store: SealedStore;
  readonly #version: StateVersion;
  readonly #group: Group;
  #chain: Promise<unknown> = Promise.resolve();
  #dirty = new Set<number>();
  #nextFlush: Promise<void> | undefined;
  #epochUnsaved = false;
  #deleted = false;

  constructor(store: SealedStore, version: StateVersion, group: Group) {
    this.#store = store;
    this.#version = version;
    this.#group = group;
  }

  /** Stores the epoch that the group is in now and drops the records of the one before and the pending commit. */
  saveEpoch(): Promise<void> {
    this.#epochUnsaved = true;
    return this.#inOrder(async () => {
      const group = this.#group;
      await group.reserve();
      const prefix = `g/${group.id}/`;
      const before = await this.#store.list(`${prefix}r/`);
      const kept = new Set<string>();
      for (let bucket = 0; bucket * leavesPerRecord * 2 < group.state.secretTree.length; bucket++) {
        kept.add(ratchetKey(group, bucket));
        await this.#store.put(ratchetKey(group, bucket), encodeRatchets(group, bucket, this.#version.current), {
          durable: true,
        });
      }
      const version = this.#version.next();
      await this.#store.put(`${prefix}base`, encodeBase(group, version), { durable: true });
      await this.#version.reached(version);
      await this.#store.delete(`${prefix}pending`);
      for (const key of before) if (!kept.has(key)) await this.#store.delete(key);
      this.#epochUnsaved = false;
    });
  }

  /** Stores the epoch if that failed before: nothing is sent in an epoch that is not on disk. */
  async ensureSaved(): Promise<void> {
    if (this.#epochUnsaved) await this.saveEpoch();
  }

  /** Stores the ratchets of the leaf as they will be when the write starts; concurrent callers share one write. */
  saveRatchets(leafIndex: number): Promise<void> {
    this.#dirty.add(Math.floor(leafIndex / leavesPerRecord));
    this.#nextFlush ??= this.#inOrder(async () => {
      this.#nextFlush = undefined;
      const buckets = [...this.#dirty];
      this.#dirty.clear();
      for (const bucket of buckets) {
        await this.#store.put(
          ratchetKey(this.#group, bucket),
          encodeRatchets(this.#group, bucket, this.#version.current),
        );
      }
    });
    return this.#nextFlush;
  }

  /** Stores the own ratchets so that they survive everything. Comes before a ciphertext made with them leaves. */
  async saveReservation(): Promise<void> {
    try {
      await this.#saveOwnRatchets();
    } catch (error) {
      this.#group.dropReservation();
      throw error;
    }
  }

  #saveOwnRatchets(): Promise<void> {
    return this.#inOrder(async () => {
      const bucket = Math.floor(this.#group.ownLeaf / leavesPerRecord);
      const version = this.#version.next();
      await this.#store.put(ratchetKey(this.#group, bucket), encodeRatchets(this.#group, bucket, version), {
        durable: true,
      });
      await this.#version.reached(version);
    });
  }

  savePending(pending: PendingCommit): Promise<void> {
    return this.#inOrder(() =>
      this.#store.put(`g/${this.#group.id}/pending`, encodePending(pending), { durable: true }),
    );
  }

  dropPending(): Promise<void> {
    return this.#inOrder(() => this.#store.delete(`g/${this.#group.id}/pending`));
  }

  delete(): Promise<void> {
    const done = this.#inOrder(async () => {
      // The base goes first: without it the rest is not a group.
      const prefix = `g/${this.#group.id}/`;
      await this.#version.keep();
      await this.#store.delete(`${prefix}base`);
      for (const key of await this.#store.list(prefix)) await this.#store.delete(key);
    });
    this.#deleted = true;
    return done;
  }

  settled(): Promise<unknown> {
    return this.#chain;
  }

  #inOrder(write: () => Promise<void>): Promise<void> {
    if (this.#deleted) return Promise.resolve();
    const result = this.#chain.then(write);
    // The next write goes on after a failure; each caller gets its own.
    this.#chain = result.catch(() => undefined);
    return result;
  }
}

/** Ids of the groups in the store. */
export async function storedGroups(store: SealedStore): Promise<readonly string[]> {
  const ids: string[] = [];
  for (const key of await store.list("g/")) {
    const [, id, kind] = key.split("/");
    if (id !== undefined && kind === "base") ids.push(id);
  }
  return ids.sort();
}

/** Reads one group. Throws `CAUSEWAY_E2EE_STATE_CORRUPT` when a part is missing or does not open. */
export async function loadGroup(
  store: SealedStore,
  id: string,
  judge: CredentialJudge,
  self: AgentId,
): Promise<{ readonly group: Group; readonly version: number }> {
  const bytes = await store.get(`g/${id}/base`);
  const [metaBytes, stateBytes, welcome] = bytes === undefined ? [] : unpack(bytes);
  if (metaBytes === undefined || stateBytes === undefined || welcome === undefined)
    throw corrupt(id, "its base record is missing");
  const meta = JSON.parse(Buffer.from(metaBytes).toString()) as BaseMeta;
  const state = decodeState(id, stateBytes, judge);
  const tree: SecretTree = [];
  let version = meta.version;
  for (let bucket = 0; bucket * leavesPerRecord * 2 < state.ratchetTree.length; bucket++) {
    const record = await store.get(`g/${id}/r/${meta.epoch}/${bucket}`);
    if (record === undefined) throw corrupt(id, `the ratchets ${bucket} of epoch ${meta.epoch} are missing`);
    const [head, ...nodes] = unpack(record);
    version = Math.max(version, Number(Buffer.from(head ?? new Uint8Array()).toString()) || 0);
    for (const [offset, encoded] of nodes.entries()) {
      const node = decodeSecretTreeNode(encoded, 0)?.[0];
      if (node === undefined) throw corrupt(id, "a ratchet does not decode");
      const leaf = bucket * leavesPerRecord + offset;
      tree[leaf * 2] = node;
      // Ratchets of inner nodes are never used; the library only wants the array without gaps.
      if (leaf > 0) tree[leaf * 2 - 1] = node;
    }
  }
  const names = new Map(Object.entries(meta.names).map(([leaf, name]) => [Number(leaf), parseAgentId(name)]));
  const history: GroupHistory = {
    ...meta.history,
    epochSince: asUnixMs(meta.history.epochSince),
    ownSince: asUnixMs(meta.history.ownSince),
    welcome: welcome.length > 0 ? welcome : undefined,
  };
  const impl = await suiteImpl(suiteOf(state.groupContext.cipherSuite));
  const group = await Group.open({ state: { ...state, secretTree: tree }, names, history, impl, judge, self });
  const pending = await store.get(`g/${id}/pending`);
  if (pending !== undefined) group.pending = decodePending(id, pending, judge);
  if (group.pending !== undefined && group.pending.epoch !== group.epoch) group.pending = undefined;
  return { group, version };
}

function ratchetKey(group: Group, bucket: number): string {
  return `g/${group.id}/r/${group.epoch}/${bucket}`;
}

function encodeBase(group: Group, version: number): Uint8Array {
  const { welcome, ...history } = group.history;
  const meta: BaseMeta = { version, epoch: String(group.epoch), history, names: Object.fromEntries(group.names) };
  return pack([Buffer.from(JSON.stringify(meta)), encodeState(group.state, []), welcome ?? new Uint8Array()]);
}

function encodeRatchets(group: Group, bucket: number, version: number): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from(String(version))];
  const leaves = (group.state.secretTree.length + 1) / 2;
  const end = Math.min(leaves, (bucket + 1) * leavesPerRecord);
  for (let leaf = bucket * leavesPerRecord; leaf < end; leaf++) {
    const node = group.storedNode(leaf);
    if (node !== undefined) parts.push(encode(secretTreeNodeEncoder)(node));
  }
  return pack(parts);
}

function encodeState(state: ClientState, secretTree: SecretTree): Uint8Array {
  return encodeGroupState({ ...state, secretTree, historicalReceiverData: new Map() });
}

function decodeState(id: string, bytes: Uint8Array, judge: CredentialJudge): ClientState {
  const decoded = decodeGroupState(bytes, 0);
  if (decoded === undefined) throw corrupt(id, "its state does not decode");
  return { ...decoded[0], clientConfig: clientConfig(judge) };
}

function encodePending(pending: PendingCommit): Uint8Array {
  const meta = { epoch: String(pending.epoch), hasPath: pending.hasPath, to: pending.welcomes.map((each) => each.to) };
  return pack([
    Buffer.from(JSON.stringify(meta)),
    pending.bytes,
    encodeState(pending.newState, pending.newState.secretTree),
    ...pending.welcomes.map((each) => each.payload),
  ]);
}

function decodePending(id: string, bytes: Uint8Array, judge: CredentialJudge): PendingCommit {
  const [metaBytes, commit, stateBytes, ...payloads] = unpack(bytes);
  if (metaBytes === undefined || commit === undefined || stateBytes === undefined)
    throw corrupt(id, "its pending commit is cut off");
  const meta = JSON.parse(Buffer.from(metaBytes).toString()) as { epoch: string; hasPath: boolean; to: string[] };
  return {
    epoch: BigInt(meta.epoch),
    hasPath: meta.hasPath,
    bytes: commit,
    newState: decodeState(id, stateBytes, judge),
    consumed: [],
    welcomes: payloads.map((payload, i) => ({ to: parseAgentId(meta.to[i] ?? ""), payload })),
  };
}

function corrupt(id: string, why: string): Error {
  return refuse("CAUSEWAY_E2EE_STATE_CORRUPT", `the stored group ${id.slice(0, 8)} cannot be read: ${why}`);
}
