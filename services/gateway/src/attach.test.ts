import { defaults } from "@causeway/core-base";
import { beforeEach, describe, expect, test } from "vitest";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let at: WorldGateway;

beforeEach(async () => {
  world = new World();
  at = world.add("l1", "blue.example", 1);
  await world.start(at);
});

const alive = (): number => at.gateway?.status().attachments ?? -1;

async function known(name: string, options = {}): Promise<TestAgent> {
  const agent = await world.agent(at, name, options).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  return agent;
}

describe("attachments of one gateway", () => {
  test("an agent attaches with a mutual handshake and is an entry until it ends its session [AAP-66] [AAP-87] [ANA-104]", async () => {
    const alice = await known("blue.example/travel/alice");
    const bob = await known("blue.example/travel/bob");
    expect(alive()).toBe(2);
    await alice.message(bob.agentId, "here");
    await bob.detach();
    await world.scheduler.advance(100);
    expect(alive()).toBe(1);
    await alice.message(bob.agentId, "gone");
    expect(bob.messages).toEqual(["here"]);
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    expect(() => at.trust.peer(bob.identity, world.scheduler.now().unix)).not.toThrow();
  });

  test("a revoked agent is out at once and does not come back [ANA-43]", async () => {
    const alice = await known("blue.example/travel/alice");
    const bob = await known("blue.example/travel/bob");
    await world.revoke("blue.example", bob.identity);
    expect(alive()).toBe(1);
    expect(bob.link?.isClosed).toBe(true);
    expect(bob.inbox.some((each) => each.case === "sessionEnd")).toBe(true);
    await world.scheduler.advance(60_000);
    expect(alive()).toBe(1);
    await alice.message(bob.agentId, "gone");
    expect(bob.messages).toEqual([]);
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    expect(at.log.some((line) => line.event === "identity.revoked_disconnected")).toBe(true);
  });

  test("a stale agent's messages wait and arrive when it is back; after removal they are answered", async () => {
    const alice = await known("blue.example/travel/alice");
    const bob = await known("blue.example/travel/bob");
    await bob.crash();
    await world.scheduler.advance(10);
    await alice.message(bob.agentId, "waiting");
    expect(alice.reports).toEqual([]);
    const back = await new TestAgent(world, at, bob.identity).attach();
    expect(back.messages).toEqual(["waiting"]);
    await back.crash();
    await world.scheduler.advance(10);
    await alice.message(bob.agentId, "in vain");
    await world.scheduler.advance(defaults.staleAfterMs + defaults.removeAfterStaleMs + 10_000);
    expect(alice.reports.map((each) => each.code)).toEqual([expect.stringMatching(/NO_ROUTE|NOT_ATTACHED/)]);
    await alice.message(bob.agentId, "gone");
    expect(alice.reports.at(-1)?.code).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
  });

  test("a bounded number of messages waits for an agent that is away; further ones are refused", async () => {
    at.limits = { heldMessagesMax: 3 };
    await world.kill(at);
    await world.start(at);
    const alice = await known("blue.example/travel/alice");
    const bob = await known("blue.example/travel/bob");
    await bob.crash();
    await world.scheduler.advance(10);
    for (let n = 0; n < 5; n++) await alice.message(bob.agentId, `m${n}`);
    expect(alice.reports.map((each) => each.code)).toEqual([
      "CAUSEWAY_FORWARDING_OVERLOADED",
      "CAUSEWAY_FORWARDING_OVERLOADED",
    ]);
    const back = await new TestAgent(world, at, bob.identity).attach();
    expect(back.messages).toEqual(["m0", "m1", "m2"]);
  });

  test("the older attachment of an instance gets nothing after the newer one stands [AAP-95]", async () => {
    const alice = await known("blue.example/travel/alice");
    const before = await known("blue.example/travel/bob");
    await world.scheduler.advance(10);
    const after = await new TestAgent(world, at, before.identity).attach();
    await alice.message(before.agentId, "hello");
    expect(before.messages).toEqual([]);
    expect(after.messages).toEqual(["hello"]);
    expect(alive()).toBe(2);
  });

  test("nothing that was attached survives a restart, and everything registered does [AAP-82] [AMSP-60]", async () => {
    const bob = await known("blue.example/travel/bob");
    expect(at.gateway?.status()).toMatchObject({ attachments: 1, records: 1 });
    await world.kill(at);
    await world.start(at);
    expect(at.gateway?.status()).toMatchObject({ attachments: 0, records: 1 });
    const back = await new TestAgent(world, at, bob.identity).attach();
    const alice = await known("blue.example/travel/alice");
    await alice.message(bob.agentId, "still here");
    expect(back.messages).toEqual(["still here"]);
  });

  test("a gateway serves a stateful and a soft agent at the same time, with the same forwarding [AAP-94]", async () => {
    const alice = await known("blue.example/travel/alice", { model: "soft" });
    const bob = await known("blue.example/travel/bob", { model: "stateful" });
    await alice.message(bob.agentId, "to stateful");
    await bob.message(alice.agentId, "to soft");
    expect([alice.messages, bob.messages]).toEqual([["to soft"], ["to stateful"]]);
  });

  test("a draining gateway tells its agents to move and takes no new ones", async () => {
    const alice = await known("blue.example/travel/alice");
    const stopping = at.gateway?.stop({ deadlineMs: 1_000 });
    await world.scheduler.advance(100);
    expect(alice.inbox.some((each) => each.case === "drain")).toBe(true);
    const late = await world.agent(at, "blue.example/travel/late").attach();
    expect(late.state).not.toBe("attached");
    await world.scheduler.advance(2_000);
    await stopping;
    expect(alice.link?.isClosed).toBe(true);
  });

  test("the connection ends with the certificate", async () => {
    const alice = await known("blue.example/travel/alice");
    await world.scheduler.advance(defaults.certificateLifetimeMs + 10_000);
    expect(alice.link?.isClosed).toBe(true);
    expect(alive()).toBe(0);
  });
});
