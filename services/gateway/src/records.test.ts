import { refuse } from "@causeway/core-base";
import { beforeEach, describe, expect, test } from "vitest";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

type Chain = Awaited<ReturnType<World["chain"]>>;
let world: World;
let net: Chain;

beforeEach(async () => {
  world = new World();
  net = await world.chain();
});

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  return agent;
}

const routesAt = (at: WorldGateway, agent: TestAgent) => world.routes(at, agent.agentId);
const level2 = (): readonly WorldGateway[] => [net.blue2, net.green2];

describe("records of attached agents", () => {
  test("an accepted record is at every Level-2 gateway within a second, with its origin [ANA-99] [AMSP-61]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await world.scheduler.advance(200);
    for (const each of level2()) {
      expect(routesAt(each, alice)).toMatchObject([{ origin: net.blue1.uri, status: "online", applicable: true }]);
    }
    expect(routesAt(net.blue2, alice)[0]?.path).toEqual([]);
    expect(routesAt(net.green2, alice)[0]?.path).toEqual([net.blue2.uri]);
  });

  test("with the Level-2 gateway down the record waits at its origin and goes out later [AMSP-61]", async () => {
    await world.kill(net.blue2);
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await world.scheduler.advance(1_000);
    await world.start(net.blue2);
    await world.scheduler.advance(60_000);
    for (const each of level2()) expect(routesAt(each, alice)).toMatchObject([{ origin: net.blue1.uri }]);
  });

  test("what was answered is there after a kill -9, and neighbours converge again [AMSP-60]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await world.kill(net.blue1);
    await world.start(net.blue1);
    expect(routesAt(net.blue1, alice)).toMatchObject([{ via: "local" }]);
    await world.scheduler.advance(40_000);
    const back = await new TestAgent(world, net.blue1, alice.identity).attach();
    await back.advertise();
    const bob = await known(net.green1, "green.example/hotels/bob");
    await world.scheduler.advance(2_000);
    await bob.message(alice.agentId, "again");
    expect(back.messages).toEqual(["again"]);
  });

  test("the version goes on where it was after a restart", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    const before = routesAt(net.blue1, alice)[0];
    await world.kill(net.blue1);
    await world.start(net.blue1);
    await world.scheduler.advance(2_000);
    const back = await new TestAgent(world, net.blue1, alice.identity).attach();
    const result = await back.advertise({ revision: 2n });
    expect(result.epoch).toBe(before?.version.epoch);
    expect(result.sequence).toBeGreaterThan(before?.version.sequence ?? 0n);
  });

  test("each gateway that acknowledged a record has it after its own kill -9 as well", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await world.scheduler.advance(1_000);
    await world.kill(net.blue1);
    await world.kill(net.green2);
    await world.start(net.green2);
    await world.scheduler.advance(40_000);
    expect([...net.green2.store.records()].map((each) => each.agentId)).toContain(alice.agentId);
  });

  test("what the agent says of itself is seen at the gateway and its peers, in order [ANA-100]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    const seen: string[] = [];
    for (const condition of ["running", "degraded", "offline", "running"] as const) {
      alice.setCondition(condition);
      await world.scheduler.advance(40_000);
      const status = [net.blue1, net.blue2, net.green2].map((each) => routesAt(each, alice)[0]?.status);
      expect(new Set(status).size).toBe(1);
      seen.push(String(status[0]));
    }
    expect(seen).toEqual(["online", "degraded", "offline", "online"]);
  });

  test("a silent agent is offline at 90 s everywhere, gone 300 s later, and online again when it returns [AAP-85] [AAP-86]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    alice.freeze();
    await world.scheduler.advance(95_000);
    for (const each of [net.blue1, ...level2()]) expect(routesAt(each, alice)).toMatchObject([{ status: "offline" }]);
    const back = await new TestAgent(world, net.blue1, alice.identity).attach();
    await world.scheduler.advance(5_000);
    for (const each of [net.blue1, ...level2()]) expect(routesAt(each, alice)).toMatchObject([{ status: "online" }]);
    back.freeze();
    await world.scheduler.advance(395_000);
    for (const each of [net.blue1, ...level2()]) expect(routesAt(each, alice)).toEqual([]);
  });

  test("after the end of the session no gateway lists the agent, and a send from there finds nobody [AAP-88] [ANA-104]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    const bob = await known(net.green1, "green.example/hotels/bob");
    await world.scheduler.advance(1_000);
    await alice.detach();
    await world.scheduler.advance(1_000);
    for (const each of [net.blue1, ...level2()]) expect(routesAt(each, alice)).toEqual([]);
    await bob.message(alice.agentId, "gone");
    expect(bob.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
  });

  test("registered agents that do not return after a restart go offline, then out", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await world.kill(net.blue1);
    await alice.crash();
    await world.start(net.blue1);
    await world.scheduler.advance(100_000);
    expect(routesAt(net.blue2, alice)).toMatchObject([{ status: "offline" }]);
    await world.scheduler.advance(320_000);
    expect(routesAt(net.blue1, alice)).toEqual([]);
    expect(routesAt(net.blue2, alice)).toEqual([]);
  });

  test("an agent answers only the domains that its record names [AMSP-19]", async () => {
    const alice = await world.agent(net.blue1, "blue.example/travel/alice").attach();
    await alice.advertise({ allowedDomains: ["blue.example"] });
    const bob = await known(net.green1, "green.example/hotels/bob");
    const carol = await known(net.blue2, "blue.example/travel/carol");
    await world.scheduler.advance(1_000);
    await bob.message(alice.agentId, "no");
    await carol.message(alice.agentId, "yes");
    expect(alice.messages).toEqual(["yes"]);
    expect(bob.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED"]);
  });

  test("the forwarding table is a function of the record base after every step of a random run [AMSP-24]", async () => {
    const agents = await Promise.all(["a", "b", "c"].map((name) => known(net.blue1, `blue.example/many/${name}`)));
    const identities = agents.map((each) => each.identity);
    const live = new Map(agents.map((each) => [each.agentId, each]));
    await world.scheduler.advance(500);
    for (let step = 0; step < 60; step++) {
      const identity = identities[Math.floor(world.random.fraction() * identities.length)];
      if (identity === undefined) continue;
      const agent = live.get(identity.spiffeId);
      const place = world.random.fraction() < 0.5 ? net.blue1 : net.blue2;
      if (agent === undefined || world.random.fraction() < 0.4) {
        const moved = await new TestAgent(world, place, identity).attach();
        await moved.advertise({ revision: BigInt(step + 10) });
        live.set(identity.spiffeId, moved);
      } else if (world.random.fraction() < 0.5) {
        await agent.detach();
        live.delete(identity.spiffeId);
      } else {
        agent.setCondition(world.random.fraction() < 0.5 ? "degraded" : "running");
      }
      await world.scheduler.advance(500);
      for (const each of [net.blue1, net.blue2, net.green2]) {
        const [table, base] = world.tableAndBase(each);
        expect(table).toEqual(base);
      }
    }
  });
});

describe("a full disk", () => {
  test("refuses the advertisement with STORE_FULL, sends nothing, and works again when there is room", async () => {
    const alice = await world.agent(net.blue1, "blue.example/travel/alice").attach();
    const { store } = net.blue1;
    const put = store.putRecord.bind(store);
    store.putRecord = () => {
      throw refuse("CAUSEWAY_STORE_FULL", "the disk is full");
    };
    const refused = await alice.advertise();
    expect(refused.error?.code).toBe("CAUSEWAY_STORE_FULL");
    await world.scheduler.advance(200);
    for (const each of level2()) expect(routesAt(each, alice)).toEqual([]);
    expect([...store.records()]).toEqual([]);
    store.putRecord = put;
    await world.scheduler.advance(20_000);
    expect((await alice.advertise()).error).toBeUndefined();
    await world.scheduler.advance(1_000);
    for (const each of level2()) expect(routesAt(each, alice)).toHaveLength(1);
  });

  test("nobody else's records and sessions suffer, and what is still to be stored is stored when there is room", async () => {
    const bob = await world.agent(net.green1, "green.example/hotels/bob").attach();
    expect((await bob.advertise()).error).toBeUndefined();
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    expect((await carol.advertise()).error).toBeUndefined();
    const alice = await world.agent(net.blue1, "blue.example/travel/alice").attach();
    await world.scheduler.advance(1_000);
    const { store } = net.blue1;
    const dials = net.blue1.dials;
    const put = store.putRecord.bind(store);
    store.putRecord = () => {
      throw refuse("CAUSEWAY_STORE_FULL", "the disk is full");
    };
    expect((await alice.advertise()).error?.code).toBe("CAUSEWAY_STORE_FULL");
    // Status changes of others are facts: they wait for the disk, and so does the world's knowledge of them.
    await carol.detach();
    await world.scheduler.advance(120_000);
    await alice.message(bob.agentId, "still here");
    expect(bob.messages).toEqual(["still here"]);
    expect(alice.reports).toEqual([]);
    expect(net.blue1.dials).toBe(dials);
    expect(net.blue1.log.filter((line) => line.event === "sync.store_failed")).toHaveLength(1);
    for (const each of level2()) expect(routesAt(each, carol)).toHaveLength(1);
    store.putRecord = put;
    await world.scheduler.advance(2_000);
    for (const each of level2()) {
      expect(routesAt(each, carol)).toEqual([]);
      expect(routesAt(each, alice)).toEqual([]);
    }
    expect(net.blue1.log.some((line) => line.event === "sync.store_recovered")).toBe(true);
    await world.kill(net.blue1);
    await world.start(net.blue1);
    await world.scheduler.advance(10_000);
    for (const each of level2()) expect([...routesAt(each, carol), ...routesAt(each, alice)]).toEqual([]);
  });
});
