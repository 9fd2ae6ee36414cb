import { aap, admin, amsp } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import type { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  await agent.advertise();
  await world.scheduler.advance(1_000);
  return agent;
}

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.green1, "green.example/hotels/bob");
});

function operator(at: WorldGateway, domain = at.domain) {
  const identity = world.authority(domain).enrol(`${domain}/operator/olga`, "operator");
  return createClient(admin.GatewayAdminService, world.clientOf(at, identity));
}

describe("the operator's view", () => {
  test("lists forwarding table, attachments and peers [AAP-21]", async () => {
    const client = operator(net.blue1);
    const { attachments } = await client.listAttachments({});
    expect(attachments).toMatchObject([
      { agentId: alice.agentId, instance: "main", state: "ATTACHED", model: "stateful", advertised: true },
    ]);
    expect(attachments[0]?.expiresUnixMs).toBeGreaterThan(attachments[0]?.sinceUnixMs ?? 0n);
    expect(attachments[0]?.features).toContain("mls/1");
    expect((await client.listRoutes({})).routes.map((each) => [each.target, each.kind, each.nextHop])).toEqual([
      [alice.agentId, "local", ""],
      ["*", "uplink", net.blue2.uri],
    ]);
    const routes = await operator(net.blue2).listRoutes({});
    expect(routes.routes.map((each) => [each.target, each.kind, each.nextHop])).toEqual([
      [alice.agentId, "peer", net.blue1.uri],
      [bob.agentId, "peer", net.green2.uri],
    ]);
    const { peers } = await operator(net.blue2).listPeers({});
    expect(peers).toMatchObject([
      { gatewayUri: net.blue1.uri, level: 1, syncState: "ESTABLISHED", linkState: "up" },
      { gatewayUri: net.green2.uri, level: 2, syncState: "ESTABLISHED", linkState: "up" },
    ]);
  });

  test("the tables of connections and subscriptions follow connect, subscribe and disconnect [AGP-59]", async () => {
    const client = operator(net.blue1);
    const rows = async (): Promise<unknown> => {
      const [{ attachments }, { topics }] = [await client.listAttachments({}), await client.listTopics({})];
      return {
        connections: attachments.map((each) => [each.agentId, each.instance, each.state]),
        subscriptions: topics.map((each) => [each.topic, each.subscribers]),
      };
    };
    const topic = "blue.example/travel/alice/deals";
    const carol = await world.agent(net.blue1, "blue.example/travel/carol").attach();
    await carol.subscribe(topic);
    const aliceRow = [alice.agentId, "main", "ATTACHED"];
    expect(await rows()).toEqual({
      connections: [aliceRow, [carol.agentId, "main", "ATTACHED"]],
      subscriptions: [[topic, [carol.agentId]]],
    });
    const [, row] = (await client.listAttachments({})).attachments;
    expect([row?.model, row?.features.includes("mls/1")]).toEqual(["stateful", true]);
    expect(Number(row?.sinceUnixMs)).toBe(Math.round(world.scheduler.now().unix));
    await carol.detach();
    expect(await rows()).toEqual({ connections: [aliceRow], subscriptions: [] });
  });

  test("both neighbours list each other with protocols, certificate fingerprint and status [ANA-113]", async () => {
    for (const [at, other] of [
      [net.blue2, net.green2],
      [net.green2, net.blue2],
    ] as const) {
      const { peers } = await operator(at).listPeers({});
      const found = peers.find((each) => each.gatewayUri === other.uri);
      expect(found).toMatchObject({
        gatewayId: other.identity.spiffeId,
        syncState: "ESTABLISHED",
        linkState: "up",
        certificateSha256: other.trust.peer(other.identity, world.scheduler.now().unix).fingerprint,
      });
      expect(found?.features).toContain("agp/1");
    }
  });

  test("says of a traced message why it took its way, at each gateway [ANA-123]", async () => {
    const id = await alice.message(bob.agentId, "secret marker", { flags: 1 });
    const hops = [];
    for (const each of [net.blue1, net.blue2, net.green2, net.green1]) {
      const found = await operator(each).explain({ messageId: id });
      expect(found.summary).not.toContain("marker");
      hops.push(...found.hops.map((hop) => [hop.verdict, hop.to, hop.hopTtl, hop.target]));
    }
    const lines = net.blue2.log.filter((line) => line.event === "forwarding.message_traced");
    expect(lines.map((line) => [line.fields["target"], line.fields["to"]])).toEqual([[bob.agentId, net.green2.uri]]);
    expect(hops).toEqual([
      ["relay", net.blue2.uri, 16, bob.agentId],
      ["relay", net.green2.uri, 15, bob.agentId],
      ["relay", net.green1.uri, 14, bob.agentId],
      ["deliver", expect.stringContaining(bob.agentId), 13, bob.agentId],
    ]);
  });

  test("keeps a hop record of every drop, and says why a target is not reached", async () => {
    const nobody = "spiffe://green.example/hotels/nobody";
    const id = await alice.message(nobody, "x");
    expect((await operator(net.blue2).explain({ messageId: id })).hops).toMatchObject([{ verdict: "drop" }]);
    expect((await operator(net.blue2).explain({ target: nobody })).summary).toContain("nobody");
  });

  test("contents are in no log line, hop record or store of any gateway [AAP-28]", async () => {
    const marker = "MARKER-5e1f";
    await alice.message(bob.agentId, marker, { flags: 1 });
    await alice.message("spiffe://green.example/hotels/nobody", marker, { flags: 1 });
    expect(bob.messages).toEqual([marker]);
    for (const each of [net.blue1, net.blue2, net.green2, net.green1]) {
      const text = JSON.stringify(
        [each.log, [...each.store.records()], each.gateway?.status()],
        (_key, value: unknown) =>
          typeof value === "bigint"
            ? String(value)
            : value instanceof Uint8Array
              ? Buffer.from(value).toString("latin1")
              : value,
      );
      expect(text).not.toContain(marker);
    }
  });

  test("detaches one agent and counts it", async () => {
    expect(await operator(net.blue1).detach({ agentId: alice.agentId, reason: "test" })).toMatchObject({ detached: 1 });
    expect(
      alice.inbox.some(
        (each) => each.case === "sessionEnd" && each.value.error?.code === "CAUSEWAY_ATTACHMENT_DETACHED",
      ),
    ).toBe(true);
  });

  test("a drain asks agents to move, waits for them and ends the gateway, which says so", async () => {
    let isEnded = false;
    void net.blue1.gateway?.ended.then(() => {
      isEnded = true;
    });
    await operator(net.blue1).drain({ deadlineMs: 60_000n });
    expect(alice.inbox.some((each) => each.case === "drain")).toBe(true);
    await world.scheduler.advance(100);
    expect([isEnded, alice.link?.isClosed]).toEqual([true, true]);
    expect(net.blue1.log.at(-1)?.event).toBe("gateway.stopped");
  });

  test("a drain ends at its deadline for an agent that does not move; a second drain makes it no later", async () => {
    let isEnded = false;
    void net.blue1.gateway?.ended.then(() => {
      isEnded = true;
    });
    alice.freeze();
    const client = operator(net.blue1);
    await client.drain({ deadlineMs: 5_000n });
    expect((await client.status({})).draining).toBe(true);
    await world.scheduler.advance(1_000);
    expect((await client.drain({ deadlineMs: 60_000n })).deadlineMs).toBe(4_000n);
    expect([isEnded, alice.link?.isClosed]).toEqual([false, false]);
    await world.scheduler.advance(4_100);
    expect([isEnded, alice.link?.isClosed]).toEqual([true, true]);
  });

  test("is closed to agents, to gateways and to operators of other domains", async () => {
    for (const client of [
      createClient(admin.GatewayAdminService, world.clientOf(net.blue1, alice.identity)),
      createClient(admin.GatewayAdminService, world.clientOf(net.blue1, net.blue2.identity)),
      operator(net.blue1, "green.example"),
    ]) {
      await expect(client.status({})).rejects.toThrow("CAUSEWAY_IDENTITY_ROLE_WRONG");
      await expect(client.detach({ agentId: alice.agentId })).rejects.toThrow("CAUSEWAY_IDENTITY_ROLE_WRONG");
    }
    expect(net.blue1.gateway?.status().attachments).toBe(1);
  });

  test("status shows level, counters and records", async () => {
    const status = await operator(net.blue1).status({});
    expect(status).toMatchObject({ gatewayUri: net.blue1.uri, level: 1, attachments: 1, peers: 1, draining: false });
    expect(status.counters["attached"]).toBe(1n);
    const sync = createClient(amsp.SyncService, world.clientOf(net.blue2, net.blue1.identity));
    expect((await sync.status({})).peers.map((each) => each.state)).toEqual(["ESTABLISHED", "ESTABLISHED"]);
  });

  test("topics list owner and subscribers", async () => {
    const topic = "blue.example/travel/alice/deals";
    await alice.request(
      { case: "topicCommand", value: { request: 1n, command: { case: "create", value: { topic } } } },
      "topicResult",
    );
    await alice.subscribe(topic);
    const { topics } = await operator(net.blue1).listTopics({});
    expect(topics).toMatchObject([{ topic, owner: alice.agentId, subscribers: [alice.agentId] }]);
  });
});

describe("discovery of a gateway", () => {
  test("an offer names gateway, endpoint and features and is signed; a foreign name is refused [AAP-58]", async () => {
    const client = createClient(aap.DiscoveryService, world.clientOf(net.blue1, alice.identity));
    const nonce = new Uint8Array(16).fill(3);
    const { offer, signature } = await client.discover({ agentId: alice.agentId, nonce });
    const { fromBinary } = await import("@bufbuild/protobuf");
    expect(fromBinary(aap.GatewayOfferSchema, offer)).toMatchObject({
      gatewayId: net.blue1.identity.spiffeId,
      gatewayUri: net.blue1.uri,
      endpoint: net.blue1.url,
      nonce,
    });
    expect(signature?.value.length).toBeGreaterThan(0);
    await expect(client.discover({ agentId: bob.agentId, nonce })).rejects.toThrow("CAUSEWAY_IDENTITY_MISMATCH");
    await expect(client.discover({ agentId: alice.agentId, nonce, requiredFeatures: ["x/9"] })).rejects.toThrow(
      "FEATURE_MISSING",
    );
  });

  test("too many questions are refused with a time to wait", async () => {
    const client = createClient(aap.DiscoveryService, world.clientOf(net.blue1, alice.identity));
    const ask = () => client.discover({ agentId: alice.agentId, nonce: new Uint8Array(16) }).then(() => "ok", String);
    const answers = await Promise.all(Array.from({ length: 65 }, ask));
    expect(answers.filter((each) => each.includes("CAUSEWAY_LIMIT_RATE"))).toHaveLength(5);
  });
});
