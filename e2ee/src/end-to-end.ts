/**
 * The end-to-end layer of one agent. Calls on one group are served one after the other; seals for one peer too, so that
 * only one group is made for it at a time. Order of waiting: peer or welcome before group, never the other way round.
 */
import { type AgentId, CausewayError, parseAgentId, refuse, type SpiffeId } from "@causeway/core-base";
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
import { Committer } from "./committer.ts";
import { CredentialJudge } from "./credentials.ts";
import { type Engine, inGroup } from "./engine.ts";
import type { Group } from "./group.ts";
import { GroupBook } from "./group-book.ts";
import type { PairPurpose } from "./group-facts.ts";
import { KeyPackages } from "./key-packages.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { Pairs } from "./pairs.ts";
import type { MlsIdentity } from "./ports.ts";
import { Receiver } from "./receiver.ts";
import { SealedStore } from "./sealed-store.ts";
import { signingIdentity } from "./signing-identity.ts";
import { StateVersion } from "./state-version.ts";
import { TopicGroups } from "./topic-groups.ts";
import { Upkeep } from "./upkeep.ts";

/** Key packages that one call makes. */
const packagesPerCallMax = 100;

/** Opens the end-to-end layer of one agent: reads its groups and key packages from the store. */
export async function createEndToEnd(options: EndToEndOptions): Promise<EndToEnd> {
  const endToEnd = new MlsEndToEnd(options);
  await endToEnd.load();
  return endToEnd;
}

class MlsEndToEnd implements EndToEnd {
  readonly #engine: Engine;
  readonly #version: StateVersion;
  readonly #pairs: Pairs;
  readonly #topics: TopicGroups;
  readonly #receiver: Receiver;
  readonly #renew: (mls: MlsIdentity) => void;
  #closed = false;

  constructor(options: EndToEndOptions) {
    const self = parseAgentId(options.agentId);
    const judge = new CredentialJudge(options.verifyLeaf, options.clock);
    let current = signingIdentity(options.mls, self, judge);
    this.#renew = (mls) => {
      current = signingIdentity(mls, self, judge);
    };
    const identity = () => current;
    const report = (event: EndToEndEvent): void => options.onEvent?.(event);
    const store = new SealedStore(options.store, options.stateKey);
    this.#version = new StateVersion(store, options.counter);
    const book = new GroupBook(store, this.#version, report);
    const { delivery, clock } = options;
    this.#engine = {
      options,
      self,
      suite: options.suite ?? 1,
      judge,
      book,
      shelf: new KeyPackages(store, judge),
      committer: new Committer({ book, delivery, clock, identity, report }),
      queue: new KeyedQueue(),
      report,
      identity,
      now: clock,
    };
    const upkeep = new Upkeep(this.#engine);
    this.#pairs = new Pairs(this.#engine, upkeep);
    this.#topics = new TopicGroups(this.#engine, upkeep);
    this.#receiver = new Receiver(this.#engine);
  }

  async load(): Promise<void> {
    const { book, judge, report, self, shelf } = this.#engine;
    await this.#version.load();
    await shelf.load();
    const largest = await book.load(judge, self);
    if (await this.#version.isRolledBack(largest)) {
      report({
        type: "state.rolled_back",
        code: "CAUSEWAY_E2EE_STATE_CORRUPT",
        text: "the stored state is older than what this agent has done; its groups and key packages are destroyed and made anew",
      });
      for (const group of book.all()) await book.drop(group, "the stored state was rolled back", "group.removed");
      await shelf.clear();
    }
    await this.#version.keep();
  }

  async keyPackages(count: number): Promise<{ packages: readonly Uint8Array[]; lastResort: Uint8Array }> {
    this.#checkOpen();
    if (!Number.isInteger(count) || count < 0 || count > packagesPerCallMax) {
      throw refuse("CAUSEWAY_MISUSE", `expected a count of 0 to ${packagesPerCallMax}, got ${count}`);
    }
    const { identity, now, shelf, suite } = this.#engine;
    const packages: Uint8Array[] = [];
    for (let i = 0; i < count; i++) packages.push(await shelf.make(identity(), suite, "stock"));
    const lastResort = await shelf.make(identity(), suite, "lastResort");
    await shelf.sweep(now());
    return { packages, lastResort };
  }

  async handOutKeyPackage(): Promise<Uint8Array> {
    this.#checkOpen();
    const { identity, now, shelf, suite } = this.#engine;
    const made = await shelf.make(identity(), suite, "handed");
    await shelf.sweep(now());
    return made;
  }

  async seal(peer: SpiffeId, plaintext: Uint8Array, purpose: PairPurpose = ""): Promise<readonly SealedFrame[]> {
    this.#checkOpen();
    return this.#pairs.seal(peer, plaintext, purpose);
  }

  async open(source: SpiffeId, securityContextId: Uint8Array, payload: Uint8Array): Promise<Opened> {
    this.#checkOpen();
    return this.#receiver.open(source, securityContextId, payload);
  }

  async createGroup(name: string): Promise<GroupView> {
    this.#checkOpen();
    return this.#topics.create(name);
  }

  async addMembers(groupId: string, agents: readonly AgentId[]): Promise<GroupChange> {
    this.#checkOpen();
    return this.#topics.add(groupId, agents);
  }

  async removeMembers(groupId: string, agents: readonly AgentId[]): Promise<GroupChange> {
    this.#checkOpen();
    return this.#topics.remove(groupId, agents);
  }

  async sealGroup(groupId: string, plaintext: Uint8Array): Promise<readonly SealedFrame[]> {
    this.#checkOpen();
    return this.#topics.seal(groupId, plaintext);
  }

  async leave(groupId: string): Promise<GroupChange> {
    this.#checkOpen();
    return this.#topics.leave(groupId);
  }

  groups(): readonly GroupView[] {
    return this.#engine.book.all().map((group) => group.view());
  }

  groupByName(name: string): GroupView | undefined {
    return this.#topics.byName(name);
  }

  async maintain(): Promise<readonly GroupChange[]> {
    this.#checkOpen();
    const { book, committer, now, report, shelf } = this.#engine;
    await shelf.sweep(now());
    const changes: GroupChange[] = [];
    for (const group of book.all()) {
      try {
        const done = await inGroup(this.#engine, group, async () => {
          if (group.closed) return [];
          if (group.facts.kind === "topic") return this.#topics.maintain(group);
          await this.#pairs.maintain(group);
          return [];
        });
        changes.push(...done);
      } catch (error) {
        // One group that cannot be served now, for example without a connection, does not keep the others from it.
        const { code, message } = CausewayError.from(error);
        report({ type: "upkeep.postponed", groupId: group.id, code, text: `maintenance is put off: ${message}` });
      }
    }
    return [...committer.takeLate(), ...changes];
  }

  trustChanged(): void {
    this.#engine.judge.trustChanged();
  }

  async rotate(mls: MlsIdentity): Promise<readonly GroupChange[]> {
    this.#checkOpen();
    this.#renew(mls);
    return this.maintain();
  }

  async forget(securityContextId: Uint8Array): Promise<void> {
    const group = this.#engine.book.byContext(securityContextId);
    if (group !== undefined) await this.#giveUp(group);
  }

  async forgetPeer(peer: AgentId): Promise<void> {
    for (const group of this.#engine.book.pairsWith(peer)) await this.#giveUp(group);
  }

  exportStatus(): EndToEndStatus {
    const { book, now, self, shelf, suite } = this.#engine;
    const at = now();
    return {
      agentId: self,
      protocol: "mls",
      suite,
      groups: book.all().map((group) => ({
        ...group.view(),
        sentInEpoch: group.sentInEpoch,
        epochSinceMs: at - group.history.epochSince,
      })),
      keyPackages: shelf.count,
      refused: this.#receiver.refused,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#engine.queue.idle();
    await this.#engine.book.settled();
  }

  #giveUp(group: Group): Promise<void> {
    return inGroup(this.#engine, group, () => this.#engine.book.drop(group, "the group was given up"));
  }

  #checkOpen(): void {
    if (this.#closed) throw refuse("CAUSEWAY_MISUSE", "the end-to-end layer was closed");
  }
}
