/** The agents of a mixed run: pairs that talk to each other, most of them across the border, and groups with a topic. */
import type { Agent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { connectAgent } from "../../../../apps/cli/src/processes/agents.ts";
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

export interface Crowd extends AsyncDisposable {
  readonly pairs: readonly Pair[];
  readonly audiences: readonly Audience[];
}

/** Connects and registers pairs of agents until each knows the way to the other one. */
export async function gather(world: World, count: number, onProgress: (line: string) => void): Promise<Crowd> {
  const pairs: Pair[] = new Array<Pair>(Math.floor(count / 2));
  let ready = 0;
  // Moved out at the end: when setting up fails, all that are connected are closed.
  await using agents = new AsyncDisposableStack();
  await spread(pairs.length, async (i) => {
    const [home, abroad] = i % 2 === 0 ? (["blue", "green"] as const) : (["green", "blue"] as const);
    const isLocal = i % localEvery === 0;
    const open = async (name: string): Promise<Agent> => {
      const operator = world.network.operators.find(({ config }) => name.startsWith(`${config.domain}/`));
      if (operator === undefined) throw new Error(`no domain for ${name}`);
      const { config } = operator;
      const token = await operator.agentToken(name);
      const agent = agents.use(await connectAgent({ home: world.home, config, name, token, timeoutMs: setUpMs }));
      const skills = [{ id: "mixed", description: "Takes part in a mixed run" }];
      const profile = { name: "Mixed", description: "Takes part in a mixed run", version: "1", skills };
      await agent.register(profile, { timeoutMs: setUpMs });
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
  const everyone = pairs.flatMap(({ a, b }) => [a, b]);
  const audiences = Array.from({ length: Math.ceil(everyone.length / audienceSize) }, (_, i) => {
    const [owner, ...subscribers] = everyone.slice(i * audienceSize, (i + 1) * audienceSize);
    return { owner: owner as Agent, subscribers };
  });
  const connected = agents.move();
  return { pairs, audiences, [Symbol.asyncDispose]: () => connected.disposeAsync() };
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
    await from.request(to.id, { method: "mixed.nothing" }, { timeoutMs: 20_000 });
    return true;
  } catch (thrown) {
    return CausewayError.from(thrown).code === "CAUSEWAY_AGENT_NO_HANDLER";
  }
}

const atOnce = 8;
const localEvery = 5;
const audienceSize = 10;
/** Of one step; nothing is measured by it. */
const setUpMs = 240_000;
