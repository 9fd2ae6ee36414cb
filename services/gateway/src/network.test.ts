import {
  encodeHeader,
  FrameKind,
  FrameScan,
  newMessageId,
  scanFrame,
  TargetKind,
  wrapFrame,
} from "@causeway/core-wire";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LinkEnd } from "./testing/link-pair.ts";
import { settle } from "./testing/manual-scheduler.ts";
import { privateMessage } from "./testing/mls-bytes.ts";
import type { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

type Chain = Awaited<ReturnType<World["chain"]>>;
let world: World;
let net: Chain;
/** How the agents attach. */
let model: "stateful" | "soft" = "stateful";

beforeEach(async () => {
  world = new World();
  net = await world.chain();
});

/** Attached, registered and advertised; the network has heard of it. */
async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name, { model }).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

/** Frames of one kind that went over a link from `from` to `to`. */
function copies(from: WorldGateway, to: WorldGateway, kind: number = FrameKind.message): number {
  const end: LinkEnd | undefined = from.peerLinks.get(to.uri);
  const scan = new FrameScan();
  return (end?.sent ?? []).filter(
    (frame) => scanFrame(frame, 0, frame.length, scan) === undefined && scan.kind === kind,
  ).length;
}

const interGateway = (): readonly number[] => [
  copies(net.blue1, net.blue2),
  copies(net.blue2, net.green2),
  copies(net.green2, net.green1),
  copies(net.green1, net.green2),
  copies(net.green2, net.blue2),
  copies(net.blue2, net.blue1),
];

describe.each(["stateful", "soft"] as const)(
  "two domains with two gateways each, agents attached %s [AAP-93]",
  (each) => {
    beforeAll(() => {
      model = each;
    });
    afterAll(() => {
      model = "stateful";
    });

    test("the lease is of this model", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      expect(alice.negotiated?.model).toBe(model);
    });

    test("a message takes L1, L2, L2, L1 and the answer comes back, over gateway links only [AGP-18] [AAP-30] [ANA-8] [AMSP-26]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      await alice.message(bob.agentId, "hello bob");
      expect(bob.messages).toEqual(["hello bob"]);
      expect(interGateway()).toEqual([1, 1, 1, 0, 0, 0]);
      await bob.message(alice.agentId, "hello alice");
      expect(alice.messages).toEqual(["hello alice"]);
      expect(interGateway()).toEqual([1, 1, 1, 1, 1, 1]);
      expect([...alice.reports, ...bob.reports]).toEqual([]);
    });

    test("payloads arrive byte for byte over three hops, whatever is in them [AAP-11] [AAP-97]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      // Every byte value, in any order, from nothing but an authentication tag to several kilobytes.
      const contents = Array.from({ length: 60 }, (_, index) => world.random.bytes(16 + index * 67));
      expect(new Set(contents.flatMap((each) => [...each])).size).toBe(256);
      for (const each of contents) await alice.message(bob.agentId, each);
      const sent = alice.link?.sent ?? [];
      const scan = new FrameScan();
      const payloads = sent
        .filter((frame) => scanFrame(frame, 0, frame.length, scan) === undefined && scan.kind === FrameKind.message)
        .map((frame) => {
          scanFrame(frame, 0, frame.length, scan);
          return Buffer.from(frame.subarray(scan.payloadStart, scan.payloadEnd)).toString("hex");
        });
      expect(bob.envelopes.map((each) => Buffer.from(each.payload).toString("hex"))).toEqual(payloads);
      expect(payloads).toEqual(contents.map((each) => Buffer.from(privateMessage(each)).toString("hex")));
    });

    test("only the hop TTL of the header changes on the way", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      await alice.message(bob.agentId, "hello", {
        hopTtl: 9,
        securityContextId: Uint8Array.of(1, 2),
        traceContext: "00-aa-bb-01",
      });
      const [envelope] = bob.envelopes;
      expect(envelope?.header).toMatchObject({
        hopTtl: 6,
        source: alice.agentId,
        target: bob.agentId,
        traceContext: "00-aa-bb-01",
      });
      expect(envelope?.header?.securityContextId).toEqual(Uint8Array.of(1, 2));
    });

    test("a header field that no gateway knows survives three hops [AGP-57]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      const header = encodeHeader({
        targetKind: TargetKind.agent,
        target: bob.agentId,
        source: alice.agentId,
        messageId: newMessageId(world.random, world.scheduler.now().unix),
      });
      // Field 99, varint 42.
      const extended = wrapFrame(1, Uint8Array.from([...header, 0x98, 0x06, 0x2a]));
      alice.link?.send(wrapFrame(1, Uint8Array.from([...extended, ...wrapFrame(2, privateMessage("future"))])));
      await settle();
      expect(bob.messages).toEqual(["future"]);
      expect(bob.envelopes[0]?.header?.$unknown).toMatchObject([{ no: 99, wireType: 0, data: Uint8Array.of(0x2a) }]);
    });

    test("between agents of one gateway no other gateway is involved [AAP-77]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const carol = await known(net.blue1, "blue.example/travel/carol");
      await alice.message(carol.agentId, "hello");
      expect(carol.messages).toEqual(["hello"]);
      expect(interGateway()).toEqual([0, 0, 0, 0, 0, 0]);
    });

    test("a target at the neighbour uses that link and no other [AAP-78]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const dave = await known(net.blue2, "blue.example/travel/dave");
      await alice.message(dave.agentId, "hello");
      expect(dave.messages).toEqual(["hello"]);
      expect(interGateway()).toEqual([1, 0, 0, 0, 0, 0]);
    });

    test("the first message to a known remote agent causes no control frame and no query [ANA-125]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      const control = (): number =>
        [net.blue1, net.blue2].reduce(
          (sum, each) => sum + copies(each, each === net.blue1 ? net.blue2 : net.green2, FrameKind.control),
          0,
        );
      await alice.message(bob.agentId, "hello");
      expect(bob.messages).toEqual(["hello"]);
      expect(control()).toBe(0);
    });

    test("an agent that was never advertised is unreachable from outside, and reachable after it was [ANA-97] [ANA-41]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await world.agent(net.green1, "green.example/hotels/bob", { model }).attach();
      await alice.message(bob.agentId, "too early");
      expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
      await bob.advertise();
      await world.scheduler.advance(1_000);
      await alice.message(bob.agentId, "now");
      expect(bob.messages).toEqual(["now"]);
      await bob.request({ case: "advertise", value: { request: 9n, withdraw: true } }, "advertiseResult");
      await world.scheduler.advance(1_000);
      await alice.message(bob.agentId, "too late");
      expect(bob.messages).toEqual(["now"]);
      expect(alice.reports.at(-1)?.code).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
    });

    test("an agent that moves to another gateway is found on the new path at once [ANA-42] [AAP-95]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const identity = world.authority("green.example").enrol("green.example/hotels/bob");
      const { TestAgent: Agent } = await import("./testing/test-agent.ts");
      const before = await new Agent(world, net.green1, identity, { model }).attach();
      await before.advertise();
      await world.scheduler.advance(1_000);
      await alice.message(before.agentId, "first");
      const after = await new Agent(world, net.green2, identity, { model }).attach();
      await after.advertise({ revision: 2n });
      await world.scheduler.advance(1_000);
      await alice.message(before.agentId, "second");
      expect(before.messages).toEqual(["first"]);
      expect(after.messages).toEqual(["second"]);
      expect(copies(net.green2, net.green1)).toBe(1);
    });

    test("a lost peer is answered with PEER_LOST or NO_ROUTE at once, and its agents are back when it is [ANA-120]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      await world.kill(net.green2);
      await world.scheduler.advance(500);
      await alice.message(bob.agentId, "lost");
      expect(alice.reports.map((each) => each.code)).toEqual([expect.stringMatching(/PEER_LOST|NO_ROUTE/)]);
      await world.start(net.green2);
      await world.scheduler.advance(40_000);
      await alice.message(bob.agentId, "again");
      expect(bob.messages).toEqual(["again"]);
    });

    test("a gateway that leaves in good order is deleted with its agents at once [ANA-121]", async () => {
      const alice = await known(net.blue1, "blue.example/travel/alice");
      const bob = await known(net.green1, "green.example/hotels/bob");
      const stopping = net.green1.gateway?.stop({ deadlineMs: 0 });
      await world.scheduler.advance(200);
      await stopping;
      await alice.message(bob.agentId, "gone");
      expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    });
  },
);

describe.each(["stateful", "soft"] as const)("topics over gateways, agents attached %s [AAP-93]", (each) => {
  beforeAll(() => {
    model = each;
  });
  afterAll(() => {
    model = "stateful";
  });
  const topic = "blue.example/travel/alice/deals";

  async function create(owner: TestAgent, publishers: readonly string[] = []): Promise<void> {
    const result = await owner.request(
      {
        case: "topicCommand",
        value: { request: 1n, command: { case: "create", value: { topic, policy: { publishers: [...publishers] } } } },
      },
      "topicResult",
    );
    expect(result.error).toBeUndefined();
  }

  test("one message reaches three subscribers at two gateways once each, one copy on each link [AGP-2] [AGP-19]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await create(alice);
    const carol = await known(net.blue1, "blue.example/travel/carol");
    const bob = await known(net.green1, "green.example/hotels/bob");
    const erin = await known(net.green1, "green.example/hotels/erin");
    for (const each of [carol, bob, erin]) expect((await each.subscribe(topic)).error).toBeUndefined();
    await world.scheduler.advance(2_000);
    await alice.message(topic, "sale");
    expect([carol.messages, bob.messages, erin.messages]).toEqual([["sale"], ["sale"], ["sale"]]);
    expect(interGateway()).toEqual([1, 1, 1, 0, 0, 0]);
    expect(alice.messages).toEqual([]);
  });

  test("after the acknowledgement of an unsubscription nothing comes any more [AGP-9]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await create(alice);
    const carol = await known(net.blue1, "blue.example/travel/carol");
    await carol.subscribe(topic);
    await alice.message(topic, "one");
    const ended = await carol.request({ case: "unsubscribe", value: { request: 7n, topic } }, "subscriptionResult");
    expect(ended).toMatchObject({ request: 7n });
    expect(ended.error).toBeUndefined();
    await alice.message(topic, "two");
    expect(carol.messages).toEqual(["one"]);
  });

  test("a topic survives a restart of its gateway", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await create(alice);
    await world.kill(net.blue1);
    await world.start(net.blue1);
    const again = await world.agent(net.blue1, "blue.example/travel/carol", { model }).attach();
    const described = await again.request(
      { case: "topicCommand", value: { request: 2n, command: { case: "describe", value: { topic } } } },
      "topicResult",
    );
    expect(described.topics.map((each) => each.owner)).toEqual([alice.agentId]);
  });

  test("ten agents at three gateways publish 100 messages each, and each gets the 900 of the others once [AGP-4]", async () => {
    const alice = await known(net.blue1, "blue.example/travel/alice");
    await create(alice, ["spiffe://blue.example/", "spiffe://green.example/"]);
    const members = [alice];
    for (let index = 0; index < 9; index++) {
      const at = [net.blue1, net.blue2, net.green1][index % 3] ?? net.blue1;
      members.push(await known(at, `${at.domain}/crowd/a${index}`));
    }
    for (const each of members) expect((await each.subscribe(topic)).error).toBeUndefined();
    await world.scheduler.advance(2_000);
    for (let round = 0; round < 100; round++) {
      for (const [index, each] of members.entries()) await each.message(topic, `m${index}.${round}`, {});
    }
    await settle();
    for (const [index, each] of members.entries()) {
      expect(new Set(each.messages).size).toBe(900);
      expect(each.messages).toHaveLength(900);
      expect(each.messages.some((text) => text.startsWith(`m${index}.`))).toBe(false);
    }
  });

  test("in a ring of five Level-2 gateways each link carries one copy [AGP-19]", async () => {
    world = new World();
    const ring = [0, 1, 2, 3, 4].map((index) => world.add(`r${index}`, "blue.example", 2));
    for (const [index, each] of ring.entries())
      each.peers = [{ url: ring[(index + 1) % ring.length]?.url ?? "", kind: "peer" }];
    for (const each of ring) await world.start(each);
    await world.scheduler.advance(5_000);
    const [r0, r1, r2, r3, r4] = ring as [WorldGateway, WorldGateway, WorldGateway, WorldGateway, WorldGateway];
    const alice = await known(r0, "blue.example/travel/alice");
    await create(alice);
    const bob = await known(r2, "blue.example/crowd/bob");
    const carol = await known(r3, "blue.example/crowd/carol");
    for (const each of [bob, carol]) expect((await each.subscribe(topic)).error).toBeUndefined();
    await world.scheduler.advance(2_000);
    await alice.message(topic, "sale");
    expect([bob.messages, carol.messages]).toEqual([["sale"], ["sale"]]);
    const both = (a: WorldGateway, b: WorldGateway): number => copies(a, b) + copies(b, a);
    expect([both(r0, r1), both(r1, r2), both(r2, r3), both(r3, r4), both(r4, r0)]).toEqual([1, 1, 0, 1, 1]);
    const scan = new FrameScan();
    const lists = (end: LinkEnd | undefined): number =>
      (end?.sent ?? []).filter((f) => scanFrame(f, 0, f.length, scan) === undefined && scan.gatewaysEnd > 0).length;
    expect(lists(r1.peerLinks.get(r2.uri)) + lists(r4.peerLinks.get(r3.uri))).toBeGreaterThan(0);
  });
});
