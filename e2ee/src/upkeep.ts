/**
 * What every group needs while it lives: own keys updated by time and number (AGP-35), members that are revoked,
 * expired or leaving removed (C-22), and nothing sent to a group that holds one of them.
 */
import { CausewayError, defaults, refuse } from "@causeway/core-base";
import type { GroupChange, SealedFrame } from "./api.ts";
import type { Plan } from "./committer.ts";
import type { Engine } from "./engine.ts";
import type { Group } from "./group.ts";
import type { UnfitMember } from "./group-parts.ts";

/** When keys cannot be updated, sending goes on up to this many times the usual number of messages. */
const updateOverdueFactor = 10;
/** Time after a revocation in which only the owner removes the member. */
const revocationGraceMs = 60_000;

export class Upkeep {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  checkUsable(group: Group): void {
    if (group.closed) throw refuse("CAUSEWAY_E2EE_GROUP_UNKNOWN", "this agent is not a member of the group any more");
    if (group.broken !== undefined) {
      throw refuse(
        "CAUSEWAY_E2EE_CONTEXT_UNKNOWN",
        `the group cannot be used until its owner makes it anew: ${group.broken}`,
      );
    }
  }

  async sealIn(group: Group, plaintext: Uint8Array): Promise<SealedFrame> {
    this.checkUsable(group);
    const records = this.#engine.book.records(group);
    await records.ensureSaved();
    const { payload, reserve } = await group.seal(plaintext);
    if (reserve) await records.saveReservation();
    return { kind: "application", securityContextId: group.contextId, payload };
  }

  /** Updates the own keys by time and number (AGP-35). A delivery service out of reach puts it off, within a bound. */
  async updateIfDue(group: Group): Promise<readonly SealedFrame[]> {
    if (!this.updateDue(group)) return [];
    try {
      const change = await this.#engine.committer.commit(group, () =>
        this.updateDue(group) ? { proposals: [] } : undefined,
      );
      return change?.frames ?? [];
    } catch (error) {
      const overdue = group.sentWithOwnKey >= updateMessages(this.#engine) * updateOverdueFactor;
      if (overdue || group.closed || group.broken !== undefined || !CausewayError.from(error).retryable) throw error;
      return [];
    }
  }

  updateDue(group: Group): boolean {
    if (group.alone) return false;
    const age = this.#engine.now() - group.history.ownSince;
    const rotated = group.facts.kind === "topic" && !group.carries(this.#engine.identity());
    return (
      rotated ||
      group.sentWithOwnKey >= updateMessages(this.#engine) ||
      age >= (this.#engine.options.updateMs ?? defaults.mlsUpdateMs)
    );
  }

  unfit(group: Group): readonly UnfitMember[] {
    const unfit = group.unfitMembers(this.#engine.now());
    if (unfit.length === 0) group.unfitSince = undefined;
    if (unfit.length > 0 && group.unfitSince === undefined) {
      group.unfitSince = this.#engine.now();
      for (const { name, reason } of unfit) {
        this.#engine.report({
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

  unfitForGood(group: Group): readonly number[] {
    return this.unfit(group)
      .filter((each) => each.forGood)
      .map((each) => each.leafIndex);
  }

  /** The owner removes at once, any member after the grace time (C-22). Departures are for the owner only. */
  mayRemove(group: Group): boolean {
    if (group.isOwner) return true;
    const since = group.unfitSince;
    return (
      since !== undefined && this.#engine.now() - since >= (this.#engine.options.revocationGraceMs ?? revocationGraceMs)
    );
  }

  removeUnfit(group: Group): Promise<GroupChange | undefined> {
    return this.#engine.committer.commit(group, () => {
      const leaves = new Set(this.unfitForGood(group));
      if (group.isOwner) for (const leaf of group.leaving) leaves.add(leaf);
      return removalPlan([...leaves]);
    });
  }
}

/** A plan that removes the leaves; none when there are none. */
export function removalPlan(leaves: readonly number[]): Plan | undefined {
  return leaves.length === 0 ? undefined : { proposals: removals(leaves) };
}

export function removals(leaves: readonly number[]) {
  return leaves.map((removed) => ({ proposalType: "remove" as const, remove: { removed } }));
}

function updateMessages(engine: Engine): number {
  return engine.options.updateMessages ?? defaults.mlsUpdateMessages;
}
