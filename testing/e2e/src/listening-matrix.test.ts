/**
 * Who may listen to whom, as agents have it (ANA-45): real processes, the SDK, and topics whose owners admit members.
 * What gateways decide by themselves is in the test beside this one.
 */
import { type Agent, CausewayError } from "@causeway/agent/node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { differences, type Facts, model, policyOf, topicOf } from "./access-policy.ts";
import { startWorld, type World } from "./world.ts";

const policy = policyOf(4);
let world: World;
const agents = new Map<string, Agent>();
const agentOf = (facts: Facts): Agent => agents.get(facts.name) as Agent;

beforeAll(async () => {
  world = await startWorld();
  for (const facts of policy.agents) {
    const agent = await world.agent(facts.name);
    await agent.register({
      name: "Listener",
      description: "Tells news",
      version: "1",
      skills: [{ id: "news", description: "Tells news" }],
    });
    await agent.createTopic(topicOf(facts), { subscribers: facts.subscribers });
    agents.set(facts.name, agent);
  }
}, 240_000);

afterAll(() => world?.[Symbol.asyncDispose]());

test("20 agents and 20 topics: each is admitted exactly where it may listen, and the refusal says why [ANA-45]", {
  timeout: 600_000,
}, async () => {
  const outcome = await differences(
    policy,
    async (who, owner) => {
      try {
        await agentOf(who).subscribe(topicOf(owner), () => undefined, { timeoutMs: 60_000 });
        return true;
      } catch (thrown) {
        if (thrown instanceof CausewayError && thrown.code === "CAUSEWAY_TOPIC_NOT_ALLOWED") return false;
        throw thrown;
      }
    },
    model.maySubscribe,
    { atOnce: true },
  );
  expect(outcome.wrong).toEqual([]);
  expect(Math.min(outcome.yes, outcome.no)).toBeGreaterThan(50);
});
