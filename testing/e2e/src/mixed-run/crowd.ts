/** The agents of a mixed run: pairs that talk to each other, most of them across the border, and groups with a topic. */
import type { Agent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { until, type World } from "../world.ts";

/** Two agents that talk to each other. */
export interface Pair {
  readonly name: string;
  readonly a: Agent;
  readonly b: Agent;
  /** Both at one gateway. */
  readonly isLocal: boolean;
}

/** An agent that publishes, and those who subscribe. */
export interface Audience {
  readonly owner: Agent;
  readonly subscribers: readonly Agent[];
}

export interface Crowd {
  readonly pairs: readonly Pair[];
  readonly audiences: readonly Audience[];
}

/** Connects and registers pairs of agents until each knows the way to the other one. */
export async function gather(world: World, count: number, onProgress: (line: string) => void): Promise<Crowd> {
  const pairs: Pair[] = new Array<Pair>(Math.floor(count / 2));
  let ready = 0;
  await spread(pairs.length, async (i) => {
    const [home, abroad] = i % 2 === 0 ? (["blue", "green"] as const) : (["green", "blue"] as const);
    const isLocal = i % localEvery === 0;
    const open = async (name: string): Promise<Agent> => {
      const agent = await world.agent(name);
      const skills = [{ id: "mixed", description: "Takes part in a mixed run" }];
      await agent.register({ name: "Mixed", description: "Takes part in a mixed run", version: "1", skills });
      return agent;
    };
    const a = await open(`${home}.example/mixed/a${i}`);
    const b = await open(`${isLocal ? home : abroad}.example/mixed/b${i}`);
    pairs[i] = { name: `pair ${i}`, a, b, isLocal };
    if (++ready % 50 === 0) onProgress(`${2 * ready} agents are attached`);
  });
  await spread(pairs.length, async (i) => {
    const { a, b } = pairs[i] as Pair;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const)
      await until(`a way from ${from.id} to ${to.id}`, () => isReached(from, to), setUpMs);
  });
  onProgress("each pair knows its way");
  const agents = pairs.flatMap(({ a, b }) => [a, b]);
  const audiences = Array.from({ length: Math.ceil(agents.length / audienceSize) }, (_, i) => {
    const [owner, ...subscribers] = agents.slice(i * audienceSize, (i + 1) * audienceSize);
    return { owner: owner as Agent, subscribers };
  });
  return { pairs, audiences };
}

/** Does `work` for 0 … count - 1, a few at a time. */
export async function spread(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) await work(i);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}

/** A request without a handler comes back as such, and has no other effect. */
async function isReached(from: Agent, to: Agent): Promise<boolean> {
  try {
    await from.request(to.id, { method: "mixed.nothing" }, { timeoutMs: 10_000 });
    return true;
  } catch (thrown) {
    return CausewayError.from(thrown).code === "CAUSEWAY_AGENT_NO_HANDLER";
  }
}

const atOnce = 8;
const localEvery = 5;
const audienceSize = 10;
const setUpMs = 120_000;
