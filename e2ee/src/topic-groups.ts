/**
 * Groups of many under one owner: the owner adds and removes, members update their keys, leave, and remove the revoked
 * when the owner does not. A group that cannot go on is made anew by its owner.
 */
import { type AgentId, CausewayError, refuse } from "@causeway/core-base";
import type { GroupChange, GroupView, SealedFrame } from "./api.ts";
import { type Engine, inGroup } from "./engine.ts";
import { fetchKeyPackage, foundGroup } from "./founding.ts";
import type { Group } from "./group.ts";
import type { KeyPackage } from "./library.ts";
import { removalPlan, removals, type Upkeep } from "./upkeep.ts";

/** New members that one commit adds: larger batches make later commits expensive. */
const addBatchMax = 100;
/** Agents that one call adds. */
const membersMax = 1000;
const fetchesAtOnce = 8;
/** How long a member other than the owner trusts its epoch when it sends. */
const epochCheckMs = 30_000;

export class TopicGroups {
  readonly #engine: Engine;
  readonly #upkeep: Upkeep;

  constructor(engine: Engine, upkeep: Upkeep) {
    this.#engine = engine;
    this.#upkeep = upkeep;
  }

  async create(name: string): Promise<GroupView> {
    const group = await foundGroup(this.#engine, { kind: "topic", name, owner: this.#engine.self }, this.#engine.suite);
    await this.#engine.book.add(group);
    this.#engine.report({ type: "group.created", groupId: group.id, text: `created the group of ${name}` });
    return group.view();
  }

  async add(groupId: string, agents: readonly AgentId[]): Promise<GroupChange> {
    const group = this.#topicGroup(groupId);
    if (!group.isOwner)
      throw refuse("CAUSEWAY_TOPIC_NOT_ALLOWED", `only ${group.facts.owner} can add members to this group`);
    const wanted = [...new Set(agents)].filter((agent) => agent !== this.#engine.self);
    if (wanted.length > membersMax)
      throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${membersMax} agents at a time, got ${wanted.length}`);
    const refused: { agent: AgentId; code: CausewayError["code"]; message: string }[] = [];
    const checked: { agent: AgentId; keyPackage: KeyPackage }[] = [];
    const fetchOne = async (agent: AgentId): Promise<void> => {
      try {
        const { keyPackage } = await fetchKeyPackage(this.#engine, agent, group.suite);
        checked.push({ agent, keyPackage });
      } catch (error) {
        const { code, message } = CausewayError.from(error);
        refused.push({ agent, code, message });
      }
    };
    for (let at = 0; at < wanted.length; at += fetchesAtOnce)
      await Promise.all(wanted.slice(at, at + fetchesAtOnce).map(fetchOne));
    return inGroup(this.#engine, group, async () => {
      const changes: GroupChange[] = [];
      for (let at = 0; at < checked.length; at += addBatchMax) {
        const added = checked.slice(at, at + addBatchMax);
        const change = await this.#engine.committer.commit(group, () => {
          // Who is a member already has lost its state: the old leaf goes in the same commit. So do unfit members.
          const removed = new Set([...this.#upkeep.unfitForGood(group), ...group.leaving]);
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
        for (const { keyPackage } of added) await this.#engine.shelf.markUsed(keyPackage);
        if (change !== undefined) changes.push(change);
      }
      return merged(group, changes, refused);
    });
  }

  async remove(groupId: string, agents: readonly AgentId[]): Promise<GroupChange> {
    const group = this.#topicGroup(groupId);
    return inGroup(this.#engine, group, async () => {
      const change = await this.#engine.committer.commit(group, () => {
        const leaves = agents.filter((agent) => agent !== this.#engine.self).map((agent) => group.leafOf(agent));
        return removalPlan(leaves.filter((leaf) => leaf !== undefined));
      });
      return merged(group, change === undefined ? [] : [change]);
    });
  }

  async seal(groupId: string, plaintext: Uint8Array): Promise<readonly SealedFrame[]> {
    const group = this.#topicGroup(groupId);
    return inGroup(this.#engine, group, async () => {
      await this.#checkEpoch(group);
      this.#upkeep.checkUsable(group);
      const frames: SealedFrame[] = [];
      const unfit = this.#upkeep.unfit(group);
      if (unfit.length > 0) {
        const kept = this.#upkeep.mayRemove(group) ? unfit.find((each) => !each.forGood) : unfit[0];
        if (kept !== undefined) throw kept.reason;
        frames.push(...((await this.#upkeep.removeUnfit(group))?.frames ?? []));
      }
      frames.push(...(await this.#upkeep.updateIfDue(group)), await this.#upkeep.sealIn(group, plaintext));
      return frames;
    });
  }

  /**
   * Learns of commits that were missed while this agent was away: who joined since then cannot read an earlier epoch.
   * The owner makes the commits and misses none. Without an answer the message leaves in the epoch that is known.
   */
  async #checkEpoch(group: Group): Promise<void> {
    const now = this.#engine.now();
    if (group.isOwner || group.closed || group.broken !== undefined || now - group.epochCheckedAt < epochCheckMs)
      return;
    group.epochCheckedAt = now;
    try {
      await this.#engine.committer.catchUp(group);
    } catch (error) {
      if (!CausewayError.from(error).retryable) throw error;
    }
  }

  async leave(groupId: string): Promise<GroupChange> {
    const group = this.#topicGroup(groupId);
    return inGroup(this.#engine, group, async () => {
      const view = group.view();
      let frames: readonly SealedFrame[] = [];
      if (group.isOwner) {
        // Without its owner a group cannot change: it ends for everybody.
        const others = () => [...group.names.keys()].filter((leaf) => leaf !== group.ownLeaf);
        if (group.broken === undefined)
          frames = (await this.#engine.committer.commit(group, () => removalPlan(others())))?.frames ?? [];
      } else if (group.broken === undefined) {
        const payload = await group.buildLeave();
        frames = [{ kind: "proposal", securityContextId: group.contextId, payload }];
      }
      await this.#engine.book.drop(group, "this agent left the group");
      return { group: view, frames, welcomes: [], refused: [] };
    });
  }

  byName(name: string): GroupView | undefined {
    const named = this.#engine.book
      .all()
      .filter(({ facts, broken }) => facts.kind === "topic" && facts.name === name && broken === undefined);
    named.sort((a, b) => b.history.epochSince - a.history.epochSince);
    return named[0]?.view();
  }

  /** Removes, updates and rebuilds as time and trust demand. */
  async maintain(group: Group): Promise<readonly GroupChange[]> {
    if (group.broken !== undefined) return this.#rebuild(group);
    const { committer } = this.#engine;
    await committer.settle(group);
    const changes: GroupChange[] = [];
    this.#upkeep.unfit(group);
    const removed = this.#upkeep.mayRemove(group) ? await this.#upkeep.removeUnfit(group) : undefined;
    if (removed !== undefined) changes.push(removed);
    const updated = await committer.commit(group, () =>
      this.#upkeep.updateDue(group) ? { proposals: [] } : undefined,
    );
    if (updated !== undefined) changes.push(updated);
    return changes;
  }

  /** A topic group that cannot go on is made anew by its owner; the others wait for the new welcome. */
  async #rebuild(group: Group): Promise<readonly GroupChange[]> {
    if (!group.isOwner) return [];
    const members = [...group.names.values()].filter((name) => name !== this.#engine.self);
    const view = await this.create(group.facts.name);
    await this.#engine.book.drop(group, group.broken ?? "the group was made anew");
    return [await this.add(view.groupId, members)];
  }

  #topicGroup(groupId: string): Group {
    const group = this.#engine.book.named(groupId);
    if (group.facts.kind !== "topic") throw refuse("CAUSEWAY_MISUSE", "expected a topic group, got a pair");
    return group;
  }
}

function merged(group: Group, changes: readonly GroupChange[], refused: GroupChange["refused"] = []): GroupChange {
  return {
    group: group.view(),
    frames: changes.flatMap((each) => each.frames),
    welcomes: changes.flatMap((each) => each.welcomes),
    refused,
  };
}
