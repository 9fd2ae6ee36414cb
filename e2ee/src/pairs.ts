/**
 * Two-member groups, one for each peer and purpose: made with the first message, used as long as both certificates are
 * good. Both sides may make one at the same time; both groups stay usable, and sending settles on the one heard last.
 */
import { type AgentId, agentOf, instanceOf, refuse, type SpiffeId, withInstance } from "@causeway/core-base";
import type { SealedFrame } from "./api.ts";
import { type Engine, inGroup, isOrdered } from "./engine.ts";
import { fetchKeyPackage, foundGroup } from "./founding.ts";
import type { Group } from "./group.ts";
import type { PairPurpose } from "./group-facts.ts";
import type { Upkeep } from "./upkeep.ts";

/** Shortest time after which the welcome of an unanswered pair is sent again. */
const welcomeRepeatMs = 1_000;
/** Pairs in which nothing moved for this long are forgotten. */
const pairIdleMs = 7 * 86_400_000;

export class Pairs {
  readonly #engine: Engine;
  readonly #upkeep: Upkeep;

  constructor(engine: Engine, upkeep: Upkeep) {
    this.#engine = engine;
    this.#upkeep = upkeep;
  }

  async seal(target: SpiffeId, plaintext: Uint8Array, purpose: PairPurpose): Promise<readonly SealedFrame[]> {
    const peer = agentOf(target);
    if (peer === this.#engine.self) throw refuse("CAUSEWAY_MISUSE", "an agent cannot send to itself");
    return this.#engine.queue.run(`peer ${peer} ${purpose}`, async () => {
      for (;;) {
        const group =
          (await this.#usablePair(peer, instanceOf(target), purpose)) ?? (await this.#establish(target, purpose));
        const frames = await inGroup(this.#engine, group, () =>
          group.closed ? undefined : this.#sealInPair(group, plaintext),
        );
        if (frames !== undefined) return frames;
      }
    });
  }

  /** Forgets what is of no use any more and settles what is open. */
  async maintain(group: Group): Promise<void> {
    const { book, committer } = this.#engine;
    const idle = this.#engine.now() - group.history.epochSince > pairIdleMs;
    const unfit = this.#upkeep.unfit(group).find((each) => each.forGood);
    if (idle || unfit !== undefined || group.broken !== undefined) {
      await book.drop(group, unfit?.reason.message ?? group.broken ?? "the group was not used for long");
    } else {
      await committer.settle(group);
    }
  }

  /** The pair to send in, without groups that hold an unfit member or an outdated own certificate. */
  async #usablePair(peer: AgentId, instance: string | undefined, purpose: PairPurpose): Promise<Group | undefined> {
    const usable: Group[] = [];
    for (const group of this.#engine.book.pairsWith(peer)) {
      if (group.facts.name !== purpose) continue;
      if (instance !== undefined && group.history.peerInstance !== instance) continue;
      const [unfit] = this.#upkeep.unfit(group);
      if (unfit?.forGood === false) throw unfit.reason;
      if (unfit !== undefined || group.broken !== undefined) {
        await inGroup(this.#engine, group, () =>
          this.#engine.book.drop(group, unfit?.reason.message ?? group.broken ?? "the group is broken"),
        );
      } else if (
        group.carries(this.#engine.identity()) &&
        (isOrdered(this.#engine, group) || !this.#upkeep.updateDue(group))
      ) {
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

  async #establish(target: SpiffeId, purpose: PairPurpose): Promise<Group> {
    const peer = agentOf(target);
    const { keyPackage, instance } = await fetchKeyPackage(this.#engine, target, this.#engine.suite);
    const group = await foundGroup(
      this.#engine,
      { kind: "pair", name: purpose, owner: this.#engine.self },
      this.#engine.suite,
    );
    group.history.peerInstance = instance;
    await this.#engine.book.add(group);
    try {
      await this.#engine.committer.commit(group, () => ({
        proposals: [{ proposalType: "add", add: { keyPackage } }],
        added: [{ agent: peer, keyPackage }],
      }));
    } catch (error) {
      await this.#engine.book.drop(group, "the group could not be established");
      throw error;
    }
    await this.#engine.shelf.markUsed(keyPackage);
    await this.#engine.book.limitPairs(peer, group);
    this.#engine.report({ type: "group.created", groupId: group.id, peer, text: `created a group with ${peer}` });
    return group;
  }

  async #sealInPair(group: Group, plaintext: Uint8Array): Promise<readonly SealedFrame[]> {
    const frames: SealedFrame[] = [];
    const now = this.#engine.now();
    const { welcome } = group.history;
    if (welcome !== undefined && now - group.lastWelcome >= welcomeRepeatMs) {
      group.lastWelcome = now;
      frames.push({ kind: "welcome", securityContextId: group.contextId, payload: welcome });
    }
    if (group.history.confirmed && isOrdered(this.#engine, group))
      frames.push(...(await this.#upkeep.updateIfDue(group)));
    frames.push(await this.#upkeep.sealIn(group, plaintext));
    const { peer } = group;
    if (peer === undefined) return frames;
    const { peerInstance } = group.history;
    const to = peerInstance === undefined ? peer : withInstance(peer, peerInstance);
    return frames.map((frame) => ({ ...frame, to }));
  }
}
