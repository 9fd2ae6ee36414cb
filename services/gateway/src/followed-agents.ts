/**
 * Agents whose messages are stored here while they are away: a Level-1 gateway asks its Level-2 gateways for their
 * records, so that it hears when one attaches at another gateway. A Level-2 gateway hears it anyway.
 */
import type { AgentId } from "@causeway/core-base";
import type { SyncDriver } from "./sync-driver.ts";

/** New subscriptions from one look to the next: Level-2 gateways take 100 in a minute, in which there are 13 looks at most. */
const newPerLookMax = 7;
/** Agents that are followed at the same time. */
const followedMax = 5_000;

export class FollowedAgents {
  readonly #sync: SyncDriver;
  readonly #isNeeded: boolean;
  readonly #followed = new Map<AgentId, bigint>();
  /** New subscriptions until the next look. */
  #left = newPerLookMax;

  constructor(sync: SyncDriver, level: 1 | 2) {
    this.#sync = sync;
    this.#isNeeded = level === 1;
  }

  /** Follows these agents from now on and no others, as far as the rate of new subscriptions allows. */
  follow(agents: readonly AgentId[]): void {
    if (!this.#isNeeded) return;
    const wanted = new Set(agents);
    for (const [agentId, id] of [...this.#followed]) {
      if (wanted.has(agentId)) continue;
      this.#followed.delete(agentId);
      this.#sync.unfollow(id);
    }
    this.#left = newPerLookMax;
    for (const agentId of wanted) {
      // Asked again each time: it is the same subscription, which ends when nobody uses it.
      if (this.#followed.has(agentId)) this.#followed.set(agentId, this.#sync.follow(agentId));
      else this.want(agentId);
    }
  }

  /** A message for this agent waits here: where else it may be is asked at once. Until the next look. */
  want(agentId: AgentId): void {
    if (!this.#isNeeded || this.#left === 0 || this.#followed.size >= followedMax || this.#followed.has(agentId))
      return;
    this.#left--;
    this.#followed.set(agentId, this.#sync.follow(agentId));
  }
}
