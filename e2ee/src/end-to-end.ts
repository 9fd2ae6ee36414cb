/**
 * The end-to-end layer of one agent. Calls on one group are served one after the other; seals for one peer too, so that
 * only one group is made for it at a time. Order of waiting: peer or welcome before group, never the other way round.
 */
import { randomBytes } from "node:crypto";
import {
  type AgentId,
  agentOf,
  CausewayError,
  defaults,
  isCausewayError,
  parseAgentId,
  refuse,
  type SpiffeId,
} from "@causeway/core-base";
import type {
  EndToEnd,
  EndToEndEvent,
  EndToEndOptions,
  EndToEndStatus,
  GroupChange,
  GroupView,
  Opened,
  SealedFrame,
} from "./api.ts";
import { Committer, type Plan, privateMessage } from "./committer.ts";
import { CredentialJudge } from "./credentials.ts";
import { clientConfig, Group, mls, type UnfitMember } from "./group.ts";
import { GroupBook } from "./group-book.ts";
import { factsExtension, type GroupFacts } from "./group-facts.ts";
import { KeyPackages, newKeyPackage } from "./key-packages.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import {
  createGroup,
  decodeMlsMessage,
  emptyPskIndex,
  joinGroup,
  type KeyPackage,
  type PrivateMessage,
  type Welcome,
} from "./library.ts";
import type { MlsIdentity, MlsSuite } from "./ports.ts";
import { SealedStore } from "./sealed-store.ts";
import { type SigningIdentity, signingIdentity } from "./signing-identity.ts";
import { StateVersion } from "./state-version.ts";
import { suiteImpl, suiteOf } from "./suites.ts";

/** New members that one commit adds (FACTS: larger batches make later commits expensive). */
export const addBatchMax = 100;
/** Agents that one `addMembers` call takes. */
export const membersMax = 1000;
/** Key packages that are tried before a peer counts as unreachable. */
const packageAttemptsMax = 3;
/** Shortest time after which the welcome of an unanswered pair is sent again. */
const welcomeRepeatMs = 1_000;
/** When keys cannot be updated, sending goes on up to this many times the usual number of messages. */
const updateOverdueFactor = 10;
/** Pairs in which nothing moved for this long are forgotten. */
const pairIdleMs = 7 * 86_400_000;

/** Opens the end-to-end layer of one agent: reads its groups and key packages from the store. */
export async function createEndToEnd(options: EndToEndOptions): Promise<EndToEnd> {
  const endToEnd = new MlsEndToEnd(options);
  await endToEnd.load();
  return endToEnd;
}

class MlsEndToEnd implements EndToEnd {
  readonly #options: EndToEndOptions;
  readonly #self: AgentId;
  readonly #suite: MlsSuite;
  readonly #judge: CredentialJudge;
  readonly #version: StateVersion;
  readonly #book: GroupBook;
  readonly #shelf: KeyPackages;
  readonly #committer: Committer;
  readonly #queue = new KeyedQueue();
  readonly #refused = new Map<string, number>();
  #identity: SigningIdentity;
  #heard = 0;
  #closed = false;

  constructor(options: EndToEndOptions) {
    this.#options = options;
    this.#self = parseAgentId(options.agentId);
    this.#suite = options.suite ?? 1;
    this.#judge = new CredentialJudge(options.verifyLeaf, options.clock);
    this.#identity = signingIdentity(options.mls, this.#self, this.#judge);
    const store = new SealedStore(options.store, options.stateKey);
    this.#version = new StateVersion(store, options.counter);
    const report = (event: EndToEndEvent): void => options.onEvent?.(event);
    this.#book = new GroupBook(store, this.#version, report);
    this.#shelf = new KeyPackages(store, this.#judge);
    this.#committer = new Committer({
      book: this.#book,
      delivery: options.delivery,
      clock: options.clock,
      identity: () => this.#identity,
      report,
    });
  }

  async load(): Promise<void> {
    await this.#version.load();
    await this.#shelf.load();
    const largest = await this.#book.load(this.#judge, this.#self);
    if (await this.#version.isRolledBack(largest)) {
      this.#report({
        type: "state.rolled_back",
        code: "CAUSEWAY_E2EE_STATE_CORRUPT",
        text: "the stored state is older than what this agent has done; its groups and key packages are destroyed and made anew",
      });
      for (const group of this.#book.all())
        await this.#book.drop(group, "the stored state was rolled back", "group.removed");
      await this.#shelf.clear();
    }
    await this.#version.keep();
  }

  async keyPackages(count: number): Promise<{ packages: readonly Uint8Array[]; lastResort: Uint8Array }> {
    this.#checkOpen();
    if (!Number.isInteger(count) || count < 0 || count > packagesPerCallMax) {
      throw refuse("CAUSEWAY_MISUSE", `expected a count of 0 to ${packagesPerCallMax}, got ${count}`);
    }
    const packages: Uint8Array[] = [];
    for (let i = 0; i < count; i++) packages.push(await this.#shelf.make(this.#identity, this.#suite, false));
    const lastResort = await this.#shelf.make(this.#identity, this.#suite, true);
    await this.#shelf.sweep(this.#now());
    return { packages, lastResort };
  }

  async seal(peer: AgentId, plaintext: Uint8Array): Promise<readonly SealedFrame[]> {
    this.#checkOpen();
    if (peer === this.#self) throw refuse("CAUSEWAY_MISUSE", "an agent cannot send to itself");
    return this.#queue.run(`peer ${peer}`, async () => {
      for (;;) {
        const group = (await this.#usablePair(peer)) ?? (await this.#establish(peer));
        const frames = await this.#inGroup(group, () =>
          group.closed ? undefined : this.#sealInPair(group, plaintext),
        );
        if (frames !== undefined) return frames;
      }
    });
  }

  async open(source: SpiffeId, securityContextId: Uint8Array, payload: Uint8Array): Promise<Opened> {
    this.#checkOpen();
    try {
      const message = privateMessage(payload);
      if (message !== undefined) return await this.#openPrivate(source, securityContextId, message, payload);
      const welcome = welcomeIn(payload);
      if (welcome === undefined) throw refuse("CAUSEWAY_PAYLOAD_NOT_MLS", "expected an MLS private message or welcome");
      return await this.#queue.run(`welcome ${agentOf(source)}`, () =>
        this.#openWelcome(agentOf(source), securityContextId, welcome),
      );
    } catch (error) {
      throw this.#noteRefusal(error, source);
    }
  }

  async createGroup(name: string): Promise<GroupView> {
    this.#checkOpen();
    const group = await this.#newGroup({ kind: "topic", name, owner: this.#self }, this.#suite);
    await this.#book.add(group);
    this.#report({ type: "group.created", groupId: group.id, text: `created the group of ${name}` });
    return group.view();
  }

  async addMembers(groupId: string, agents: readonly AgentId[]): Promise<GroupChange> {
    const group = this.#topicGroup(groupId);
    if (!group.isOwner)
      throw refuse("CAUSEWAY_TOPIC_NOT_ALLOWED", `only ${group.facts.owner} can add members to this group`);
    const wanted = [...new Set(agents)].filter((agent) => agent !== this.#self);
    if (wanted.length > membersMax)
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${membersMax} agents at a time, got ${wanted.length}`);
    const refused: { agent: AgentId; code: CausewayError["code"]; message: string }[] = [];
    const checked: { agent: AgentId; keyPackage: KeyPackage }[] = [];
    const fetchOne = async (agent: AgentId): Promise<void> => {
      try {
        checked.push({ agent, keyPackage: await this.#fetchKeyPackage(agent, group.suite) });
      } catch (error) {
        const { code, message } = CausewayError.from(error);
        refused.push({ agent, code, message });
      }
    };
    for (let at = 0; at < wanted.length; at += fetchesAtOnce)
      await Promise.all(wanted.slice(at, at + fetchesAtOnce).map(fetchOne));
    return this.#inGroup(group, async () => {
      const changes: GroupChange[] = [];
      for (let at = 0; at < checked.length; at += addBatchMax) {
        const added = checked.slice(at, at + addBatchMax);
        const change = await this.#committer.commit(group, () => {
          // Who is a member already has lost its state: the old leaf goes in the same commit. So do unfit members.
          const removed = new Set([...this.#unfitForGood(group), ...group.leaving]);
          for (const { agent } of added) {
            const leaf = group.leafOf(agent);
            if (leaf !== undefined) removed.add(leaf);
          }
          const proposals = [
            ...removals([...removed]),
            ...added.map(({ keyPackage }) => ({ proposalType: "add" as const, add: { keyPackage } })),
          ];
          return { proposals, added };
        });
        for (const { keyPackage } of added) await this.#shelf.markUsed(keyPackage);
        if (change !== undefined) changes.push(change);
      }
      return merged(group, changes, refused);
    });
  }

  async removeMembers(groupId: string, agents: readonly AgentId[]): Promise<GroupChange> {
    const group = this.#topicGroup(groupId);
    return this.#inGroup(group, async () => {
      const change = await this.#committer.commit(group, () => {
        const leaves = agents.filter((agent) => agent !== this.#self).map((agent) => group.leafOf(agent));
        return removalPlan(leaves.filter((leaf) => leaf !== undefined));
      });
      return merged(group, change === undefined ? [] : [change]);
    });
  }

  async sealGroup(groupId: string, plaintext: Uint8Array): Promise<readonly SealedFrame[]> {
    const group = this.#topicGroup(groupId);
    return this.#inGroup(group, async () => {
      this.#checkUsable(group);
      const frames: SealedFrame[] = [];
      const unfit = this.#unfit(group);
      if (unfit.length > 0) {
        const kept = this.#mayRemove(group) ? unfit.find((each) => !each.forGood) : unfit[0];
        if (kept !== undefined) throw kept.reason;
        frames.push(...((await this.#removeUnfit(group))?.frames ?? []));
      }
      frames.push(...(await this.#updateIfDue(group)), await this.#sealIn(group, plaintext));
      return frames;
    });
  }

  async leave(groupId: string): Promise<GroupChange> {
    const group = this.#topicGroup(groupId);
    return this.#inGroup(group, async () => {
      const view = group.view();
      let frames: readonly SealedFrame[] = [];
      if (group.isOwner) {
        // Without its owner a group cannot change: it ends for everybody.
        const others = () => [...group.names.keys()].filter((leaf) => leaf !== group.ownLeaf);
        if (group.broken === undefined)
          frames = (await this.#committer.commit(group, () => removalPlan(others())))?.frames ?? [];
      } else if (group.broken === undefined) {
        const payload = await group.buildLeave();
        frames = [{ kind: "proposal", securityContextId: group.contextId, payload }];
      }
      await this.#book.drop(group, "this agent left the group");
      return { group: view, frames, welcomes: [], refused: [] };
    });
  }

  groups(): readonly GroupView[] {
    return this.#book.all().map((group) => group.view());
  }

  groupByName(name: string): GroupView | undefined {
    const named = this.#book
      .all()
      .filter((group) => group.facts.kind === "topic" && group.facts.name === name && group.broken === undefined);
    named.sort((a, b) => b.history.epochSince - a.history.epochSince);
    return named[0]?.view();
  }

  async maintain(): Promise<readonly GroupChange[]> {
    this.#checkOpen();
    await this.#shelf.sweep(this.#now());
    const changes: GroupChange[] = [];
    for (const group of this.#book.all()) {
      try {
        const done = await this.#inGroup(group, () => this.#maintainGroup(group));
        changes.push(...done);
      } catch (error) {
        // One group that cannot be served now, for example without a connection, does not keep the others from it.
        const { code, message } = CausewayError.from(error);
        this.#report({ type: "message.refused", groupId: group.id, code, text: `maintenance is put off: ${message}` });
      }
    }
    return [...this.#committer.takeLate(), ...changes];
  }

  trustChanged(): void {
    this.#judge.trustChanged();
  }

  async rotate(mlsIdentity: MlsIdentity): Promise<readonly GroupChange[]> {
    this.#checkOpen();
    this.#identity = signingIdentity(mlsIdentity, this.#self, this.#judge);
    return this.maintain();
  }

  async forget(securityContextId: Uint8Array): Promise<void> {
    const group = this.#book.byContext(securityContextId);
    if (group !== undefined) await this.#inGroup(group, () => this.#book.drop(group, "the group was given up"));
  }

  async forgetPeer(peer: AgentId): Promise<void> {
    for (const group of this.#book.pairsWith(peer))
      await this.#inGroup(group, () => this.#book.drop(group, "the group was given up"));
  }

  exportStatus(): EndToEndStatus {
    const now = this.#now();
    return {
      agentId: this.#self,
      protocol: "mls",
      suite: this.#suite,
      groups: this.#book.all().map((group) => ({
        ...group.view(),
        sentInEpoch: group.sentInEpoch,
        epochSinceMs: now - group.history.epochSince,
      })),
      keyPackages: this.#shelf.count,
      refused: Object.fromEntries(this.#refused),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue.idle();
    await this.#book.settled();
  }

  async #openPrivate(
    source: SpiffeId,
    context: Uint8Array,
    message: PrivateMessage,
    payload: Uint8Array,
  ): Promise<Opened> {
    const id = Buffer.from(message.groupId).toString("hex");
    if (this.#book.get(id) === undefined) await this.#queue.run(`welcome ${agentOf(source)}`, async () => undefined);
    const group = this.#book.get(id);
    if (group === undefined) throw unknownContext("this agent is not a member of the group");
    return this.#inGroup(group, async () => {
      if (group.closed) throw unknownContext("the group was closed");
      if (message.epoch > group.epoch) await this.#committer.catchUp(group);
      if (group.closed) return { kind: "handshake", change: "removed", group: group.view() };
      if (message.epoch > group.epoch)
        throw unknownContext(`the message is of epoch ${message.epoch}, the group is in ${group.epoch}`);
      const expected = group.contextOf(message.epoch);
      if (expected !== undefined && Buffer.compare(expected, context) !== 0) {
        // Same group and epoch, other secrets: the members were told different commits.
        this.#report({
          type: "group.forked",
          groupId: id,
          peer: source,
          code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN",
          text: `context id of epoch ${message.epoch} differs`,
        });
        throw unknownContext(`the sender's epoch ${message.epoch} is another one than this agent's`);
      }
      switch (message.contentType) {
        case "application":
          return this.#openApplication(group, message, source);
        case "commit":
          return this.#openCommit(group, message, payload, source);
        case "proposal":
          return this.#openProposal(group, message, source);
      }
    });
  }

  async #openApplication(group: Group, message: PrivateMessage, source: SpiffeId): Promise<Opened> {
    const current = message.epoch === group.epoch;
    const { sender, leafIndex, plaintext } = await group.openApplication(message, source);
    group.lastHeard = ++this.#heard;
    if (!group.history.confirmed) {
      group.history.confirmed = true;
      group.history.welcome = undefined;
      await this.#book.saved(group);
    }
    // The used key is gone from the disk before the content is delivered: no replay after a restart.
    if (current) await this.#book.records(group).saveRatchets(leafIndex);
    return { kind: "application", sender, plaintext, group: group.view() };
  }

  async #openCommit(group: Group, message: PrivateMessage, payload: Uint8Array, source: SpiffeId): Promise<Opened> {
    const known: Opened = { kind: "handshake", change: "known", group: group.view() };
    if (message.epoch < group.epoch) return known;
    const own = group.pending;
    if (own !== undefined && Buffer.compare(own.bytes, payload) === 0) {
      await this.#committer.settle(group);
      return known;
    }
    await this.#committer.apply(group, message, agentOf(source));
    return { kind: "handshake", change: group.closed ? "removed" : "advanced", group: group.view() };
  }

  async #openProposal(group: Group, message: PrivateMessage, source: SpiffeId): Promise<Opened> {
    if (message.epoch < group.epoch) return { kind: "handshake", change: "known", group: group.view() };
    const leaves = await group.processProposal(message, source);
    return { kind: "handshake", change: leaves ? "pending" : "known", group: group.view() };
  }

  async #openWelcome(source: AgentId, context: Uint8Array, welcome: Welcome): Promise<Opened> {
    const suite = suiteOf(welcome.cipherSuite);
    const own = await this.#shelf.find(welcome.secrets.map((each) => each.newMember));
    if (own === undefined) {
      // Welcomes are repeated until they are answered.
      const known = this.#book.byContext(context);
      if (known?.leafOf(source) !== undefined) return { kind: "handshake", change: "known", group: known.view() };
      throw unknownContext("the welcome is for a key package that this agent does not have any more");
    }
    const impl = await suiteImpl(suite);
    const state = await mls(() =>
      joinGroup(
        welcome,
        own.publicPackage,
        own.privatePackage,
        emptyPskIndex,
        impl,
        undefined,
        undefined,
        clientConfig(this.#judge),
      ),
    );
    const now = this.#now();
    const history = { epochSince: now, ownSince: now, sentBefore: 0, confirmed: true, welcome: undefined };
    const group = await Group.open({ state, history, impl, judge: this.#judge, self: this.#self });
    this.#checkWelcome(group, source);
    const held = this.#book.get(group.id);
    if (held !== undefined && held.epoch >= group.epoch)
      return { kind: "handshake", change: "known", group: held.view() };
    if (held !== undefined) await this.#inGroup(held, () => this.#book.drop(held, "the agent was invited again"));
    group.lastHeard = ++this.#heard;
    await this.#book.add(group);
    await this.#shelf.use(own);
    if (group.facts.kind === "pair") await this.#book.limitPairs(source, group);
    this.#report({
      type: "group.joined",
      groupId: group.id,
      peer: source,
      text: `joined a group of ${group.facts.owner} at epoch ${group.epoch}`,
    });
    return { kind: "handshake", change: "joined", group: group.view() };
  }

  #checkWelcome(group: Group, source: AgentId): void {
    const { kind, owner } = group.facts;
    if (group.leafOf(source) === undefined || (kind === "pair" && (owner !== source || group.names.size !== 2))) {
      throw refuse(
        "CAUSEWAY_E2EE_SENDER_MISMATCH",
        `the header names ${source} as sender, the welcome is for a ${kind} of ${owner}`,
      );
    }
    if (group.leafOf(owner) === undefined)
      throw refuse("CAUSEWAY_E2EE_DECRYPT_FAILED", "the owner is not a member of the group");
  }

  /** The pair to send in, without groups that hold an unfit member or an outdated own certificate. */
  async #usablePair(peer: AgentId): Promise<Group | undefined> {
    const usable: Group[] = [];
    for (const group of this.#book.pairsWith(peer)) {
      const [unfit] = this.#unfit(group);
      if (unfit?.forGood === false) throw unfit.reason;
      if (unfit !== undefined || group.broken !== undefined) {
        await this.#inGroup(group, () =>
          this.#book.drop(group, unfit?.reason.message ?? group.broken ?? "the group is broken"),
        );
      } else if (group.carries(this.#identity)) {
        usable.push(group);
      }
    }
    // The peer has the groups in which it answered, most certainly the one heard last; the one heard last by both sides
    // of a concurrent creation becomes the same with the first answer.
    usable.sort(
      (a, b) =>
        Number(b.history.confirmed) - Number(a.history.confirmed) ||
        b.lastHeard - a.lastHeard ||
        b.history.epochSince - a.history.epochSince ||
        (a.id < b.id ? -1 : 1),
    );
    return usable[0];
  }

  async #establish(peer: AgentId): Promise<Group> {
    const keyPackage = await this.#fetchKeyPackage(peer, this.#suite);
    const group = await this.#newGroup({ kind: "pair", name: "", owner: this.#self }, this.#suite);
    await this.#book.add(group);
    try {
      await this.#committer.commit(group, () => ({
        proposals: [{ proposalType: "add", add: { keyPackage } }],
        added: [{ agent: peer, keyPackage }],
      }));
    } catch (error) {
      await this.#book.drop(group, "the group could not be established");
      throw error;
    }
    await this.#shelf.markUsed(keyPackage);
    await this.#book.limitPairs(peer, group);
    this.#report({ type: "group.created", groupId: group.id, peer, text: `created a group with ${peer}` });
    return group;
  }

  async #newGroup(facts: GroupFacts, suite: MlsSuite): Promise<Group> {
    const impl = await suiteImpl(suite);
    const { publicPackage, privatePackage } = await newKeyPackage(this.#identity, suite, false);
    const id = new Uint8Array(randomBytes(groupIdBytes));
    const state = await createGroup(
      id,
      publicPackage,
      privatePackage,
      [factsExtension(facts)],
      impl,
      clientConfig(this.#judge),
    );
    const now = this.#now();
    const history = {
      epochSince: now,
      ownSince: now,
      sentBefore: 0,
      confirmed: facts.kind === "topic",
      welcome: undefined,
    };
    return Group.open({ state, history, impl, judge: this.#judge, self: this.#self });
  }

  async #fetchKeyPackage(agent: AgentId, suite: MlsSuite): Promise<KeyPackage> {
    let last: unknown;
    for (let attempt = 0; attempt < packageAttemptsMax; attempt++) {
      const fetched = await this.#options.delivery.fetchKeyPackage(agent, suite);
      try {
        return await this.#shelf.check(fetched, agent, suite, this.#now());
      } catch (error) {
        last = error;
        const { code, message } = CausewayError.from(error);
        this.#report({ type: "key_package.refused", peer: agent, code, text: message });
        if (!isCausewayError(error) || error.code !== "CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED") break;
      }
    }
    throw last;
  }

  async #sealInPair(group: Group, plaintext: Uint8Array): Promise<readonly SealedFrame[]> {
    const frames: SealedFrame[] = [];
    const now = this.#now();
    const { welcome } = group.history;
    if (welcome !== undefined && now - group.lastWelcome >= welcomeRepeatMs) {
      group.lastWelcome = now;
      frames.push({ kind: "welcome", securityContextId: group.contextId, payload: welcome });
    }
    if (group.history.confirmed) frames.push(...(await this.#updateIfDue(group)));
    frames.push(await this.#sealIn(group, plaintext));
    return frames;
  }

  async #sealIn(group: Group, plaintext: Uint8Array): Promise<SealedFrame> {
    this.#checkUsable(group);
    const { payload, reserve } = await group.seal(plaintext);
    if (reserve) await this.#book.records(group).saveReservation();
    return { kind: "application", securityContextId: group.contextId, payload };
  }

  /** Updates the own keys by time and number (AGP-35). A delivery service out of reach puts it off, within a bound. */
  async #updateIfDue(group: Group): Promise<readonly SealedFrame[]> {
    if (!this.#updateDue(group)) return [];
    try {
      const change = await this.#committer.commit(group, () =>
        this.#updateDue(group) ? { proposals: [] } : undefined,
      );
      return change?.frames ?? [];
    } catch (error) {
      const overdue = group.sentWithOwnKey >= this.#updateMessages() * updateOverdueFactor;
      if (overdue || group.closed || group.broken !== undefined || !CausewayError.from(error).retryable) throw error;
      return [];
    }
  }

  #updateDue(group: Group): boolean {
    if (group.alone) return false;
    const age = this.#now() - group.history.ownSince;
    const rotated = group.facts.kind === "topic" && !group.carries(this.#identity);
    return (
      rotated ||
      group.sentWithOwnKey >= this.#updateMessages() ||
      age >= (this.#options.updateMs ?? defaults.mlsUpdateMs)
    );
  }

  async #maintainGroup(group: Group): Promise<readonly GroupChange[]> {
    if (group.closed) return [];
    if (group.facts.kind === "pair") {
      const idle = this.#now() - group.history.epochSince > pairIdleMs;
      const unfit = this.#unfit(group).find((each) => each.forGood);
      if (idle || unfit !== undefined || group.broken !== undefined) {
        await this.#book.drop(group, unfit?.reason.message ?? group.broken ?? "the group was not used for long");
      } else {
        await this.#committer.settle(group);
      }
      return [];
    }
    if (group.broken !== undefined) return this.#rebuild(group);
    await this.#committer.settle(group);
    const changes: GroupChange[] = [];
    const removed = this.#mayRemove(group) ? await this.#removeUnfit(group) : undefined;
    if (removed !== undefined) changes.push(removed);
    const updated = await this.#committer.commit(group, () => (this.#updateDue(group) ? { proposals: [] } : undefined));
    if (updated !== undefined) changes.push(updated);
    return changes;
  }

  /** A topic group that cannot go on is made anew by its owner; the others wait for the new welcome. */
  async #rebuild(group: Group): Promise<readonly GroupChange[]> {
    if (!group.isOwner) return [];
    const members = [...group.names.values()].filter((name) => name !== this.#self);
    const view = await this.createGroup(group.facts.name);
    await this.#book.drop(group, group.broken ?? "the group was made anew");
    return [await this.addMembers(view.groupId, members)];
  }

  /** The owner removes at once, any member after the grace time (C-22). Departures are for the owner only. */
  #mayRemove(group: Group): boolean {
    if (group.isOwner) return true;
    const since = group.unfitSince;
    return since !== undefined && this.#now() - since >= (this.#options.revocationGraceMs ?? revocationGraceMs);
  }

  #removeUnfit(group: Group): Promise<GroupChange | undefined> {
    return this.#committer.commit(group, () => {
      const leaves = new Set(this.#unfitForGood(group));
      if (group.isOwner) for (const leaf of group.leaving) leaves.add(leaf);
      return removalPlan([...leaves]);
    });
  }

  #unfitForGood(group: Group): readonly number[] {
    return this.#unfit(group)
      .filter((each) => each.forGood)
      .map((each) => each.leafIndex);
  }

  #unfit(group: Group): readonly UnfitMember[] {
    const unfit = group.unfitMembers(this.#now());
    if (unfit.length > 0 && group.unfitSince === undefined) {
      group.unfitSince = this.#now();
      for (const { name, reason } of unfit) {
        this.#report({
          type: "member.revoked",
          groupId: group.id,
          peer: name,
          code: reason.code,
          text: reason.message,
        });
      }
    }
    return unfit;
  }

  #checkUsable(group: Group): void {
    if (group.closed) throw refuse("CAUSEWAY_E2EE_GROUP_UNKNOWN", "this agent is not a member of the group any more");
    if (group.broken !== undefined) {
      throw refuse(
        "CAUSEWAY_E2EE_CONTEXT_UNKNOWN",
        `the group cannot be used until its owner makes it anew: ${group.broken}`,
      );
    }
  }

  #topicGroup(groupId: string): Group {
    this.#checkOpen();
    const group = this.#book.named(groupId);
    if (group.facts.kind !== "topic") throw refuse("CAUSEWAY_MISUSE", "expected a topic group, got a pair");
    return group;
  }

  #inGroup<T>(group: Group, task: () => Promise<T> | T): Promise<T> {
    return this.#queue.run(`group ${group.id}`, async () => task());
  }

  #updateMessages(): number {
    return this.#options.updateMessages ?? defaults.mlsUpdateMessages;
  }

  #now() {
    return this.#options.clock();
  }

  #report(event: EndToEndEvent): void {
    this.#options.onEvent?.(event);
  }

  #noteRefusal(error: unknown, source: SpiffeId): CausewayError {
    const known = CausewayError.from(error);
    this.#refused.set(known.code, (this.#refused.get(known.code) ?? 0) + 1);
    this.#report({ type: "message.refused", peer: source, code: known.code, text: known.message });
    return known;
  }

  #checkOpen(): void {
    if (this.#closed) throw refuse("CAUSEWAY_MISUSE", "the end-to-end layer was closed");
  }
}

function removals(leaves: readonly number[]) {
  return leaves.map((removed) => ({ proposalType: "remove" as const, remove: { removed } }));
}

function removalPlan(leaves: readonly number[]): Plan | undefined {
  return leaves.length === 0 ? undefined : { proposals: removals(leaves) };
}

function merged(group: Group, changes: readonly GroupChange[], refused: GroupChange["refused"] = []): GroupChange {
  return {
    group: group.view(),
    frames: changes.flatMap((each) => each.frames),
    welcomes: changes.flatMap((each) => each.welcomes),
    refused,
  };
}

function welcomeIn(payload: Uint8Array): Welcome | undefined {
  try {
    const decoded = decodeMlsMessage(payload, 0);
    if (decoded === undefined || decoded[1] !== payload.length || decoded[0].wireformat !== "mls_welcome")
      return undefined;
    return decoded[0].welcome;
  } catch {
    // The decoder throws on some malformed lengths: it is not a welcome.
    return undefined;
  }
}

function unknownContext(why: string): CausewayError {
  return refuse("CAUSEWAY_E2EE_CONTEXT_UNKNOWN", `${why}; a new group has to be established`);
}

const fetchesAtOnce = 8;
const groupIdBytes = 16;
const packagesPerCallMax = 100;
const revocationGraceMs = 60_000;
