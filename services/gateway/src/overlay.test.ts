/** What the gateways of several domains are together: agents keep their names, wherever they and the links go. */
import { TargetKind } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { settle } from "./testing/manual-scheduler.ts";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

async function known(world: World, at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

/** blue L1s a and b below one Level-2, and green as in `chain`. */
async function withSecondEdge() {
  const world = new World();
  const net = await world.chain();
  const other = world.add("l1b", "blue.example", 1);
  other.peers = [{ url: net.blue2.url, kind: "uplink" }];
  await world.start(other);
  await world.scheduler.advance(5_000);
  return { world, net, other };
}

describe("an agent that moves", () => {
  test("keeps its Agent ID and is reached under it; only its reachability changes [AAP-6] [AAP-32]", async () => {
    const { world, net, other } = await withSecondEdge();
    const bob = await known(world, net.green1, "green.example/hotels/bob");
    const before = await known(world, net.blue1, "blue.example/travel/mover");
    await bob.message(before.agentId, "here");
    expect(before.messages).toEqual(["here"]);
    const body = world.routes(net.green2, before.agentId)[0]?.signed.body;
    const moved = await new TestAgent(world, other, before.identity).attach();
    expect(moved.agentId).toBe(before.agentId);
    // The very record that it showed before: nothing in it says where the agent is.
    const { record, receipt } = before.signedRecord();
    const advertised = await moved.request(
      { case: "advertise", value: { request: 9n, record, receipt } },
      "advertiseResult",
    );
    expect(advertised.error).toBeUndefined();
    await before.detach();
    await world.scheduler.advance(2_000);
    const routes = world.routes(net.green2, moved.agentId);
    expect(routes.map((each) => each.origin)).toEqual([other.uri]);
    expect(routes[0]?.record.revision).toBe(1n);
    expect(body).toBeDefined();
    await bob.message(moved.agentId, "there");
    expect([before.messages, moved.messages]).toEqual([["here"], ["there"]]);
  });

  test("is reached although the directory's answer is from before: an answer fixes no location [AAP-34]", async () => {
    const { world, net, other } = await withSecondEdge();
    const bob = await known(world, net.green1, "green.example/hotels/bob");
    const before = await known(world, net.blue1, "blue.example/travel/mover");
    // What a directory tells: the name, and the record with everything that its owner said.
    const answer = world.routes(net.green2, before.agentId)[0];
    const text = JSON.stringify([answer?.agentId, Buffer.from(answer?.signed.body ?? []).toString("latin1")]);
    for (const gateway of world.gateways.values()) expect(text).not.toContain(gateway.uri);
    await before.detach();
    const moved = await new TestAgent(world, other, before.identity).attach();
    await moved.advertise({ revision: 2n });
    await world.scheduler.advance(1_000);
    await bob.message(answer?.agentId ?? "", "hello");
    expect(moved.messages).toEqual(["hello"]);
  });

  test("is reached from the gateway that it left, which was down when it went [AAP-14]", async () => {
    const { world, net, other } = await withSecondEdge();
    const before = await known(world, net.blue1, "blue.example/travel/mover");
    await world.kill(net.blue1);
    before.vanish();
    const moved = await new TestAgent(world, other, before.identity).attach();
    await moved.advertise({ revision: 2n });
    await world.start(net.blue1);
    const alice = await known(world, net.blue1, "blue.example/travel/alice");
    // Its record of before is there still: the agent might have come back here.
    expect(world.routes(net.blue1, moved.agentId).map((each) => each.origin)).toEqual([net.blue1.uri]);
    await world.scheduler.advance(11_000);
    await alice.message(moved.agentId, "hello");
    expect(moved.messages).toEqual(["hello"]);
    await world.scheduler.advance(11_000);
    expect(world.routes(net.green2, moved.agentId).map((each) => each.origin)).toEqual([other.uri]);
  });
});

describe("an agent at two gateways at once", () => {
  test("goes on by the other when one is killed, and gets nothing twice [AAP-15]", async () => {
    const { world, net, other } = await withSecondEdge();
    const bob = await known(world, net.green1, "green.example/hotels/bob");
    const first = await world.agent(net.blue1, "blue.example/travel/double", { instance: "one" }).attach();
    expect((await first.advertise()).error).toBeUndefined();
    const second = await new TestAgent(world, other, first.identity, { instance: "two" }).attach();
    expect((await second.advertise()).error).toBeUndefined();
    await world.scheduler.advance(2_000);
    expect(world.routes(net.green2, first.agentId).map((each) => each.origin)).toHaveLength(2);
    const texts = Array.from({ length: 40 }, (_, index) => `m${index}`);
    for (const [index, text] of texts.entries()) {
      if (index === 20) {
        await world.kill(second.messages.length > 0 ? other : net.blue1);
        await world.scheduler.advance(1_000);
      }
      await bob.message(first.agentId, text);
    }
    await settle();
    expect([...first.messages, ...second.messages].sort()).toEqual([...texts].sort());
    expect([first.messages.length, second.messages.length]).toEqual([20, 20]);
    expect(bob.reports).toEqual([]);
  });
});

describe("the overlay", () => {
  test("five gateways in a partial mesh: traffic takes another way after a link is cut, and after it is back [AAP-9]", async () => {
    const world = new World();
    const ring = [0, 1, 2, 3, 4].map((index) => world.add(`r${index}`, "blue.example", 2));
    const url = (index: number): string => ring[index % 5]?.url ?? "";
    for (const [index, each] of ring.entries()) each.peers = [{ url: url(index + 1), kind: "peer" }];
    ring[0]?.peers.push({ url: url(2), kind: "peer" });
    for (const each of ring) await world.start(each);
    await world.scheduler.advance(5_000);
    const [r0, , r2, r3] = ring as [WorldGateway, WorldGateway, WorldGateway, WorldGateway, WorldGateway];
    const alice = await known(world, r0, "blue.example/travel/alice");
    const bob = await known(world, r3, "blue.example/crowd/bob");
    const path = (): readonly string[] => world.routes(r0, bob.agentId)[0]?.path ?? [];
    await alice.message(bob.agentId, "short");
    const first = path();
    expect(first.length).toBe(2);
    const via = first[0] === r2.uri ? r2 : (ring[4] as WorldGateway);
    await world.kill(via);
    await world.scheduler.advance(1_000);
    await alice.message(bob.agentId, "around");
    expect(bob.messages).toEqual(["short", "around"]);
    expect(path()).not.toContain(via.uri);
    await world.start(via);
    await world.scheduler.advance(60_000);
    await alice.message(bob.agentId, "back");
    expect(bob.messages).toEqual(["short", "around", "back"]);
  });

  test("two domains with authorities of their own that trust each other exchange messages; a third without trust is refused [AAP-29]", async () => {
    const world = new World();
    const net = await world.chain();
    const alice = await known(world, net.blue1, "blue.example/travel/alice");
    const bob = await known(world, net.green1, "green.example/hotels/bob");
    await alice.message(bob.agentId, "trusted");
    expect(bob.messages).toEqual(["trusted"]);
    const stranger = new World(["red.example"]);
    const outside = stranger.authority("red.example").enrol("red.example/gateway/l2", "gateway", {
      uri: net.blue2.uri,
      level: 2,
      namespaces: [],
    });
    expect(() => net.blue2.trust.peer(outside, world.scheduler.now().unix)).toThrow(/red\.example/);
  });

  test("nothing that an agent receives names a gateway, a host or an address of the other domain [AAP-4] [AAP-24]", async () => {
    const world = new World();
    const net = await world.chain();
    const alice = await known(world, net.blue1, "blue.example/travel/alice");
    const bob = await known(world, net.green1, "green.example/hotels/bob");
    await alice.request(
      { case: "eventWatch", value: { request: 1n, types: ["agent.", "topic.", "peer.", "delivery."] } },
      "subscriptionResult",
    );
    await bob.message(alice.agentId, "hello");
    await alice.message(bob.agentId, "hello");
    await alice.message("spiffe://green.example/hotels/nobody", "hello");
    await world.kill(net.green1);
    await alice.message(bob.agentId, "is anybody there");
    await world.kill(net.green2);
    await world.scheduler.advance(20_000);
    await alice.message(bob.agentId, "is anybody there");
    await world.kill(net.blue2);
    await world.start(net.blue2);
    await world.scheduler.advance(20_000);
    expect(alice.reports.length).toBeGreaterThan(1);
    const received = Buffer.concat(alice.far?.sent ?? []).toString("latin1");
    expect(received).toContain("hello");
    for (const hidden of [net.green1, net.green2, net.blue2]) {
      expect(received).not.toContain(hidden.uri);
      expect(received).not.toContain(hidden.url.slice("https://".length));
    }
    expect(received).not.toMatch(/\b\d+\.\d+\.\d+\.\d+(:\d+)?\b/);
  });

  test("the security context is any bytes to the gateways, and never looked into [AAP-13]", async () => {
    const world = new World();
    const net = await world.chain();
    const alice = await known(world, net.blue1, "blue.example/travel/alice");
    const bob = await known(world, net.green1, "green.example/hotels/bob");
    const contexts = [0, 1, 16, 64].map((length) => world.random.bytes(length));
    for (const securityContextId of contexts) await alice.message(bob.agentId, "x", { securityContextId });
    expect(bob.envelopes.map((each) => Buffer.from(each.header?.securityContextId ?? []))).toEqual(
      contexts.map((each) => Buffer.from(each)),
    );
    expect(alice.reports).toEqual([]);
  });

  test("an agent has one connection, however many agents it talks to [AAP-26]", async () => {
    const world = new World();
    const net = await world.chain();
    const alice = await known(world, net.blue1, "blue.example/travel/alice");
    const others = [];
    for (let index = 0; index < 40; index++)
      others.push(await world.agent(index % 2 === 0 ? net.blue1 : net.blue2, `blue.example/crowd/a${index}`).attach());
    for (const other of others) {
      await other.advertise();
      await world.scheduler.advance(100);
    }
    await world.scheduler.advance(2_000);
    for (const other of others) await alice.message(other.agentId, "hello");
    await settle();
    for (const other of others) expect(other.messages).toEqual(["hello"]);
    const before = net.blue1.gateway?.status();
    expect(before?.attachments).toBe(1 + others.length / 2);
    expect(before?.peers).toBe(1);
  });
});

describe("status and removal, told to the other gateways", () => {
  test("an agent that is gone is left out everywhere within 2 seconds, and a late update does not bring it back [ANA-102] [ANA-105]", async () => {
    const { world, net } = await withSecondEdge();
    const agent = await known(world, net.blue1, "blue.example/travel/alice");
    const late = world.routes(net.green2, agent.agentId)[0];
    expect(late).toBeDefined();
    await agent.request({ case: "advertise", value: { request: 4n, withdraw: true } }, "advertiseResult");
    await world.scheduler.advance(2_000);
    for (const at of [net.blue2, net.green2]) expect(world.routes(at, agent.agentId)).toEqual([]);
    // The slow path: green's Level-2 loses and finds its neighbour again, which still might hold the old version.
    await world.kill(net.green2);
    await world.start(net.green2);
    await world.scheduler.advance(30_000);
    for (const at of [net.blue2, net.green2]) expect(world.routes(at, agent.agentId)).toEqual([]);
  });

  test("of an agent's instances the one that runs well is preferred to the degraded one [ANA-103]", async () => {
    const world = new World();
    const net = await world.chain();
    const alice = await known(world, net.blue1, "blue.example/travel/alice");
    const well = await world.agent(net.blue1, "blue.example/pool/worker", { instance: "well" }).attach();
    const ill = await new TestAgent(world, net.blue1, well.identity, { instance: "ill" }).attach();
    ill.setCondition("degraded");
    await settle();
    for (let round = 0; round < 20; round++) await alice.message(well.agentId, `m${round}`);
    expect([well.messages.length, ill.messages.length]).toEqual([20, 0]);
    well.setCondition("degraded");
    ill.setCondition("running");
    await settle();
    for (let round = 0; round < 20; round++) await alice.message(well.agentId, `m${round}`);
    expect([well.messages.length, ill.messages.length]).toEqual([20, 20]);
    await ill.detach();
    await alice.message(well.agentId, "last resort");
    expect(well.messages.at(-1)).toBe("last resort");
  });
});

test("10,000 messages between 50 pairs of agents arrive in the order of each pair", async () => {
  const world = new World();
  const net = await world.chain();
  const senders = [];
  const receivers = [];
  for (let index = 0; index < 5; index++) senders.push(await known(world, net.blue1, `blue.example/s/a${index}`));
  for (let index = 0; index < 10; index++) receivers.push(await known(world, net.green1, `green.example/r/a${index}`));
  const waits: Promise<unknown>[] = [];
  for (let round = 0; round < 200; round++) {
    for (const [s, sender] of senders.entries())
      for (const receiver of receivers)
        waits.push(sender.message(receiver.agentId, `${s}:${round}:`, { targetKind: TargetKind.agent }));
    if (round % 20 === 19) await Promise.all(waits.splice(0));
  }
  await Promise.all(waits);
  await settle();
  for (const receiver of receivers) {
    const texts = receiver.messages.map((text) => /(\d+):(\d+):/.exec(text)?.slice(1).map(Number) ?? []);
    for (const s of senders.keys()) {
      const mine = texts.filter(([sender]) => sender === s).map(([, round]) => round);
      expect(mine).toEqual(Array.from({ length: 200 }, (_, round) => round));
    }
  }
});
