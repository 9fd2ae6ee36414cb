/** The tables that operators read, as they follow what agents do. */
import { admin } from "@causeway/core-wire";
import { type Client, createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { TestAgent, type TestAgentOptions } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;

beforeEach(async () => {
  world = new World();
  net = await world.chain();
});

function operator(at: WorldGateway): Client<typeof admin.GatewayAdminService> {
  const identity = world.authority(at.domain).enrol(`${at.domain}/operator/olga`, "operator");
  return createClient(admin.GatewayAdminService, world.clientOf(at, identity));
}

const unixNow = (): number => Math.round(world.scheduler.now().unix);
const attached = (at: WorldGateway, name: string, options?: TestAgentOptions): Promise<TestAgent> =>
  world.agent(at, name, options).attach();

async function rowOf(agent: TestAgent, at = net.blue1): Promise<admin.Attachment> {
  const { attachments } = await operator(at).listAttachments({ prefix: agent.agentId });
  const [row] = attachments;
  if (row === undefined || attachments.length > 1) throw new Error(`expected one row, got ${attachments.length}`);
  return row;
}

describe("attachments", () => {
  test("an attachment is listed with agent, model, features, start and expiry [AAP-64]", async () => {
    const startedAt = unixNow();
    const onlyFeatures = ["agp/1", "mls/1", "far-future/9"];
    const stateful = await attached(net.blue1, "blue.example/travel/stateful", { onlyFeatures, instance: "i-1" });
    const soft = await attached(net.blue1, "blue.example/travel/soft", { model: "soft" });
    const row = await rowOf(stateful);
    expect(row).toMatchObject({ agentId: stateful.agentId, instance: "i-1", model: "stateful", state: "ATTACHED" });
    expect(row.gatewayUri).toBe(net.blue1.uri);
    expect(row.features.toSorted()).toEqual(["agp/1", "mls/1"]);
    expect(row.features.toSorted()).toEqual([...(stateful.negotiated?.features ?? [])].sort());
    // Silence makes it stale after 90 s and removes it 300 s later; a soft one lives for its lease of 300 s.
    expect([Number(row.sinceUnixMs), Number(row.expiresUnixMs)]).toEqual([startedAt, startedAt + 390_000]);
    const softRow = await rowOf(soft);
    expect([softRow.model, Number(softRow.expiresUnixMs)]).toEqual(["soft", startedAt + 300_000]);

    await world.scheduler.advance(31_000);
    const renewed = await rowOf(stateful);
    expect(Number(renewed.sinceUnixMs)).toBe(startedAt);
    expect(renewed.expiresUnixMs).toBeGreaterThan(row.expiresUnixMs);
  });

  test("state, last heartbeat and counters follow what the agent does: beats, sends, falls silent, returns [AAP-83]", async () => {
    const alice = await attached(net.blue1, "blue.example/travel/alice");
    const carol = await attached(net.blue1, "blue.example/travel/carol");
    expect(await rowOf(alice)).toMatchObject({ messagesIn: 0n, messagesOut: 0n });
    await alice.message(carol.agentId, "one");
    await alice.message(carol.agentId, "two");
    await carol.message(alice.agentId, "three");
    expect(await rowOf(alice)).toMatchObject({ messagesIn: 2n, messagesOut: 1n });
    expect(await rowOf(carol)).toMatchObject({ messagesIn: 1n, messagesOut: 2n });

    const first = await rowOf(alice);
    await world.scheduler.advance(65_000);
    const beating = await rowOf(alice);
    expect(beating.state).toBe("ATTACHED");
    expect(beating.lastHeardUnixMs).toBeGreaterThan(first.lastHeardUnixMs);
    expect(unixNow() - Number(beating.lastHeardUnixMs)).toBeLessThan(31_000);

    alice.vanish();
    await world.scheduler.advance(100_000);
    expect(await rowOf(alice)).toMatchObject({ state: "STALE", lastHeardUnixMs: beating.lastHeardUnixMs });
    expect(await rowOf(carol)).toMatchObject({ state: "ATTACHED" });
    await new TestAgent(world, net.blue1, alice.identity).attach();
    expect(await rowOf(alice)).toMatchObject({ state: "ATTACHED", lastHeardUnixMs: BigInt(unixNow()) });
  });

  test("each attachment has one gateway, also after a move to another one of the domain [AAP-33]", async () => {
    const other = world.add("l1b", "blue.example", 1);
    other.peers = [{ url: net.blue2.url, kind: "uplink" }];
    await world.start(other);
    await world.scheduler.advance(5_000);
    const rows = async (): Promise<unknown> => {
      const gateways = [net.blue1, other, net.blue2];
      const lists = await Promise.all(gateways.map((at) => operator(at).listAttachments({})));
      return lists.flatMap(({ attachments }) => attachments.map((each) => [each.agentId, each.gatewayUri, each.state]));
    };
    const alice = await attached(net.blue1, "blue.example/travel/alice");
    const bert = await attached(other, "blue.example/travel/bert");
    const bertRow = [bert.agentId, other.uri, "ATTACHED"];
    expect(await rows()).toEqual([[alice.agentId, net.blue1.uri, "ATTACHED"], bertRow]);

    await alice.detach();
    const moved = await new TestAgent(world, other, alice.identity).attach();
    expect(await rows()).toEqual([bertRow, [alice.agentId, other.uri, "ATTACHED"]]);

    // Without a goodbye the old gateway keeps what it had, as stale, until it expires.
    await moved.crash();
    await world.scheduler.advance(1_000);
    await new TestAgent(world, net.blue1, alice.identity).attach();
    const aliceRow = [alice.agentId, net.blue1.uri, "ATTACHED"];
    expect(await rows()).toEqual([aliceRow, bertRow, [alice.agentId, other.uri, "STALE"]]);
    await world.scheduler.advance(400_000);
    expect(await rows()).toEqual([aliceRow, bertRow]);
  });

  test("what an agent says of itself shows in the list, in the order in which it says it [ANA-100]", async () => {
    const alice = await attached(net.blue1, "blue.example/travel/alice");
    const seen = [(await rowOf(alice)).condition];
    for (const condition of ["degraded", "offline", "running"] as const) {
      alice.setCondition(condition);
      await world.scheduler.advance(40_000);
      const { condition: shown, state } = await rowOf(alice);
      const { routes } = await operator(net.blue1).listRoutes({ prefix: alice.agentId });
      expect([state, routes.map((each) => each.status)]).toEqual(["ATTACHED", [shown.replace("running", "online")]]);
      seen.push(shown);
    }
    expect(seen).toEqual(["running", "degraded", "offline", "running"]);
  });
});

test("attachments and routes of a name or of all below one are listed, up to a limit that is told", async () => {
  const names = ["travel/alice", "travel/alice2", "travelling/bob", "desk/dora"];
  for (const name of names) await attached(net.blue1, `blue.example/${name}`);
  const client = operator(net.blue1);
  const listed = async (request: { prefix?: string; limit?: number }): Promise<unknown> => {
    const [{ attachments, truncated }, table] = [
      await client.listAttachments(request),
      await client.listRoutes(request),
    ];
    const agents = attachments.map((each) => each.agentId.replace("spiffe://blue.example/", ""));
    const ofRoutes = table.routes.filter((each) => each.target !== "*");
    expect(ofRoutes.map((each) => each.target.replace("spiffe://blue.example/", ""))).toEqual(agents);
    return [agents, truncated, table.truncated];
  };
  expect(await listed({})).toEqual([names, false, false]);
  expect(await listed({ prefix: "blue.example/travel" })).toEqual([["travel/alice", "travel/alice2"], false, false]);
  expect(await listed({ prefix: "spiffe://blue.example/travel/alice" })).toEqual([["travel/alice"], false, false]);
  expect(await listed({ prefix: "blue.example", limit: 4 })).toEqual([names, false, false]);
  expect(await listed({ limit: 3 })).toEqual([names.slice(0, 3), true, true]);
  expect(await listed({ prefix: "green.example" })).toEqual([[], false, false]);
});

test("the subscription table has agents here with their state and gateways with the way to them [AGP-59]", async () => {
  const alice = await attached(net.blue1, "blue.example/travel/alice");
  await alice.advertise();
  const topic = "blue.example/travel/alice/deals";
  const below = "blue.example/travel/alice/*";
  await alice.request(
    { case: "topicCommand", value: { request: 1n, command: { case: "create", value: { topic } } } },
    "topicResult",
  );
  const carol = await attached(net.blue1, "blue.example/travel/carol", { instance: "i-2" });
  const bob = await attached(net.green1, "green.example/hotels/bob");
  await carol.subscribe(topic);
  await bob.subscribe(topic);
  await bob.subscribe(below);
  await world.scheduler.advance(1_000);
  const table = async (at: WorldGateway) =>
    (await operator(at).listTopics({})).subscriptions.map(({ topic: each, subscriber, instance, peer, state }) => [
      each,
      subscriber,
      instance,
      peer,
      state,
    ]);
  const carolRow = [topic, carol.agentId, "i-2", "", "ATTACHED"];
  const wanted = (pattern: string, origin: string, peer: string) => [pattern, origin, "", peer, "ANNOUNCED"];
  // A Level-1 gateway is told one set by its Level-2 gateway; Level-2 gateways tell each other who wants what.
  const elsewhere = [below, topic].map((each) => wanted(each, net.blue2.uri, net.blue2.uri));
  expect(await table(net.blue1)).toEqual([...elsewhere, carolRow].toSorted(byText));
  expect((await operator(net.blue1).listTopics({})).topics).toMatchObject([
    { topic, owner: alice.agentId, subscribers: [carol.agentId], peers: [net.blue2.uri] },
  ]);
  expect(await table(net.blue2)).toEqual(
    [
      wanted(topic, net.blue1.uri, net.blue1.uri),
      wanted(topic, net.green1.uri, net.green2.uri),
      wanted(below, net.green1.uri, net.green2.uri),
    ].toSorted(byText),
  );

  carol.vanish();
  await bob.crash();
  await world.scheduler.advance(100_000);
  expect(await table(net.blue1)).toEqual([[topic, carol.agentId, "i-2", "", "STALE"]]);
});

const byText = (a: readonly string[], b: readonly string[]): number => (`${a[0]} ${a[1]}` < `${b[0]} ${b[1]}` ? -1 : 1);
