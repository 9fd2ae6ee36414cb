/** Going out of service with nowhere for agents to go: said at once, and not waited for until the deadline. */
import { mailboxFeature } from "@causeway/core-attachment";
import { admin, agp, HeaderFlag } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, expect, test } from "vitest";
import { gatewayLimits } from "./limits.ts";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
/** The two gateways of the domain, and a neighbour in another one. */
let edge: WorldGateway;
let core: WorldGateway;
let abroad: WorldGateway;

const aloneMs = gatewayLimits.drainAloneMs;
const options = { features: [mailboxFeature] };

beforeEach(async () => {
  world = new World();
  edge = world.add("edge", "blue.example", 1);
  core = world.add("core", "blue.example", 2);
  abroad = world.add("abroad", "green.example", 2);
  edge.peers = [{ url: core.url, kind: "uplink" }];
  core.peers = [{ url: abroad.url, kind: "peer" }];
  for (const each of [abroad, core, edge]) await world.start(each);
  await world.scheduler.advance(5_000);
});

const drain = (at: WorldGateway, deadlineMs: bigint) => {
  const identity = world.authority(at.domain).enrol(`${at.domain}/operator/olga`, "operator");
  return createClient(admin.GatewayAdminService, world.clientOf(at, identity)).drain({ deadlineMs });
};

/** An agent that goes nowhere when it is asked to. */
async function staying(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name, options).attach();
  expect((await agent.advertise({ awayMs: 86_400_000 })).error).toBeUndefined();
  agent.freeze();
  return agent;
}

const endOf = (at: WorldGateway): { isEnded: boolean } => {
  const seen = { isEnded: false };
  void at.gateway?.ended.then(() => {
    seen.isEnded = true;
  });
  return seen;
};

test("with no other gateway of the domain linked it says so at once, to its agents as well, and ends after drainAloneMs", async () => {
  await staying(core, "blue.example/travel/alice");
  const bob = await world.agent(core, "blue.example/travel/bob", options).attach();
  await world.kill(edge);
  const end = endOf(core);
  const before = world.scheduler.now().unix;
  // The neighbour in another domain is no place to go.
  expect(await drain(core, 60_000n)).toMatchObject({ alone: true, deadlineMs: BigInt(aloneMs) });
  const told = bob.inbox.find((each) => each.case === "drain");
  expect(told?.case === "drain" && Number(told.value.deadlineUnixMs) - before).toBe(aloneMs);
  expect(core.log.find(({ event }) => event === "gateway.drain_alone")?.fields).toEqual({ agents: 2, waitMs: aloneMs });
  await world.scheduler.advance(aloneMs - 100);
  expect(end.isEnded).toBe(false);
  await world.scheduler.advance(200);
  expect(end.isEnded).toBe(true);
});

test("with one that runs it waits until the deadline", async () => {
  await staying(core, "blue.example/travel/alice");
  const end = endOf(core);
  expect(await drain(core, 20_000n)).toMatchObject({ alone: false, deadlineMs: 20_000n });
  await world.scheduler.advance(19_900);
  expect(end.isEnded).toBe(false);
  await world.scheduler.advance(200);
  expect(end.isEnded).toBe(true);
});

test("a later call makes the deadline sooner and never later, and is told the one in force", async () => {
  await staying(core, "blue.example/travel/alice");
  const end = endOf(core);
  const told = () => edge.log.filter(({ event }) => event === "peer.draining").length;
  expect(await drain(core, 60_000n)).toMatchObject({ deadlineMs: 60_000n });
  await world.scheduler.advance(10_000);
  expect(await drain(core, 120_000n)).toMatchObject({ alone: false, deadlineMs: 50_000n });
  expect(told()).toBe(1);
  expect(await drain(core, 20_000n)).toMatchObject({ alone: false, deadlineMs: 20_000n });
  await world.scheduler.advance(10_000);
  // Everybody was told of the sooner one.
  expect(told()).toBe(2);
  // As SIGTERM does.
  const stopping = core.gateway?.stop({ deadlineMs: 2_000 });
  await world.scheduler.advance(1_900);
  expect(end.isEnded).toBe(false);
  await world.scheduler.advance(200);
  expect(end.isEnded).toBe(true);
  await stopping;
});

test("with nowhere to go a later call is told what is left of drainAloneMs", async () => {
  await staying(core, "blue.example/travel/alice");
  await world.kill(edge);
  const end = endOf(core);
  await drain(core, 60_000n);
  await world.scheduler.advance(1_000);
  expect(await drain(core, 60_000n)).toMatchObject({ alone: true, deadlineMs: BigInt(aloneMs - 1_000) });
  expect(await drain(core, 500n)).toMatchObject({ alone: true, deadlineMs: 500n });
  await world.scheduler.advance(600);
  expect(end.isEnded).toBe(true);
});

test("a deadline that is sooner holds, drainAloneMs is the operator's, and nobody is waited for when nobody is there", async () => {
  await staying(core, "blue.example/travel/alice");
  await world.kill(edge);
  core.limits = { drainAloneMs: 0 };
  expect(await drain(core, 1_000n)).toMatchObject({ alone: true, deadlineMs: 1_000n });
  await world.scheduler.advance(1_100);
  await world.start(core);
  await world.agent(core, "blue.example/travel/bob", options).attach();
  const end = endOf(core);
  expect(await drain(core, 60_000n)).toMatchObject({ alone: true, deadlineMs: 0n });
  await world.scheduler.advance(0);
  expect(end.isEnded).toBe(true);
});

test("what is known counts at each moment: one that dies meanwhile is no place any more", async () => {
  await staying(core, "blue.example/travel/alice");
  const end = endOf(core);
  await drain(core, 60_000n);
  await world.scheduler.advance(10_000);
  await world.kill(edge);
  await world.scheduler.advance(aloneMs - 100);
  expect(end.isEnded).toBe(false);
  await world.scheduler.advance(200);
  expect(end.isEnded).toBe(true);
});

test("one that goes out of service itself is no place either", async () => {
  await staying(core, "blue.example/travel/alice");
  await staying(edge, "blue.example/travel/bob");
  const [atCore, atEdge] = [endOf(core), endOf(edge)];
  expect(await drain(edge, 60_000n)).toMatchObject({ alone: false });
  await world.scheduler.advance(100);
  expect(await drain(core, 60_000n)).toMatchObject({ alone: true });
  await world.scheduler.advance(2 * aloneMs + 200);
  expect([atCore.isEnded, atEdge.isEnded]).toEqual([true, true]);
});

test("nothing reliable is lost: what was stored, and what was sent while it went, is there after its next start [AGP-58]", async () => {
  const sender = await world.agent(core, "blue.example/travel/sender", options).attach();
  expect((await sender.advertise({ awayMs: 86_400_000 })).error).toBeUndefined();
  const alice = await world.agent(core, "blue.example/travel/alice", options).attach();
  expect((await alice.advertise({ awayMs: 86_400_000 })).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  await world.kill(edge);
  const send = (text: string) =>
    sender.message(alice.agentId, text, { deliveryMode: agp.DeliveryMode.RELIABLE, flags: HeaderFlag.stored });
  await alice.crash();
  await send("before");
  const end = endOf(core);
  sender.freeze();
  expect(await drain(core, 60_000n)).toMatchObject({ alone: true });
  await world.scheduler.advance(1_000);
  await send("meanwhile");
  await world.scheduler.advance(aloneMs);
  expect(end.isEnded).toBe(true);
  expect(core.mailboxes.load().waiting).toHaveLength(2);
  await world.start(core);
  await world.scheduler.advance(10_000);
  const again = await new TestAgent(world, core, alice.identity, options).attach();
  await again.advertise({ awayMs: 86_400_000 });
  expect(again.messages).toEqual(["before", "meanwhile"]);
});
