/** The types of the end-to-end layer: what an endpoint can do with it, and what comes out. */
import type { AgentId, ErrorCode, SpiffeId } from "@causeway/core-base";
import type { PairPurpose } from "./group-facts.ts";
import type {
  DeliveryPort,
  MlsIdentity,
  MlsSuite,
  MonotonicCounter,
  StateStore,
  UnixClock,
  VerifyLeaf,
} from "./ports.ts";

/** Options of `createEndToEnd`. */
export interface EndToEndOptions {
  /** Name of this agent; equals the URI SAN of the leaf certificate. */
  readonly agentId: AgentId;
  readonly mls: MlsIdentity;
  readonly verifyLeaf: VerifyLeaf;
  /** Where groups and key packages live. Everything written to it is encrypted with `stateKey`. */
  readonly store: StateStore;
  /** 32 bytes, kept by the caller outside the store (AGP-44). */
  readonly stateKey: Uint8Array;
  /** Optional protection against a state that was restored from an older copy. */
  readonly counter?: MonotonicCounter;
  readonly delivery: DeliveryPort;
  readonly clock: UnixClock;
  /** Suite of groups that this agent creates. Default 1. Groups of both suites are joined. */
  readonly suite?: MlsSuite;
  /** Age of an epoch after which the own keys are updated. Default 1 h (AGP-35). */
  readonly updateMs?: number;
  /** Messages sent in an epoch after which the own keys are updated. Default 1,000 (AGP-35). */
  readonly updateMessages?: number;
  /** Time after a revocation in which only the group's owner removes the member. Default 60 s (C-22). */
  readonly revocationGraceMs?: number;
  /** Called for every refused message and every change of security state (AAP-96). Must not throw. */
  readonly onEvent?: (event: EndToEndEvent) => void;
}

/** One message that has to travel as the payload of an envelope, with the context id for its header (AAP-72). */
export interface SealedFrame {
  readonly kind: "welcome" | "commit" | "proposal" | "application";
  /** Opaque alias of group and epoch, 16 bytes. */
  readonly securityContextId: Uint8Array;
  /** One MLSMessage: a welcome or a private message. */
  readonly payload: Uint8Array;
  /** Of a pair: whom it is for, with the instance that can open it when that is known. */
  readonly to?: SpiffeId;
}

/** What a received payload was. */
export type Opened =
  | {
      readonly kind: "application";
      /** The authenticated sender; equals the agent of the header's source. */
      readonly sender: AgentId;
      readonly plaintext: Uint8Array;
      readonly group: GroupView;
    }
  | {
      readonly kind: "handshake";
      /** `joined` by welcome, `advanced` by a commit, `removed` from the group, `pending` a leave waits for a commit
       * of this agent (call `maintain`), `known` nothing new. */
      readonly change: "joined" | "advanced" | "removed" | "pending" | "known";
      readonly group: GroupView;
    };

/** One group as this member sees it. */
export interface GroupView {
  /** Hex of the MLS group id; the handle for all group calls. */
  readonly groupId: string;
  /** A pair carries unicast between two agents; a topic group has a name and an owner. */
  readonly kind: "pair" | "topic";
  /** Name given at creation. Of a pair: what it is used for; empty for most. */
  readonly name: string;
  /** Creator: its serving gateway orders the commits. */
  readonly owner: AgentId;
  readonly members: readonly AgentId[];
  readonly epoch: bigint;
  readonly suite: MlsSuite;
  /** Hex; equal on all members of the same epoch, different after a fork. */
  readonly epochAuthenticator: string;
}

/** Result of a commit: what to send to whom. */
export interface GroupChange {
  readonly group: GroupView;
  /** Commits and proposals for all other members: to the peer of a pair, as messages on the topic otherwise. */
  readonly frames: readonly SealedFrame[];
  /** Welcomes for new members, sent to each directly. */
  readonly welcomes: readonly { readonly to: AgentId; readonly frame: SealedFrame }[];
  /** Agents that could not be added, and why. */
  readonly refused: readonly { readonly agent: AgentId; readonly code: ErrorCode; readonly message: string }[];
}

/** Something of interest to an operator or an audit. */
export interface EndToEndEvent {
  readonly type:
    | "message.refused"
    | "group.joined"
    | "group.created"
    | "group.advanced"
    | "group.removed"
    | "group.forked"
    | "group.left"
    | "member.revoked"
    | "state.rolled_back"
    | "key_package.refused"
    | "upkeep.postponed";
  readonly groupId?: string;
  readonly peer?: SpiffeId;
  readonly code?: ErrorCode;
  readonly text: string;
}

/** Numbers and groups for `status` and `doctor`. */
export interface EndToEndStatus {
  readonly agentId: AgentId;
  readonly protocol: "mls";
  readonly suite: MlsSuite;
  readonly groups: readonly (GroupView & { readonly sentInEpoch: number; readonly epochSinceMs: number })[];
  /** Those made for upload, by this run or an earlier one. */
  readonly keyPackages: number;
  /** Refused messages by code. */
  readonly refused: Readonly<Record<string, number>>;
}

/** MLS between this agent and others. All methods may run concurrently; calls on one group are served in order. */
export interface EndToEnd {
  /**
   * Makes `count` single-use key packages and one last-resort package, stores their private parts and returns the
   * public ones for upload. Call again when the delivery service runs low or the last-resort package was used.
   */
  keyPackages(count: number): Promise<{ readonly packages: readonly Uint8Array[]; readonly lastResort: Uint8Array }>;

  /**
   * Makes one single-use key package for an agent that asks this one itself, where there is no delivery service. Of these
   * a bounded number is kept, the oldest go first; those of `keyPackages` are never displaced by them.
   */
  handOutKeyPackage(): Promise<Uint8Array>;

  /**
   * Encrypts for one agent, or for one instance of it. Establishes a two-member group when there is none; the welcome then
   * comes first and comes again with later messages until the peer has answered in the group. Without an instance the
   * messages go to the one that was met first. Send the frames in order. Frames of another `purpose` are of another group:
   * they may overtake these, which within a group is possible for few messages only.
   */
  seal(peer: SpiffeId, plaintext: Uint8Array, purpose?: PairPurpose): Promise<readonly SealedFrame[]>;

  /**
   * Opens a received payload. `source` is the header's source, an instance is allowed. Fails with
   * `CAUSEWAY_E2EE_CONTEXT_UNKNOWN` (the sender has to establish a new group), `CAUSEWAY_E2EE_DECRYPT_FAILED`
   * (altered, replayed or too old), `CAUSEWAY_E2EE_SENDER_MISMATCH` or a `CAUSEWAY_IDENTITY_*` code.
   */
  open(source: SpiffeId, securityContextId: Uint8Array, payload: Uint8Array): Promise<Opened>;

  /** Creates a group for a topic with this agent as its only member. */
  createGroup(name: string): Promise<GroupView>;
  /** Adds agents in batches; a member that lost its state is replaced. What is refused is listed, not thrown. */
  addMembers(groupId: string, agents: readonly AgentId[]): Promise<GroupChange>;
  removeMembers(groupId: string, agents: readonly AgentId[]): Promise<GroupChange>;
  /** Encrypts for all members. May put a commit of its own before the message (key update, removal of the revoked). */
  sealGroup(groupId: string, plaintext: Uint8Array): Promise<readonly SealedFrame[]>;
  /** Announces the departure and forgets the group; the owner commits the removal. */
  leave(groupId: string): Promise<GroupChange>;
  groups(): readonly GroupView[];
  /** The newest topic group of that name, if this agent is a member. */
  groupByName(name: string): GroupView | undefined;

  /**
   * Does what time and trust demand: key updates that are due, removal of revoked, expired and leaving members,
   * expiry of old key packages. Call about once a minute and after `trustChanged`; send what is returned.
   */
  maintain(): Promise<readonly GroupChange[]>;
  /** The trust store has changed: members are verified again before anything is sent in their groups. */
  trustChanged(): void;
  /** The own leaf certificate was renewed: new groups use it and groups of today are updated. Send what is returned. */
  rotate(mls: MlsIdentity): Promise<readonly GroupChange[]>;

  /** Forgets the group behind a context id, for example after the peer reported it unknown. */
  forget(securityContextId: Uint8Array): Promise<void>;
  /** Forgets the two-member groups with a peer; the next `seal` establishes a new one. */
  forgetPeer(peer: AgentId): Promise<void>;
  exportStatus(): EndToEndStatus;
  /** Writes what is not yet stored. Afterwards every call is refused. */
  close(): Promise<void>;
}
