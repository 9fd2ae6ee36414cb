/** What the end-to-end layer needs from outside. Every port is implemented by the SDK; tests use in-memory ones. */
import type { AgentId, SpiffeId, UnixMs } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";

/** Where encrypted state is kept. Keys are short ASCII strings with '/' between segments; values are opaque. */
export interface StateStore {
  get(key: string): Promise<Uint8Array | undefined>;
  /**
   * Stores a value atomically: afterwards the key has the old or the new value, also after a crash. With `durable`
   * the promise resolves only when the value survives the loss of power.
   */
  put(key: string, value: Uint8Array, options?: { readonly durable?: boolean }): Promise<void>;
  delete(key: string): Promise<void>;
  /** All keys that start with the prefix, in any order. */
  list(prefix: string): Promise<readonly string[]>;
}

/**
 * A number that never goes back, kept apart from the `StateStore` (for example beside the key file), so that a state
 * directory restored from a backup is recognised (AGP-48).
 */
export interface MonotonicCounter {
  read(): Promise<number>;
  /** Stores `value` if it is larger than the stored one. */
  advance(value: number): Promise<void>;
}

/** A key package as the delivery service hands it out. */
export interface FetchedKeyPackage {
  readonly keyPackage: Uint8Array;
  /** True when it is the last-resort package, which others may have received too. */
  readonly lastResort: boolean;
  /** The agent whose package it is, with its instance when its instances are told apart. Default: the one asked for. */
  readonly owner?: SpiffeId;
}

/** Answer of the delivery service to a commit: the first commit of an epoch wins (AGP-60). */
export type CommitAnswer =
  | { readonly accepted: true }
  /** Another commit won the epoch; `winner` is that commit when the service sent it along. */
  | { readonly accepted: false; readonly winner?: Uint8Array };

/**
 * The delivery service of RFC 9750: key packages and the order of commits. It sees neither names nor members.
 *
 * Answers have to be able to arrive while `open` waits: a commit under way holds up the messages of its group, so a
 * receive loop that awaits every `open` before it looks at the next frame must not be the one that reads the answers.
 */
export interface DeliveryPort {
  /** One unused key package of the agent, or of the instance that is named. Rejects with `CAUSEWAY_E2EE_NO_KEY_PACKAGE` when there is none. */
  fetchKeyPackage(agent: SpiffeId, suite: MlsSuite): Promise<FetchedKeyPackage>;
  /** Offers a commit that starts from `epoch`. `owner` is the agent whose serving gateway orders the group. */
  submitCommit(owner: AgentId, groupId: Uint8Array, epoch: bigint, commit: Uint8Array): Promise<CommitAnswer>;
  /**
   * False while nobody orders commits for the pair with this agent, since its messages pass no gateway. Its keys are then
   * renewed by a new pair, and commits that were missed are not asked for. Default true.
   */
  isOrdered?(peer: AgentId): boolean;
  /** Commits of a group in epoch order, the first one starting from `fromEpoch`; empty when there is none. */
  fetchHandshakes(owner: AgentId, groupId: Uint8Array, fromEpoch: bigint): Promise<readonly Uint8Array[]>;
}

/** MLS cipher suite: 1 = X25519/AES-128-GCM/Ed25519, 3 = X25519/ChaCha20-Poly1305/Ed25519. */
export type MlsSuite = 1 | 3;

/** The certified MLS leaf key of this agent. */
export interface MlsIdentity {
  /** DER, leaf first, without root. */
  readonly chain: readonly Uint8Array[];
  /** Raw Ed25519 seed, 32 bytes. */
  readonly privateKey: Uint8Array;
}

/** Verifies an MLS leaf chain against the trust store; throws the `CAUSEWAY_IDENTITY_*` codes. */
export type VerifyLeaf = (chain: readonly Uint8Array[]) => VerifiedPeer;

/** Wall clock in Unix milliseconds. */
export type UnixClock = () => UnixMs;
