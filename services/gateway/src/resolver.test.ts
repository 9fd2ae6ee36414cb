/** Route discovery through real gateways: what a Level-1 gateway does without an entry (ADR 50). */
import { create } from "@bufbuild/protobuf";
import { admin, agp, FrameKind, FrameScan, scanFrame } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { toForwarding } from "./route-installer.ts";
import { keyPackage } from "./testing/mls-bytes.ts";
import { requestId, type TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

const nobody = "spiffe://green.example/hotels/nobody";
const codes = (agent: TestAgent): readonly string[] => agent.reports.map((each) => each.code);
const errors = (agent: TestAgent) =>
  agent.inbox.flatMap((each) =>
    each.case === "control" && each.value.body.case === "deliveryReport" ? [each.value.body.value.error] : [],
  );
const counter = (at: WorldGateway, name: string): number => at.gateway?.status().counters[name] ?? 0;
const entries = (at: WorldGateway, agent: TestAgent): number =>
  at.gateway?.inspect().table.candidates(agent.agentId).length ?? 0;

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

const running = (at: WorldGateway) => {
  const parts = at.gateway?.inspect();
  if (parts === undefined) throw new Error("the gateway is down");
  return parts;
};
const setLimit = async (name: string, value: number): Promise<void> => {
  const operator = world.authority("blue.example").enrol("blue.example/operator/olga", "operator");
  await createClient(admin.LimitsService, world.clientOf(net.blue1, operator)).setLimit({ name, value: BigInt(value) });
};

/** Messages that went up from the Level-1 gateway. */
function sentUp(): number {
  const scan = new FrameScan();
  return (net.blue1.peerLinks.get(net.blue2.uri)?.sent ?? []).filter(
    (frame) => scanFrame(frame, 0, frame.length, scan) === undefined && scan.kind === FrameKind.message,
  ).length;
}

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  await world.kill(net.blue1);
  net.blue1.terms = { unknownTargets: "query" };
  await world.start(net.blue1);
  await world.scheduler.advance(5_000);
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.green1, "green.example/hotels/bob");
});

describe("a Level-1 gateway that asks", () => {
  test("asks once for all messages to an agent without entry, enters the answer, and forwards what waited, in order [AAP-43] [AAP-79] [AMSP-101]", async () => {
    expect(entries(net.blue1, bob)).toBe(0);
    const eve = await world.agent(net.blue1, "blue.example/travel/eve", { advertise: false }).attach();
    await Promise.all([
      alice.message(bob.agentId, "one"),
      alice.message(bob.agentId, "two"),
      eve.message(bob.agentId, "three"),
    ]);
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["one", "two", "three"]);
    expect(counter(net.blue1, "route_queries")).toBe(1);
    expect(entries(net.blue1, bob)).toBe(1);
    await alice.message(bob.agentId, "four");
    expect(bob.messages.at(-1)).toBe("four");
    expect(counter(net.blue1, "route_queries")).toBe(1);
    await bob.message(alice.agentId, "answer");
    expect(alice.messages).toEqual(["answer"]);
  });

  test("says within the time of a round trip that nobody knows the target, remembers it, and sends nothing up [AAP-79] [AMSP-101]", async () => {
    await alice.message(nobody, "anybody?");
    await world.scheduler.advance(1_000);
    expect(codes(alice)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    await alice.message(nobody, "really?");
    expect(codes(alice)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE", "CAUSEWAY_FORWARDING_NO_ROUTE"]);
    expect(counter(net.blue1, "route_queries")).toBe(1);
    await world.scheduler.advance(6_000);
    await alice.message(nobody, "and now?");
    await world.scheduler.advance(1_000);
    expect(counter(net.blue1, "route_queries")).toBe(2);
    expect(codes(alice)).toHaveLength(3);
    expect(sentUp()).toBe(0);
  });

  test("refuses after two seconds when no answer comes, and asks anew [AAP-79] [AMSP-101]", async () => {
    const { sync } = running(net.blue1);
    const ask = sync.query.bind(sync);
    // As when the store fails and the record base is read anew: whoever asked hears nothing.
    sync.query = () => undefined;
    await alice.message(bob.agentId, "one");
    await world.scheduler.advance(1_999);
    expect(codes(alice)).toEqual([]);
    await world.scheduler.advance(1);
    expect(codes(alice)).toEqual(["CAUSEWAY_TIMEOUT"]);
    sync.query = ask;
    await alice.message(bob.agentId, "two");
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["two"]);
  });

  test("enters nothing for an agent that it did not ask for", async () => {
    const { sync, table } = running(net.blue1);
    const dave = await known(net.blue1, "blue.example/travel/dave");
    const stranger = await known(net.green1, "green.example/hotels/stranger");
    const before = table.candidates(dave.agentId);
    const routes = [...world.routes(net.blue2, dave.agentId), ...world.routes(net.blue2, stranger.agentId)];
    expect(routes).toHaveLength(2);
    sync.query = (_agentId, done) =>
      done({ found: true, routes: routes.map((route) => ({ ...route, via: net.blue2.uri })) });
    await alice.message(bob.agentId, "one");
    await world.scheduler.advance(100);
    expect(codes(alice)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
    expect(table.candidates(dave.agentId)).toEqual(before);
    expect(table.candidates(stranger.agentId)).toEqual([]);
    await world.scheduler.advance(400_000);
    expect(table.candidates(dave.agentId)).toEqual(before);
  });

  test("leaves an entry of the record base as it is, when it is answered and when the answer has lasted its time", async () => {
    const { sync, table } = running(net.blue1);
    const [route] = world.routes(net.blue2, bob.agentId);
    if (route === undefined) throw new Error("expected a record of bob");
    const fromBase = toForwarding({ ...route, via: net.blue2.uri });
    sync.query = (_agentId, done) => {
      table.apply({ kind: "put", candidate: fromBase });
      done({ found: true, routes: [{ ...route, via: net.green2.uri, version: { epoch: 0n, sequence: 0n } }] });
    };
    await alice.message(bob.agentId, "one");
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["one"]);
    expect(table.candidates(bob.agentId)).toEqual([fromBase]);
    await world.scheduler.advance(400_000);
    expect(table.candidates(bob.agentId)).toEqual([fromBase]);
  });

  test("ends an open query in the time that counts now, and asks again for whom nobody knew [AAP-103]", async () => {
    const { sync } = running(net.blue1);
    const ask = sync.query.bind(sync);
    sync.query = () => undefined;
    await setLimit("resolveMs", 3_600_000);
    await alice.message(bob.agentId, "one");
    await world.scheduler.advance(5_000);
    expect(codes(alice)).toEqual([]);
    await setLimit("resolveMs", 6_000);
    await world.scheduler.advance(999);
    expect(codes(alice)).toEqual([]);
    await world.scheduler.advance(1);
    expect(codes(alice)).toEqual(["CAUSEWAY_TIMEOUT"]);
    sync.query = ask;
    await setLimit("unknownMs", 3_600_000);
    await alice.message(nobody, "anybody?");
    await world.scheduler.advance(6_000);
    await alice.message(nobody, "really?");
    expect(counter(net.blue1, "route_queries")).toBe(2);
    await setLimit("unknownMs", 5_000);
    await alice.message(nobody, "and now?");
    expect(counter(net.blue1, "route_queries")).toBe(3);
  });

  test("asks for so many agents a minute because of one sender, and as before for others", async () => {
    const eve = await world.agent(net.blue1, "blue.example/travel/eve", { advertise: false }).attach();
    await setLimit("unknownTargetsPerMinute", 2);
    await eve.message(`${nobody}1`, "one");
    await eve.message(`${nobody}1`, "as this was asked for, it counts no more");
    await eve.message(`${nobody}2`, "two");
    await eve.message(`${nobody}3`, "three");
    await world.scheduler.advance(100);
    const limited = errors(eve).filter((each) => each?.code === "CAUSEWAY_LIMIT_RATE");
    expect(limited).toMatchObject([{ details: { limit: "unknownTargetsPerMinute" } }]);
    const wait = Number(limited[0]?.retryAfterMs);
    expect(wait).toBeGreaterThan(0);
    expect(codes(eve).filter((code) => code === "CAUSEWAY_FORWARDING_NO_ROUTE")).toHaveLength(3);
    expect(counter(net.blue1, "route_queries")).toBe(2);
    await alice.message(bob.agentId, "hello");
    await world.scheduler.advance(wait);
    expect(bob.messages).toEqual(["hello"]);
    await eve.message(`${nobody}3`, "three");
    await world.scheduler.advance(100);
    expect(counter(net.blue1, "route_queries")).toBe(4);
  });

  test("gives one sender a share of the open queries only", async () => {
    const { sync } = running(net.blue1);
    const ask = sync.query.bind(sync);
    const eve = await world.agent(net.blue1, "blue.example/travel/eve", { advertise: false }).attach();
    await setLimit("resolvingPerSourceMax", 2);
    sync.query = () => undefined;
    for (const name of ["1", "2", "3"]) await eve.message(`${nobody}${name}`, name);
    expect(errors(eve)).toMatchObject([
      { code: "CAUSEWAY_FORWARDING_OVERLOADED", details: { limit: "resolvingPerSourceMax" } },
    ]);
    sync.query = ask;
    await alice.message(bob.agentId, "hello");
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["hello"]);
  });

  test("tells a sender that nobody is connected who could be asked", async () => {
    await world.kill(net.blue2);
    await world.scheduler.advance(1_000);
    await alice.message(bob.agentId, "one");
    await world.scheduler.advance(2_000);
    expect(codes(alice)).toEqual(["CAUSEWAY_FORWARDING_PEER_LOST"]);
    await world.start(net.blue2);
    await world.scheduler.advance(60_000);
    await alice.message(bob.agentId, "two");
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["two"]);
  });

  test("holds a bounded number of messages for the answer", async () => {
    await world.kill(net.blue1);
    net.blue1.limits = { heldMessagesMax: 2 };
    await world.start(net.blue1);
    await world.scheduler.advance(60_000);
    await Promise.all(["one", "two", "three"].map((text) => alice.message(bob.agentId, text)));
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["one", "two"]);
    expect(codes(alice)).toEqual(["CAUSEWAY_FORWARDING_OVERLOADED"]);
  });

  test("asks for who answers a fetch of a key package, too", async () => {
    const upload = { request: 1n, keyPackages: [keyPackage("package")] };
    await bob.request({ case: "keyPackageUpload", value: upload }, "keyPackageUploadResult");
    const value = create(agp.KeyPackageFetchSchema, { suite: 1 });
    await alice.control(bob.agentId, { case: "keyPackageFetch", value }, requestId(7));
    await world.scheduler.advance(100);
    const answers = alice.inbox.flatMap((each) => (each.case === "control" ? [each.value.body.case] : []));
    expect(answers).toEqual(["keyPackageResult"]);
    expect(counter(net.blue1, "route_queries")).toBe(1);
  });

  test("answers a sender that is not advertised without a query, by the way back", async () => {
    const guest = await world.agent(net.green1, "green.example/cli/guest", { advertise: false }).attach();
    await guest.message(alice.agentId, "hello");
    await alice.message(guest.agentId, "hello yourself");
    expect(guest.messages).toEqual(["hello yourself"]);
    expect(counter(net.blue1, "route_queries")).toBe(0);
  });

  test("asks anew after the link to the neighbour was lost", async () => {
    await alice.message(bob.agentId, "one");
    await world.scheduler.advance(100);
    await world.kill(net.blue2);
    await world.scheduler.advance(100);
    expect(entries(net.blue1, bob)).toBe(0);
    await world.start(net.blue2);
    await world.scheduler.advance(60_000);
    await alice.message(bob.agentId, "two");
    await world.scheduler.advance(100);
    expect(bob.messages).toEqual(["one", "two"]);
    expect(counter(net.blue1, "route_queries")).toBe(2);
  });
});

test("by default the uplink decides and nobody is asked, so that a first message takes no round trip more", async () => {
  const carol = await known(net.green1, "green.example/hotels/carol");
  await carol.message(alice.agentId, "hello");
  expect(alice.messages).toEqual(["hello"]);
  expect(counter(net.green1, "route_queries")).toBe(0);
  await carol.message("spiffe://blue.example/x/nobody", "anybody?");
  expect(codes(carol)).toEqual(["CAUSEWAY_FORWARDING_NO_ROUTE"]);
});
