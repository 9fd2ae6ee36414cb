/** What the world's topology and plans say should be, computed without asking any machine. */

import type { Gateway } from "../gateway.ts";
import type { AgentPlan } from "../plan.ts";
import type { Wish } from "../work.ts";
import type { World } from "../world.ts";

export function planOf(world: World, agentId: string): AgentPlan | undefined {
  return world.plan.agents.find((agent) => agentId === `spiffe://${agent.domain}/${agent.path}`);
}

/** An edge gateway asked for the agent's record. */
export function isWanted(world: World, wishes: readonly Wish[], agentId: string): boolean {
  const plan = planOf(world, agentId);
  return wishes.some((wish) => {
    if (wish === "all") return true;
    return wish === "open" ? plan?.tags.includes("open") === true : plan?.path.startsWith("shop/") === true;
  });
}

/** The record may go from one gateway to the other. */
export function mayCross(world: World, agentId: string, from: Gateway, to: Gateway): boolean {
  const plan = planOf(world, agentId);
  if (plan === undefined) return true;
  const isVisible =
    plan.visibleDomains.length === 0 || to.plan.domain === plan.domain || plan.visibleDomains.includes(to.plan.domain);
  const isSecret = from.plan.secretTag !== undefined && plan.tags.includes(from.plan.secretTag);
  return isVisible && !(isSecret && from.plan.domain !== to.plan.domain);
}

/** Level-2 gateways that are configured as neighbours of this one, and the edges of its own. */
export function neighboursOf(world: World, gateway: Gateway): readonly Gateway[] {
  return [...world.gateways.values()].filter(
    (other) => other.plan.dials.includes(gateway.name) || gateway.plan.dials.includes(other.name),
  );
}

/** Level-2 gateways on the shortest way from the origin to each Level-2 gateway that may know the record: its PATH length. */
export function pathLengths(world: World, agentId: string, origin: Gateway): ReadonlyMap<Gateway, number> {
  const lengths = new Map<Gateway, number>([[origin, 0]]);
  const queue = [origin];
  for (const from of queue) {
    for (const to of neighboursOf(world, from)) {
      if (to.plan.role !== "level2" || lengths.has(to) || !mayCross(world, agentId, from, to)) continue;
      // What comes from a Level-1 gateway has an empty PATH.
      lengths.set(to, (lengths.get(from) ?? 0) + (from.plan.role === "level2" ? 1 : 0));
      queue.push(to);
    }
  }
  return lengths;
}
