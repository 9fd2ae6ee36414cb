/**
 * One MLS group as one member holds it: the library's state, who is behind each leaf, and what it sends and
 * receives. The rules for commits are in `group-rules.ts`. Nothing here knows a store or a network; the caller serialises the calls.
 */
import { type AgentId, agentOf, CausewayError, refuse, type SpiffeId, type UnixMs } from "@causeway/core-base";
import type { GroupView } from "./api.ts";
import type { CredentialJudge } from "./credentials.ts";
import { chainOf } from "./credentials.ts";
import { mls, retentionConfig } from "./group-config.ts";
import { factsOf, type GroupFacts } from "./group-facts.ts";
import type { Advance, GroupHistory, GroupParts, Names, PendingCommit, UnfitMember } from "./group-parts.ts";
import { objectionTo, verifiedNames } from "./group-rules.ts";
import {
  type CiphersuiteImpl,
  type ClientState,
  consumeRatchet,
  createApplicationMessage,
  createCommit,
  createProposal,
  emptyPskIndex,
  encodeMlsMessage,
  type IncomingMessageCallback,
  type LeafNode,
  leafToNodeIndex,
  mlsExporter,
  type PrivateMessage,
  type Proposal,
  processPrivateMessage,
  ratchetUntil,
  type SecretTreeNode,
  toLeafIndex,
  unprotectPrivateMessage,
  type Welcome,
} from "./library.ts";
import { applicationOverheadBytes, bucketFor } from "./padding.ts";
import type { MlsSuite } from "./ports.ts";
import { rotating, type SigningIdentity, sameChain } from "./signing-identity.ts";
import { suiteOf } from "./suites.ts";

/** Generations of the own ratchet that one durable write covers. */
const reservedGenerations = 64;

export class Group {
  readonly id: string;
  readonly facts: GroupFacts;
  readonly suite: MlsSuite;
  readonly history: GroupHistory;
  readonly #impl: CiphersuiteImpl;
  readonly #judge: CredentialJudge;
  readonly #self: AgentId;
  #state: ClientState;
  #names: Names;
  #pastNames = new Map<bigint, Names>();
  #contexts = new Map<bigint, Uint8Array>();
  /** The own ratchets as they are on disk: ahead of the ones in use. */
  #reserved: SecretTreeNode | undefined;
  #fitUntil = Number.NEGATIVE_INFINITY;
  #fitTrust = -1;
  pending: PendingCommit | undefined;
  /** Leaves that announced their departure. */
  readonly leaving = new Set<number>();
  /** Set when the group cannot go on: an ordered commit that no member can accept, or a fork. */
  broken: string | undefined;
  /** Set when the group was deleted; tasks that waited for it find out by this. */
  closed = false;
  unfitSince: UnixMs | undefined;
  /** Order in which groups were last heard in this process; the newest is where the peer certainly is. */
  lastHeard = 0;
  lastCatchUp = Number.NEGATIVE_INFINITY;
  /** When the delivery service was last asked, before a message left, whether the group has moved on. */
  epochCheckedAt = Number.NEGATIVE_INFINITY;
  lastWelcome = Number.NEGATIVE_INFINITY;

  private constructor(parts: GroupParts) {
    this.#state = parts.state;
    this.#names = parts.names;
    this.#impl = parts.impl;
    this.#judge = parts.judge;
    this.#self = parts.self;
    this.history = parts.history;
    this.id = Buffer.from(parts.state.groupContext.groupId).toString("hex");
    this.facts = factsOf(parts.state);
    this.suite = suiteOf(parts.state.groupContext.cipherSuite);
  }

  /** A group whose members are checked here: pair of two, unique names, itself among them. */
  static async open(parts: Omit<GroupParts, "names"> & { readonly names?: Names }): Promise<Group> {
    const names = parts.names ?? verifiedNames(parts.state, undefined, new Map(), parts.judge);
    const group = new Group({ ...parts, names });
    if (names.get(parts.state.privatePath.leafIndex) !== parts.self) {
      throw refuse("CAUSEWAY_E2EE_SENDER_MISMATCH", `expected a group with ${parts.self} at its own leaf`);
    }
    await group.#rememberContext();
    return group;
  }

  get state(): ClientState {
    return this.#state;
  }
  get idBytes(): Uint8Array {
    return this.#state.groupContext.groupId;
  }
  get epoch(): bigint {
    return this.#state.groupContext.epoch;
  }
  get ownLeaf(): number {
    return this.#state.privatePath.leafIndex;
  }
  get names(): Names {
    return this.#names;
  }
  get alone(): boolean {
    return this.#names.size === 1;
  }
  get isOwner(): boolean {
    return this.facts.owner === this.#self;
  }
  /** Messages sent since the own keys were last updated. */
  get sentWithOwnKey(): number {
    return this.history.sentBefore + this.sentInEpoch;
  }
  get sentInEpoch(): number {
    return this.#ownNode().application.generation;
  }
  /** The other member of a pair. */
  get peer(): AgentId | undefined {
    if (this.facts.kind !== "pair") return undefined;
    for (const name of this.#names.values()) if (name !== this.#self) return name;
    return undefined;
  }

  view(): GroupView {
    return {
      groupId: this.id,
      kind: this.facts.kind,
      name: this.facts.name,
      owner: this.facts.owner,
      members: [...this.#names.values()].sort(),
      epoch: this.epoch,
      suite: this.suite,
      epochAuthenticator: Buffer.from(this.#state.keySchedule.epochAuthenticator).toString("hex"),
    };
  }

  leafOf(name: AgentId): number | undefined {
    for (const [leafIndex, each] of this.#names) if (each === name) return leafIndex;
    return undefined;
  }

  /** The alias for the header (AAP-72) of the current epoch. */
  get contextId(): Uint8Array {
    return this.#contexts.get(this.epoch) ?? new Uint8Array();
  }
  /** The aliases under which messages of this group may arrive. */
  contextIds(): readonly Uint8Array[] {
    return [...this.#contexts.values()];
  }
  contextOf(epoch: bigint): Uint8Array | undefined {
    return this.#contexts.get(epoch);
  }

  /** True while the own leaf carries this certificate chain. */
  carries(identity: SigningIdentity): boolean {
    return sameChain(chainOf(this.#leaf(this.ownLeaf).credential), identity.chain);
  }

  /** Members whose credential is not good now. Remembered until trust or time change something. */
  unfitMembers(now: UnixMs): readonly UnfitMember[] {
    if (this.#fitTrust === this.#judge.trustVersion && now < this.#fitUntil) return [];
    const unfit: UnfitMember[] = [];
    let until = Number.POSITIVE_INFINITY;
    for (const [leafIndex, name] of this.#names) {
      if (leafIndex === this.ownLeaf) continue;
      try {
        until = Math.min(until, this.#judge.expiry(this.#leaf(leafIndex)));
      } catch (error) {
        const reason = CausewayError.from(error);
        unfit.push({ leafIndex, name, reason, forGood: !reason.retryable });
      }
    }
    if (unfit.length === 0) {
      this.#fitTrust = this.#judge.trustVersion;
      this.#fitUntil = until;
    }
    return unfit;
  }

  /** Encrypts application data; true in `reserve` says that a durable write has to come before it leaves. */
  async seal(plaintext: Uint8Array): Promise<{ readonly payload: Uint8Array; readonly reserve: boolean }> {
    const padded = this.#padded(plaintext.length + applicationOverheadBytes);
    const result = await createApplicationMessage(padded, plaintext, this.#impl);
    this.#state = { ...this.#state, secretTree: result.newState.secretTree };
    wipe(result.consumed);
    const { privateMessage } = result;
    const payload = encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage });
    const reserved = this.#reserved?.application.generation ?? 0;
    const reserve = this.#ownNode().application.generation > reserved;
    if (reserve) await this.reserve();
    return { payload, reserve };
  }

  /** Moves the ratchets that go to disk ahead of the ones in use. */
  async reserve(): Promise<void> {
    const own = this.#ownNode();
    const retention = { ...retentionConfig, retainKeysForGenerations: 1 };
    const ahead = own.application.generation + reservedGenerations;
    const [application] = await ratchetUntil(own.application, ahead, retention, this.#impl.kdf);
    this.#reserved = { handshake: own.handshake, application: { ...application, unusedGenerations: {} } };
  }

  /** The reservation did not reach the disk: the next message makes a new one. */
  dropReservation(): void {
    this.#reserved = undefined;
  }

  /** The ratchets of a leaf as they belong on disk. */
  storedNode(leafIndex: number): SecretTreeNode | undefined {
    const node = this.#state.secretTree[leafToNodeIndex(toLeafIndex(leafIndex))];
    if (node === undefined || leafIndex !== this.ownLeaf) return node;
    return { handshake: node.handshake, application: this.#reserved?.application ?? node.application };
  }

  /** Opens application data of the current or a former epoch. The keys are used up only when all checks pass. */
  async openApplication(
    message: PrivateMessage,
    source: SpiffeId,
  ): Promise<{ sender: AgentId; leafIndex: number; plaintext: Uint8Array }> {
    const past = message.epoch < this.epoch ? this.#state.historicalReceiverData.get(message.epoch) : undefined;
    if (message.epoch !== this.epoch && past === undefined) {
      throw refuse(
        "CAUSEWAY_E2EE_DECRYPT_FAILED",
        `epoch ${message.epoch} of the group is not kept; the current one is ${this.epoch}`,
      );
    }
    const { senderDataSecret } = past ?? this.#state.keySchedule;
    const { secretTree, ratchetTree, groupContext } = past ?? this.#state;
    const result = await mls(() =>
      unprotectPrivateMessage(
        senderDataSecret,
        message,
        secretTree,
        ratchetTree,
        groupContext,
        retentionConfig,
        this.#impl,
      ),
    );
    const { content } = result.content;
    if (content.contentType !== "application" || content.sender.senderType !== "member") {
      throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "expected application data of a member");
    }
    const { leafIndex } = content.sender;
    const sender = (past === undefined ? this.#names : this.#pastNames.get(message.epoch))?.get(leafIndex);
    const node = ratchetTree[leafToNodeIndex(toLeafIndex(leafIndex))];
    if (sender === undefined || node?.nodeType !== "leaf") {
      throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "the sender is not a member of the group");
    }
    requireSource(sender, source);
    this.#judge.verify(node.leaf);
    if (past === undefined) {
      this.#state = { ...this.#state, secretTree: result.tree };
    } else {
      const kept = new Map(this.#state.historicalReceiverData);
      kept.set(message.epoch, { ...past, secretTree: result.tree });
      this.#state = { ...this.#state, historicalReceiverData: kept };
    }
    wipe(result.consumed);
    return { sender, leafIndex, plaintext: content.applicationData };
  }

  /**
   * Makes a commit from the current epoch without taking it over. The own handshake key is used up at once, so that
   * another commit of this epoch never shares a key with it.
   */
  async buildCommit(
    proposals: readonly Proposal[],
    identity: SigningIdentity,
  ): Promise<Omit<PendingCommit, "welcomes"> & { readonly welcome: Welcome | undefined }> {
    const hasPath = proposals.length === 0 || proposals.some((each) => each.proposalType === "remove");
    const padded = this.#padded(this.#commitBytes(proposals, identity));
    const { state, impl, adopt } =
      hasPath && !this.carries(identity) ? rotating(padded, this.#impl, identity) : unchanged(padded, this.#impl);
    const { newState, commit, welcome, consumed } = await createCommit(
      { state, cipherSuite: impl },
      { extraProposals: [...proposals], ratchetTreeExtension: true },
    );
    const ownNode = leafToNodeIndex(toLeafIndex(this.ownLeaf));
    const { newTree } = await consumeRatchet(this.#state.secretTree, ownNode, "commit", this.#impl);
    this.#state = { ...this.#state, secretTree: newTree };
    return {
      epoch: this.epoch,
      bytes: encodeMlsMessage(commit),
      newState: adopt({ ...newState, clientConfig: this.#state.clientConfig }),
      hasPath,
      consumed,
      welcome,
    };
  }

  /** A private proposal to be removed; the member itself cannot commit it. */
  async buildLeave(): Promise<Uint8Array> {
    const padded = this.#padded(applicationOverheadBytes);
    const proposal: Proposal = { proposalType: "remove", remove: { removed: this.ownLeaf } };
    const { newState, message } = await createProposal(padded, false, proposal, this.#impl);
    this.#state = { ...this.#state, secretTree: newState.secretTree };
    return encodeMlsMessage(message);
  }

  /** Judges a commit of the current epoch and computes what follows, without taking it over. */
  async processCommit(message: PrivateMessage, source: SpiffeId | undefined): Promise<Advance> {
    let committerLeaf: number | undefined;
    let objection: string | undefined;
    const callback: IncomingMessageCallback = (incoming) => {
      if (incoming.kind !== "commit") return "reject";
      committerLeaf = incoming.senderLeafIndex;
      objection = objectionTo(
        incoming.proposals.map((each) => each.proposal),
        incoming.senderLeafIndex,
        this.facts,
        this.#names,
      );
      return objection === undefined ? "accept" : "reject";
    };
    const result = await mls(() => processPrivateMessage(this.#state, message, emptyPskIndex, this.#impl, callback));
    if (
      result.kind !== "newState" ||
      committerLeaf === undefined ||
      objection !== undefined ||
      result.actionTaken === "reject"
    ) {
      throw refuse(
        "CAUSEWAY_E2EE_DECRYPT_FAILED",
        `the commit breaks the rules of the group: ${objection ?? "it is not a commit of a member"}`,
      );
    }
    const committer = this.#names.get(committerLeaf);
    if (committer === undefined) throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "the committer is not a member");
    if (source !== undefined) requireSource(committer, source);
    const { newState, consumed } = result;
    const removed = newState.groupActiveState.kind === "removedFromGroup";
    const names = removed ? this.#names : verifiedNames(newState, this.#state, this.#names, this.#judge);
    return { newState, names, committer, removed, consumed };
  }

  /** Takes a proposal of another member: only its own departure is heard. */
  async processProposal(message: PrivateMessage, source: SpiffeId): Promise<boolean> {
    let heard: { leafIndex: number | undefined; removes: number | undefined } | undefined;
    const callback: IncomingMessageCallback = (incoming) => {
      if (incoming.kind === "proposal") {
        const { proposal, senderLeafIndex } = incoming.proposal;
        const removes =
          proposal.proposalType === "remove" && "remove" in proposal ? proposal.remove.removed : undefined;
        heard = { leafIndex: senderLeafIndex, removes };
      }
      // Proposals are never kept by the library: a commit of ours names what it does by value, so that a member that
      // missed the proposal can follow it.
      return "reject";
    };
    const result = await mls(() => processPrivateMessage(this.#state, message, emptyPskIndex, this.#impl, callback));
    const { leafIndex, removes } = heard ?? {};
    const name = leafIndex === undefined ? undefined : this.#names.get(leafIndex);
    if (result.kind !== "newState" || leafIndex === undefined || name === undefined) {
      throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "expected a proposal of a member");
    }
    requireSource(name, source);
    this.#state = { ...this.#state, secretTree: result.newState.secretTree };
    if (removes !== leafIndex) return false;
    this.leaving.add(leafIndex);
    return true;
  }

  /** Goes to the epoch that a commit of another member leads to. */
  adoptAdvance(advance: Advance, now: UnixMs): Promise<void> {
    return this.#adopt(advance.newState, advance.names, advance.consumed, now, false);
  }

  /** Goes to the epoch of an own commit that was accepted. */
  adoptPending(commit: Omit<PendingCommit, "welcomes">, now: UnixMs): Promise<void> {
    const { newState } = commit;
    const names = verifiedNames(newState, this.#state, this.#names, this.#judge);
    // Messages may have been opened since the commit was made: their keys have to stay used up.
    const kept = new Map(newState.historicalReceiverData);
    const ended = kept.get(this.epoch);
    if (ended !== undefined) kept.set(this.epoch, { ...ended, secretTree: this.#state.secretTree });
    return this.#adopt({ ...newState, historicalReceiverData: kept }, names, commit.consumed, now, commit.hasPath);
  }

  async #adopt(
    newState: ClientState,
    names: Names,
    consumed: readonly Uint8Array[],
    now: UnixMs,
    ownPath: boolean,
  ): Promise<void> {
    this.#pastNames.set(this.epoch, this.#names);
    const sent = this.sentInEpoch;
    this.#state = { ...newState, privatePath: withoutStaleKeys(newState) };
    this.#names = names;
    this.history.epochSince = now;
    this.history.sentBefore = ownPath ? 0 : this.history.sentBefore + sent;
    if (ownPath) this.history.ownSince = now;
    this.pending = undefined;
    this.leaving.clear();
    this.unfitSince = undefined;
    this.#fitTrust = -1;
    this.#reserved = undefined;
    wipe(consumed);
    await this.#rememberContext();
    for (const epoch of [...this.#contexts.keys()]) {
      if (epoch !== this.epoch && !newState.historicalReceiverData.has(epoch)) {
        this.#contexts.delete(epoch);
        this.#pastNames.delete(epoch);
      }
    }
  }

  async #rememberContext(): Promise<void> {
    const { exporterSecret, epochAuthenticator } = this.#state.keySchedule;
    const alias = await mlsExporter(
      exporterSecret,
      "causeway security context",
      epochAuthenticator,
      contextIdBytes,
      this.#impl,
    );
    this.#contexts.set(this.epoch, alias);
  }

  #padded(contentBytes: number): ClientState {
    const paddingConfig = { kind: "padUntilLength", padUntilLength: bucketFor(contentBytes) } as const;
    return { ...this.#state, clientConfig: { ...this.#state.clientConfig, paddingConfig } };
  }

  /** An upper bound of a commit's size, so that padding hides how many members were touched. */
  #commitBytes(proposals: readonly Proposal[], identity: SigningIdentity): number {
    const chainBytes = (chain: readonly Uint8Array[]) => chain.reduce((sum, each) => sum + each.length + 8, 0);
    let bytes = 1024 + chainBytes(identity.chain) + this.#state.ratchetTree.length * 100;
    for (const each of proposals) {
      if (each.proposalType === "add" && "add" in each)
        bytes += 600 + chainBytes(chainOf(each.add.keyPackage.leafNode.credential));
      else bytes += 16;
    }
    return bytes;
  }

  #ownNode(): SecretTreeNode {
    const node = this.#state.secretTree[leafToNodeIndex(toLeafIndex(this.ownLeaf))];
    if (node === undefined) throw refuse("CAUSEWAY_INTERNAL", "the group has no ratchet for its own leaf");
    return node;
  }

  #leaf(leafIndex: number): LeafNode {
    const node = this.#state.ratchetTree[leafToNodeIndex(toLeafIndex(leafIndex))];
    if (node?.nodeType !== "leaf") throw refuse("CAUSEWAY_INTERNAL", `the group has no leaf ${leafIndex}`);
    return node.leaf;
  }
}

function requireSource(name: AgentId, source: SpiffeId): void {
  if (name !== agentOf(source)) {
    throw refuse("CAUSEWAY_E2EE_SENDER_MISMATCH", `the header names ${source} as sender, the message is by ${name}`);
  }
}

/** Private keys of tree nodes that are blank now are of no use but to an attacker. */
function withoutStaleKeys(state: ClientState): ClientState["privatePath"] {
  const privateKeys: Record<number, Uint8Array> = {};
  for (const [index, key] of Object.entries(state.privatePath.privateKeys)) {
    if (state.ratchetTree[Number(index)] !== undefined) privateKeys[Number(index)] = key;
  }
  return { ...state.privatePath, privateKeys };
}

function unchanged(state: ClientState, impl: CiphersuiteImpl) {
  return { state, impl, adopt: (next: ClientState): ClientState => next };
}

function wipe(secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}

const contextIdBytes = 16;
