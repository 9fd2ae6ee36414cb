/** Messages that come again with the id that they had: what gateways keep from subscribers, and what they count (AAP-70). */
import { beforeEach, expect, test } from "vitest";
import type { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let near: TestAgent;
let far: TestAgent;

const topic = "blue.example/travel/alice/deals";

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  near = await known(net.blue1, "blue.example/travel/near");
  far = await known(net.green1, "green.example/travel/far");
  const value = { request: 7n, command: { case: "create" as const, value: { topic } } };
  await alice.send({ case: "topicCommand", value } as never);
  for (const each of [near, far]) expect((await each.subscribe(topic)).error).toBeUndefined();
  await world.scheduler.advance(1_000);
});

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

/** What operators read of publications at a gateway. */
function counted({ domain, gateway, trust }: WorldGateway, outcome: string): number {
  const operator = trust.peer(
    world.authority(domain).enrol(`${domain}/operator/olga`, "operator"),
    world.scheduler.now().unix,
  );
  const text = gateway?.metrics(operator) ?? "";
  const sample = new RegExp(`^causeway_gateway_publications_total\\{outcome="${outcome}"\\} (\\d+)$`, "m");
  return Number(sample.exec(text)?.[1] ?? 0);
}

test("a publication that comes again is kept from every subscriber, and counted as a duplicate where it came [AAP-70]", async () => {
  const messageId = await alice.message(topic, "once");
  for (let again = 0; again < 3; again++) await alice.message(topic, "once", { messageId });
  await alice.message(topic, "another");
  await world.scheduler.advance(100);
  for (const each of [near, far]) expect(each.messages).toEqual(["once", "another"]);
  expect([counted(net.blue1, "duplicate"), counted(net.blue1, "fan_out")]).toEqual([3, 2]);
  // They went no further, so that no other gateway saw them.
  for (const gateway of [net.blue2, net.green2, net.green1]) expect(counted(gateway, "duplicate")).toBe(0);
  expect(counted(net.green1, "fan_out")).toBe(2);
});
