/** What a group is made of, and what happens to it. */
import type { AgentId, CausewayError, UnixMs } from "@causeway/core-base";
import type { CredentialJudge } from "./credentials.ts";
import type { CiphersuiteImpl, ClientState } from "./library.ts";

/** Names of the members by leaf index. */
export type Names = ReadonlyMap<number, AgentId>;

/** A member that may not stay: its certificate is revoked, expired or no longer trusted. */
export interface UnfitMember {
  readonly leafIndex: number;
  readonly name: AgentId;
  readonly reason: CausewayError;
  /** False when the credential cannot be judged now (stale revocation list): nothing is sent, nobody is removed. */
  readonly forGood: boolean;
}

/** A commit of ours that the delivery service has not confirmed. */
export interface PendingCommit {
  readonly epoch: bigint;
  readonly bytes: Uint8Array;
  readonly newState: ClientState;
  readonly hasPath: boolean;
  /** Secrets of the epoch that it ends, to be erased with it. */
  readonly consumed: readonly Uint8Array[];
  readonly welcomes: readonly { readonly to: AgentId; readonly payload: Uint8Array }[];
}

/** What is kept about a group beside the library's state. */
export interface GroupHistory {
  epochSince: UnixMs;
  /** Since when the own leaf key is in use. */
  ownSince: UnixMs;
  /** Messages sent with the own leaf key in former epochs. */
  sentBefore: number;
  /** The peer of a pair has been heard in this group. */
  confirmed: boolean;
  /** The welcome to repeat until then. */
  welcome: Uint8Array | undefined;
  /** Of a pair: the instance of the peer that has the other half, when its instances are told apart. */
  peerInstance?: string | undefined;
}

export interface GroupParts {
  readonly state: ClientState;
  readonly names: Names;
  readonly history: GroupHistory;
  readonly impl: CiphersuiteImpl;
  readonly judge: CredentialJudge;
  readonly self: AgentId;
}

/** What a received commit did. */
export interface Advance {
  readonly newState: ClientState;
  readonly names: Names;
  readonly committer: AgentId;
  readonly removed: boolean;
  readonly consumed: readonly Uint8Array[];
}
