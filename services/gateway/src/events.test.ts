import { admin, type agp, TargetKind } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { settle } from "./testing/manual-scheduler.ts";
import type { TestAgent } from "./testing/test-agent.ts";
import { World } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;

const topic = "blue.example/travel/alice/deals";

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await world.agent(net.blue1, "blue.example/travel/alice").attach();
  await alice.advertise();
  await world.scheduler.advance(1_000);
});

async function watch(agent: TestAgent, ...types: string[]): Promise<agp.SubscriptionResult> {
  return agent.request({ case: "eventWatch", value: { request: agent.nextRequest(), types } }, "subscriptionResult");
}

/** What the agent was told since the last call. */
function told(agent: TestAgent): { type: string; subject: string; cause: string; missed: bigint }[] {
  const events = agent.inbox.flatMap((each) => (each.case === "event" ? [each.value] : []));
  agent.inbox.length = 0;
  return events.map(({ type, subject, cause, missed, atUnixMs }) => {
    expect(Number(atUnixMs)).toBe(Math.round(world.scheduler.now().unix));
    return { type, subject, cause, missed };
  });
}

const namesOf = (events: readonly { type: string; subject: string }[]): string[] =>
  events.map(({ type, subject }) => `${type} ${subject}`);

async function command(agent: TestAgent, body: agp.TopicCommand["command"]): Promise<void> {
  const result = await agent.request(
    { case: "topicCommand", value: { request: 1n, command: body as never } },
    "topicResult",
  );
  expect(result.error).toBeUndefined();
}

describe("events, each when it happens, with type, time, subject and cause [AGP-11]", () => {
  test("topics: created, changed, deleted; members joined and left, for the owner", async () => {
    expect((await watch(alice, "topic.")).error).toBeUndefined();
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    await command(alice, { case: "create", value: { topic } } as never);
    await command(alice, { case: "create", value: { topic, policy: { idleExpiryMs: 5n } } } as never);
    await carol.subscribe(topic);
    await carol.subscribe(topic);
    await carol.request({ case: "unsubscribe", value: { request: 9n, topic } }, "subscriptionResult");
    await carol.subscribe(topic);
    await carol.crash();
    await command(alice, { case: "delete", value: { topic } } as never);
    const events = told(alice);
    expect(namesOf(events)).toEqual([
      `topic.created ${topic}`,
      `topic.changed ${topic}`,
      `topic.joined ${topic}`,
      `topic.left ${topic}`,
      `topic.joined ${topic}`,
      `topic.left ${topic}`,
      `topic.deleted ${topic}`,
    ]);
    expect(events[2]?.cause).toBe(carol.agentId);
    expect(events[6]?.cause).toContain(alice.agentId);
  });

  test("an idle topic that ends", async () => {
    await watch(alice, "topic.expired");
    await command(alice, { case: "create", value: { topic, policy: { idleExpiryMs: 2_000n } } } as never);
    // Advanced in one piece, the time of the event is that of its deadline.
    for (let second = 0; second < 5; second++) await world.scheduler.advance(1_000);
    const events = alice.inbox.flatMap((each) => (each.case === "event" ? [each.value] : []));
    expect(namesOf(events)).toEqual([`topic.expired ${topic}`]);
  });

  test("agents of the domain that come and go, not to agents of another domain", async () => {
    await watch(alice, "agent.");
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    expect(namesOf(told(alice))).toEqual([`agent.attached ${carol.agentId}/@main`]);
    await carol.detach();
    expect(namesOf(told(alice))).toEqual([`agent.left ${carol.agentId}/@main`]);
  });

  test("neighbours that go and come, by their domain and not by their address [AAP-4]", async () => {
    await watch(alice, "peer.");
    await world.kill(net.blue2);
    expect(namesOf(told(alice))).toEqual(["peer.down blue.example"]);
    await world.start(net.blue2);
    await world.scheduler.advance(60_000);
    const events = alice.inbox.flatMap((each) => (each.case === "event" ? [each.value] : []));
    expect(namesOf(events)).toEqual(["peer.up blue.example"]);
  });

  test("a delivery that failed, to its source only", async () => {
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    await watch(alice, "delivery.");
    await watch(carol, "delivery.");
    const id = await alice.message("spiffe://blue.example/travel/nobody", "hello");
    await settle();
    const [event, ...more] = told(alice);
    expect([event?.type, event?.subject, more]).toEqual(["delivery.failed", Buffer.from(id).toString("hex"), []]);
    expect(event?.cause).toContain("CAUSEWAY_FORWARDING_NO_ROUTE");
    expect(told(carol)).toEqual([]);
  });

  test("a revoked certificate", async () => {
    await watch(alice, "credential.revoked");
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    alice.inbox.length = 0;
    await world.revoke("blue.example", carol.identity);
    expect(namesOf(told(alice))).toEqual([`credential.revoked ${carol.agentId}`]);
  });
});

describe("who hears what", () => {
  test("nothing without asking, nothing of other types, nothing after the watch was ended", async () => {
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    await carol.detach();
    expect(told(alice)).toEqual([]);
    await watch(alice, "peer.up");
    const dave = await world.agent(net.blue1, "blue.example/travel/dave").attach();
    expect(told(alice)).toEqual([]);
    await watch(alice, "agent.");
    await watch(alice);
    await dave.detach();
    expect(told(alice)).toEqual([]);
  });

  test("a topic's events stay with those who may subscribe to it", async () => {
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    const dave = await world.agent(net.blue1, "blue.example/travel/dave").attach();
    await watch(carol, "topic.");
    await watch(dave, "topic.");
    await command(alice, { case: "create", value: { topic, policy: { subscribers: [carol.agentId] } } } as never);
    expect(namesOf(told(carol))).toEqual([`topic.created ${topic}`]);
    expect(told(dave)).toEqual([]);
  });

  test("a flood is cut, and the next event says how many were left out", async () => {
    await watch(alice, "delivery.");
    for (let round = 0; round < 300; round++)
      await alice.message("spiffe://blue.example/travel/nobody", "hello", { targetKind: TargetKind.agent });
    const first = told(alice);
    expect(first.length).toBeLessThan(300);
    await world.scheduler.advance(2_000);
    alice.inbox.length = 0;
    await alice.message("spiffe://blue.example/travel/nobody", "hello");
    expect(told(alice).map(({ missed }) => Number(missed))).toEqual([300 - first.length]);
  });

  test("more than 64 types are refused", async () => {
    const types = Array.from({ length: 65 }, (_, index) => `topic.t${index}`);
    expect((await watch(alice, ...types)).error?.code).toBe("CAUSEWAY_LIMIT_COUNT");
  });

  test("an operator hears everything; nobody else may", async () => {
    const identity = world.authority("blue.example").enrol("blue.example/operator/olga", "operator");
    const client = createClient(admin.GatewayAdminService, world.clientOf(net.blue1, identity));
    const stop = new AbortController();
    const heard: string[] = [];
    const watching = (async () => {
      for await (const { event } of client.watchEvents({}, { signal: stop.signal }))
        heard.push(event === undefined ? "watching" : `${event.type} ${event.subject}`);
    })().catch(() => undefined);
    await settle();
    // Nothing has happened yet: this one tells that the watch was accepted.
    expect(heard.splice(0)).toEqual(["watching"]);
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    await alice.message("spiffe://blue.example/travel/nobody", "hello");
    await settle();
    stop.abort();
    await watching;
    expect(heard[0]).toBe(`agent.attached ${carol.agentId}/@main`);
    expect(heard[1]).toMatch(/^delivery.failed [0-9a-f]{32}$/);
    const stranger = world.clientOf(
      net.blue1,
      world.authority("green.example").enrol("green.example/operator/otto", "operator"),
    );
    const refused = createClient(admin.GatewayAdminService, stranger).watchEvents({})[Symbol.asyncIterator]();
    await expect(refused.next()).rejects.toThrow(/operator of blue.example/);
  });
});
