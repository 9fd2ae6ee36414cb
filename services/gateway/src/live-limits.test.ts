/** Every limit of a gateway: seen, changed while it runs, and felt at once by what it bounds. */
import { create } from "@bufbuild/protobuf";
import { aap, admin, agp } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { allGatewayLimits, gatewayLimitRules } from "./limit-rules.ts";
import { keyPackage } from "./testing/mls-bytes.ts";
import { requestId, type TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

async function known(at: WorldGateway, name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  expect((await agent.advertise()).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

const operator = (at: WorldGateway, domain = at.domain) =>
  createClient(
    admin.LimitsService,
    world.clientOf(at, world.authority(domain).enrol(`${domain}/operator/olga`, "operator")),
  );
const set = async (name: string, value: number): Promise<admin.SetLimitResponse> =>
  operator(net.blue1).setLimit({ name, value: BigInt(value) });
const valueOf = async (name: string): Promise<admin.Limit | undefined> =>
  (await operator(net.blue1).listLimits({})).limits.find((each) => each.name === name);
const codes = (agent: TestAgent): readonly string[] => agent.reports.map((each) => each.code);

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.blue1, "blue.example/travel/bob");
});

/** What shows that a limit reaches what it bounds: it is set in the middle of things and makes itself felt. */
const felt: Readonly<Record<string, () => Promise<void>>> = {
  async agentMessagesPerSecond() {
    await set("rateBurstSeconds", 1);
    await set("agentMessagesPerSecond", 1);
    await alice.message(bob.agentId, "one");
    await alice.message(bob.agentId, "two");
    expect(bob.messages).toEqual(["one"]);
    expect(codes(alice)).toEqual(["CAUSEWAY_LIMIT_RATE"]);
    await set("agentMessagesPerSecond", 1_000);
    await world.scheduler.advance(1_000);
    await Promise.all(["three", "four", "five"].map((text) => alice.message(bob.agentId, text)));
    expect(bob.messages).toEqual(["one", "three", "four", "five"]);
  },
  async agentBulkMessagesPerSecond() {
    const bulk = { trafficClass: agp.TrafficClass.BULK };
    await set("rateBurstSeconds", 1);
    await alice.message(bob.agentId, "before", bulk);
    // It follows the rate of everything, of which it has three quarters at most.
    await set("agentMessagesPerSecond", 4);
    for (const text of ["one", "two", "three", "four"]) await alice.message(bob.agentId, text, bulk);
    await alice.message(bob.agentId, "five");
    await alice.message(bob.agentId, "six");
    expect(bob.messages).toEqual(["before", "one", "two", "three", "five"]);
    expect(codes(alice)).toEqual(Array(2).fill("CAUSEWAY_LIMIT_RATE"));
    await set("agentMessagesPerSecond", 1_000);
    await set("agentBulkMessagesPerSecond", 1);
    await world.scheduler.advance(1_000);
    for (const text of ["seven", "eight"]) await alice.message(bob.agentId, text, bulk);
    await alice.message(bob.agentId, "nine");
    expect(bob.messages.slice(5)).toEqual(["seven", "nine"]);
  },
  async agentBytesPerSecond() {
    await set("rateBurstSeconds", 1);
    await set("agentBytesPerSecond", 10);
    // A message that is larger than the burst passes once the bucket is full, and is owed.
    await alice.message(bob.agentId, "one");
    await alice.message(bob.agentId, "two");
    expect(bob.messages).toEqual(["one"]);
    expect(codes(alice)).toEqual(["CAUSEWAY_LIMIT_RATE"]);
  },
  async attachesPerMinute() {
    await set("attachesPerMinute", 1);
    const eve = world.agent(net.blue1, "blue.example/travel/eve");
    expect((await eve.attach()).state).toBe("attached");
    await eve.detach();
    const again = world.agent(net.blue1, "blue.example/travel/eve");
    expect((await again.attach()).state).not.toBe("attached");
    await set("attachesPerMinute", 60);
    await world.scheduler.advance(5_000);
    expect((await world.agent(net.blue1, "blue.example/travel/eve").attach()).state).toBe("attached");
  },
  async attachmentsMax() {
    await set("attachmentsMax", 2);
    expect((await world.agent(net.blue1, "blue.example/travel/eve").attach()).state).not.toBe("attached");
    await set("attachmentsMax", 3);
    expect((await world.agent(net.blue1, "blue.example/travel/fay").attach()).state).toBe("attached");
  },
  async heartbeatMs() {
    await set("heartbeatMs", 5_000);
    expect(alice.heartbeatMs).toBe(30_000);
    const eve = await world.agent(net.blue1, "blue.example/travel/eve").attach();
    expect(eve.heartbeatMs).toBe(5_000);
  },
  async leaseMs() {
    await set("leaseMs", 40_000);
    const eve = await world.agent(net.blue1, "blue.example/travel/eve", { model: "soft" }).attach();
    eve.vanish();
    await world.scheduler.advance(41_000);
    expect(net.blue1.gateway?.status().attachments).toBe(2);
  },
  async staleAfterMs() {
    await set("heartbeatMs", 2_000);
    await set("staleAfterMs", 4_000);
    await set("removeAfterStaleMs", 4_000);
    // Who was granted 30 s between heartbeats is not taken for dead now.
    await world.scheduler.advance(20_000);
    expect(net.blue1.gateway?.status().attachments).toBe(2);
    const eve = await world.agent(net.blue1, "blue.example/travel/eve").attach();
    eve.vanish();
    await world.scheduler.advance(9_000);
    expect(net.blue1.gateway?.status().attachments).toBe(2);
  },
  async heldMessagesMax() {
    await set("heldMessagesMax", 1);
    bob.freeze();
    await world.scheduler.advance(95_000);
    await alice.message(bob.agentId, "one");
    await alice.message(bob.agentId, "two");
    expect(codes(alice)).toEqual(["CAUSEWAY_FORWARDING_OVERLOADED"]);
  },
  async mailboxMessagesMax() {
    await set("mailboxMessagesMax", 1);
    await bob.crash();
    const reliable = { deliveryMode: agp.DeliveryMode.RELIABLE };
    await alice.message(bob.agentId, "one", reliable);
    await alice.message(bob.agentId, "two", reliable);
    await world.scheduler.advance(10);
    expect(codes(alice)).toContain("CAUSEWAY_MAILBOX_FULL");
    await set("mailboxMessagesMax", 2);
    await alice.message(bob.agentId, "three", reliable);
    await world.scheduler.advance(10);
    expect(net.blue1.gateway?.inspect().mailboxes.machine.totals().messages).toBe(2);
  },
  async keyPackageFetchesPerMinute() {
    const upload = { request: 1n, keyPackages: [keyPackage("a"), keyPackage("b"), keyPackage("c")] };
    await bob.request({ case: "keyPackageUpload", value: upload }, "keyPackageUploadResult");
    await set("keyPackageFetchesPerMinute", 1);
    const fetch = async (id: number): Promise<void> => {
      const value = create(agp.KeyPackageFetchSchema, { suite: 1 });
      await alice.control(bob.agentId, { case: "keyPackageFetch", value }, requestId(id));
    };
    await fetch(1);
    await fetch(2);
    const errors = alice.inbox.flatMap((each) =>
      each.case === "control" && each.value.body.case === "keyPackageResult"
        ? [each.value.body.value.error?.code ?? "none"]
        : [],
    );
    expect(errors).toEqual(["none", "CAUSEWAY_LIMIT_RATE"]);
  },
  async subscriptionsPerAgentMax() {
    await set("subscriptionsPerAgentMax", 1);
    const topic = `${alice.agentId.replace("spiffe://", "")}/deals`;
    expect((await bob.subscribe(topic)).error).toBeUndefined();
    expect((await bob.subscribe(`${topic}2`)).error?.code).toBe("CAUSEWAY_LIMIT_COUNT");
  },
  async hopRecordsMax() {
    for (let i = 0; i < 5; i++) await alice.message(bob.agentId, "too late", { expiresUnixMs: 1n });
    await set("hopRecordsMax", 2);
    expect(await tableOf("hop_records")).toEqual([2, 2]);
    for (let i = 0; i < 3; i++) await alice.message(bob.agentId, "too late", { expiresUnixMs: 1n });
    expect(await tableOf("hop_records")).toEqual([2, 2]);
  },
  async discoveryQueriesPerMinute() {
    await set("discoveryQueriesPerMinute", 1);
    const identity = world.authority("blue.example").enrol("blue.example/travel/eve");
    const client = createClient(aap.DiscoveryService, world.clientOf(net.blue1, identity));
    const request = { agentId: identity.spiffeId, nonce: new Uint8Array(16) };
    await client.discover(request);
    await expect(client.discover(request)).rejects.toThrow(/CAUSEWAY_LIMIT_RATE/);
    await set("discoveryQueriesPerMinute", 100);
    await world.scheduler.advance(1_000);
    await client.discover(request);
  },
  async silentAtLoadPercent() {
    const identity = world.authority("blue.example").enrol("blue.example/travel/eve");
    const client = createClient(aap.DiscoveryService, world.clientOf(net.blue1, identity));
    const request = { agentId: identity.spiffeId, nonce: new Uint8Array(16) };
    // Two agents are attached.
    await set("attachmentsMax", 4);
    await client.discover(request);
    await set("silentAtLoadPercent", 50);
    await expect(client.discover(request)).rejects.toThrow(/CAUSEWAY_FORWARDING_OVERLOADED/);
    await set("silentAtLoadPercent", 51);
    await client.discover(request);
  },
  async "sync.recordsPerPeerMax"() {
    await operator(net.blue2).setLimit({ name: "sync.recordsPerPeerMax", value: 2n });
    const eve = await world.agent(net.blue1, "blue.example/travel/eve").attach();
    await eve.advertise();
    await world.scheduler.advance(1_000);
    expect(world.routes(net.blue2, alice.agentId)).toHaveLength(1);
    expect(world.routes(net.blue2, eve.agentId)).toEqual([]);
  },
};

/** Entries of a table and their bound, as metrics show them. */
async function tableOf(name: string): Promise<readonly [number, number]> {
  const identity = world.authority("blue.example").enrol("blue.example/operator/omar", "operator");
  const { text } = await createClient(admin.MetricsService, world.clientOf(net.blue1, identity)).readMetrics({});
  const read = (family: string): number =>
    Number(text.match(new RegExp(`^${family}\\{table="${name}"\\} (\\S+)$`, "m"))?.[1]);
  return [read("causeway_table_entries"), read("causeway_table_entries_max")];
}

describe("limits of a running gateway [AAP-103]", () => {
  test("every one is listed with unit, default, bounds, value, and when a change counts", async () => {
    const { limits } = await operator(net.blue1).listLimits({});
    expect(limits.map((each) => each.name)).toEqual(Object.keys(allGatewayLimits).sort());
    for (const each of limits) {
      const name = each.name as keyof typeof allGatewayLimits;
      const { min, max, effect } = gatewayLimitRules[name];
      expect(each).toMatchObject({
        defaultValue: BigInt(allGatewayLimits[name]),
        value: BigInt(allGatewayLimits[name]),
        min: BigInt(min),
        max: BigInt(max),
        effect,
        setBy: "default",
      });
    }
    expect(await valueOf("heldMsMax")).toMatchObject({ unit: "ms", value: 300_000n });
    expect(await valueOf("agentBytesPerSecond")).toMatchObject({ unit: "bytes/s" });
    expect(await valueOf("sync.keepAliveMs")).toMatchObject({ unit: "ms", effect: "for new" });
  });

  test("every one can be changed to another allowed value, and is, or says that it takes a restart", async () => {
    const client = operator(net.blue1);
    for (const { name, value, min, effect } of (await client.listLimits({})).limits) {
      if (effect === "after a restart") {
        await expect(client.setLimit({ name, value: value + 1n })).rejects.toThrow(/restart/);
        continue;
      }
      // Greater ones of a pair grow, so that no two contradict each other on the way.
      const next = value > min && !/MsMax$|staleAfterMs|offlineAfterMs/.test(name) ? value - 1n : value + 1n;
      const { limit, before } = await client.setLimit({ name, value: next });
      expect([name, before, limit?.value, limit?.setBy]).toEqual([
        name,
        value,
        next,
        "spiffe://blue.example/operator/olga",
      ]);
      expect((await valueOf(name))?.value).toBe(next);
    }
  });

  test.each(Object.keys(felt))("%s is felt by what it bounds", async (name) => {
    await felt[name]?.();
  });

  test("a change is in the log: who, what, from, to", async () => {
    await set("heldMessagesMax", 7);
    expect(net.blue1.log.filter((each) => each.event === "limits.changed")).toEqual([
      {
        level: "info",
        event: "limits.changed",
        fields: { name: "heldMessagesMax", from: 100, to: 7, by: "spiffe://blue.example/operator/olga" },
      },
    ]);
  });

  test.each([
    ["heldMessagesMax", 0n, /expected heldMessagesMax as a whole number from 1 /],
    ["heartbeatMs", 10n, /from 1000 to 86400000, got 10/],
    ["heartbeatMs", 100_000n, /expected heartbeatMs of at most staleAfterMs, got 100000 and 90000/],
    ["mailboxMsMax", 5n, /expected mailboxMs of at most mailboxMsMax/],
    ["heldMessages", 5n, /there is no limit "heldMessages"/],
    ["__proto__", 5n, /there is no limit/],
  ] as const)("%s cannot be %s: the refusal says what was expected, and nothing changes", async (name, value, said) => {
    const before = await operator(net.blue1).listLimits({});
    await expect(operator(net.blue1).setLimit({ name, value })).rejects.toThrow(said);
    expect(await operator(net.blue1).listLimits({})).toEqual(before);
  });

  test("only operators of the domain see and change them", async () => {
    await expect(operator(net.blue1, "green.example").listLimits({})).rejects.toThrow(/ROLE_WRONG/);
    const client = createClient(admin.LimitsService, world.clientOf(net.blue1, alice.identity));
    await expect(client.setLimit({ name: "heldMessagesMax", value: 5n })).rejects.toThrow(/ROLE_WRONG/);
    await expect(client.reloadLimits({})).rejects.toThrow(/ROLE_WRONG/);
  });

  describe("and the configuration", () => {
    let configured: Record<string, number>;
    beforeEach(async () => {
      await world.kill(net.blue1);
      configured = { heldMessagesMax: 50 };
      net.blue1.limits = configured;
      net.blue1.readConfig = () => ({ limits: configured });
      await world.start(net.blue1);
    });

    test("a reload takes over what it says now, and ends what operators had set", async () => {
      expect(await valueOf("heldMessagesMax")).toMatchObject({ value: 50n, setBy: "configuration" });
      await set("heldMessagesMax", 9);
      await set("heldBytesMax", 9_999);
      configured = { heldMessagesMax: 60, floodCloseAfter: 5 };
      const { changed, pending } = await operator(net.blue1).reloadLimits({});
      expect(changed.map((each) => [each.name, each.from, each.to])).toEqual(
        expect.arrayContaining([
          ["heldMessagesMax", 9n, 60n],
          ["heldBytesMax", 9_999n, 1_048_576n],
          ["floodCloseAfter", 10_000n, 5n],
        ]),
      );
      expect(changed).toHaveLength(3);
      expect(pending).toEqual([]);
      expect(await valueOf("heldBytesMax")).toMatchObject({ value: 1_048_576n, setBy: "default" });
    });

    test("a wrong one changes nothing, and is in the log", async () => {
      configured = { heldMessagesMax: 70, heldBytesMax: -1 };
      await expect(operator(net.blue1).reloadLimits({})).rejects.toThrow(/expected heldBytesMax/);
      expect(await valueOf("heldMessagesMax")).toMatchObject({ value: 50n });
      expect(net.blue1.log.some((each) => each.event === "limits.reload_failed")).toBe(true);
    });
  });
});
