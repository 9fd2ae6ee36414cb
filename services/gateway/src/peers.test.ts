import { create } from "@bufbuild/protobuf";
import { type agp, amsp, decodeFrame, encodeFrame } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { linkPair } from "./testing/link-pair.ts";
import { settle } from "./testing/manual-scheduler.ts";
import type { TestIdentity } from "./testing/pki.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let at: WorldGateway;

beforeEach(async () => {
  world = new World(["blue.example", "green.example"]);
  at = world.add("l2", "blue.example", 2);
  await world.start(at);
});

const peers = (): readonly string[] => (at.gateway?.status().peers === 0 ? [] : ["one"]);

/** Dials `at` as `identity` and introduces itself so; the code of the refusal, or "accepted". */
async function introduce(
  identity: TestIdentity,
  open: Partial<agp.PeerOpen> & { gatewayUri?: string },
): Promise<string> {
  const now = world.scheduler.now().unix;
  const pair = linkPair(at.trust.peer(identity, now), world.trust("green.example").peer(at.identity, now));
  const answers: string[] = [];
  pair.near.onFrames((frames) => {
    for (const { buffer, start, end } of frames) {
      const body = decodeFrame(buffer, start, end);
      answers.push(body.case === "error" ? (body.value.error?.message ?? "") : body.case);
    }
  });
  at.gateway?.handleLink(pair.far);
  pair.near.send(encodeFrame({ case: "peerOpen", value: { ...open, $typeName: "causeway.agp.v1.PeerOpen" } as never }));
  await settle();
  return answers[0] === "peerAccept" ? "accepted" : `${pair.near.closedWith?.code}: ${answers[0]}`;
}

describe("interconnection of gateways", () => {
  const uri = "https://l2.green.example/amsp";
  const certified = { uri: uri as never, level: 2, namespaces: [] } as const;
  let green: TestIdentity;
  const complete = { gatewayUri: uri, level: 2, features: ["agp/1"] };

  beforeEach(() => {
    green = world.authority("green.example").enrol("green.example/gateway/l2", "gateway", certified);
  });

  test("a request that lacks an item is refused with the item named; a complete one is accepted [ANA-111] [ANA-114]", async () => {
    expect(await introduce(green, { ...complete, gatewayUri: "" })).toContain("gateway_uri");
    expect(await introduce(green, { ...complete, level: 0 })).toContain("level");
    expect(await introduce(green, { ...complete, features: [] })).toContain("features");
    expect(peers()).toEqual([]);
    expect(await introduce(green, complete)).toBe("accepted");
    expect(peers()).toHaveLength(1);
  });

  test("another name, another level and another protocol than the certified ones are refused with different reasons [ANA-112] [AMSP-103]", async () => {
    const refusals = [
      await introduce(green, { ...complete, gatewayUri: "https://l2.blue.example/other" }),
      await introduce(green, { ...complete, level: 1 }),
      await introduce(green, { ...complete, features: ["agp/9"] }),
    ];
    const low = { uri: "https://l1.blue.example/amsp" as never, level: 1, namespaces: [] } as const;
    const climber = world.authority("blue.example").enrol("blue.example/gateway/l1", "gateway", low);
    expect(await introduce(climber, { ...complete, gatewayUri: low.uri, level: 2 })).toMatch(
      /^CAUSEWAY_SYNC_PEER_NOT_ALLOWED/,
    );
    expect(refusals.map((each) => each.split(":")[0])).toEqual([
      "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
      "CAUSEWAY_SYNC_PEER_NOT_ALLOWED",
      "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
    ]);
    expect(new Set(refusals).size).toBe(3);
    expect(peers()).toEqual([]);
  });

  test("a gateway that is certified with the URI of another domain's neighbour does not take its place [AMSP-40]", async () => {
    expect(await introduce(green, complete)).toBe("accepted");
    const rogue = world.authority("blue.example").enrol("blue.example/gateway/rogue", "gateway", certified);
    expect(await introduce(rogue, complete)).toContain("CAUSEWAY_SYNC_DUPLICATE_GATEWAY");
    expect(peers()).toHaveLength(1);
  });

  test("a Level-1 gateway of another domain is no neighbour of ours", async () => {
    const foreign = world.authority("green.example").enrol("green.example/gateway/l1", "gateway", {
      uri: "https://l1.green.example/amsp" as never,
      level: 1,
      namespaces: [],
    });
    const answer = await introduce(foreign, {
      gatewayUri: "https://l1.green.example/amsp",
      level: 1,
      features: ["agp/1"],
    });
    expect(answer).toMatch(/^CAUSEWAY_SYNC_PEER_NOT_ALLOWED/);
  });

  test("a neighbour that may not peer is told so by code and reason, and nothing else", async () => {
    const name = "https://l1.green.example/amsp";
    const foreign = { uri: name as never, level: 1, namespaces: [] } as const;
    const low = world.authority("green.example").enrol("green.example/gateway/l1", "gateway", foreign);
    const client = createClient(amsp.SyncService, world.clientOf(at, low));
    const received: amsp.Message[] = [];
    const session = async (): Promise<void> => {
      async function* hello() {
        yield create(amsp.MessageSchema, { body: { case: "hello", value: { version: 1, gatewayUri: name, role: 1 } } });
      }
      for await (const message of client.session(hello())) received.push(message);
    };
    await expect(session()).rejects.toThrow("CAUSEWAY_SYNC_PEER_NOT_ALLOWED");
    expect(received.map(({ body }) => body.case)).toEqual(["close"]);
  });

  test("an agent's certificate opens no peering session and receives no record [AMSP-104]", async () => {
    const agent = world.authority("blue.example").enrol("blue.example/travel/eve");
    const client = createClient(amsp.SyncService, world.clientOf(at, agent));
    const received: amsp.Message[] = [];
    const session = async (): Promise<void> => {
      async function* hello() {
        yield create(amsp.MessageSchema, { body: { case: "hello", value: { version: 1, gatewayUri: uri, role: 2 } } });
      }
      for await (const message of client.session(hello())) received.push(message);
    };
    await expect(session()).rejects.toThrow("CAUSEWAY_IDENTITY_ROLE_WRONG");
    expect(received).toEqual([]);
  });

  test("a revoked neighbour is out at once [AMSP-104]", async () => {
    expect(await introduce(green, complete)).toBe("accepted");
    await world.revoke("green.example", green);
    expect(peers()).toEqual([]);
    expect(at.log.some((line) => line.event === "peer.link_down")).toBe(true);
  });

  test("two configured neighbours are both up after the start, and again after a restart [AMSP-8]", async () => {
    const [a, b] = [world.add("a", "blue.example", 2), world.add("b", "green.example", 2)];
    await world.start(a);
    await world.start(b);
    await world.kill(at);
    at.peers = [a, b].map((each) => ({ url: each.url, kind: "peer" }));
    for (let round = 0; round < 2; round++) {
      await world.start(at);
      await world.scheduler.advance(2_000);
      expect(at.gateway?.status().peers).toBe(2);
      expect(states(at)).toEqual(["ESTABLISHED", "ESTABLISHED"]);
      if (round === 0) await world.kill(at);
    }
  });

  test("a third Level-2 gateway joins two that know each other and meshes with both [AMSP-12]", async () => {
    const [a, b] = [world.add("a", "green.example", 2), world.add("b", "green.example", 2)];
    a.peers = [{ url: at.url, kind: "peer" }];
    await world.start(a);
    await world.scheduler.advance(1_000);
    b.peers = [a, at].map((each) => ({ url: each.url, kind: "peer" }));
    await world.start(b);
    await world.scheduler.advance(2_000);
    for (const each of [at, a, b]) expect(each.gateway?.status().peers).toBe(2);
  });

  test("when both sides dial, one link stays, the one that the lower URI dialled", async () => {
    const other = world.add("a", "green.example", 2);
    other.peers = [{ url: at.url, kind: "peer" }];
    await world.kill(at);
    at.peers = [{ url: other.url, kind: "peer" }];
    await Promise.all([world.start(at), world.start(other)]);
    await world.scheduler.advance(20_000);
    expect(at.gateway?.status().peers).toBe(1);
    expect(other.gateway?.status().peers).toBe(1);
    await world.kill(other);
    await world.scheduler.advance(1_000);
    expect(at.gateway?.status().peers).toBe(0);
    await world.start(other);
    await world.scheduler.advance(40_000);
    expect(at.gateway?.status().peers).toBe(1);
    expect(other.gateway?.status().peers).toBe(1);
  });

  test("only the Level-1 gateway dials, also after a loss [AMSP-54]", async () => {
    const low = world.add("l1", "blue.example", 1);
    low.peers = [{ url: at.url, kind: "uplink" }];
    await world.start(low);
    await world.scheduler.advance(1_000);
    await world.kill(low);
    await world.scheduler.advance(60_000);
    await world.start(low);
    await world.scheduler.advance(2_000);
    expect(states(at)).toEqual(["ESTABLISHED"]);
    expect(at.dials).toBe(0);
    expect(low.dials).toBeGreaterThan(0);
  });
});

const states = (gateway: WorldGateway): readonly string[] => world.syncStates(gateway);
