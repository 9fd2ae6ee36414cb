/** What agents of the SDK ask of a real gateway at attachment, and what comes of it. */
import { join } from "node:path";
import { type Agent, type ConnectOptions, connect } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startProcessAgent } from "../../../apps/cli/src/demo/process-agent.ts";
import { configOf } from "./adversary/credentials.ts";
import { startGateway } from "./adversary/extra-gateway.ts";
import { WeatherProxy } from "./weather.ts";
import { startWorld, until, type World } from "./world.ts";

const hotelAgent = new URL("../../../examples/a2a-hotel-agent/src/main.ts", import.meta.url);
const floodSize = 40;
const leaseMs = 15_000;
let world: World;
/** Of the gateway whose leases are short. */
let gatewayUrl: string;
let admin: ReturnType<typeof adminOfGateway>;
/** Between a gateway and agents that are to fall silent. */
let proxy: WeatherProxy;
const agents = new AsyncDisposableStack();

beforeAll(async () => {
  world = await startWorld();
  gatewayUrl = await startGateway(world, { name: "blue.example/brief", limits: { leaseMs, heartbeatMs: 5_000 } });
  admin = adminOfGateway();
  proxy = await WeatherProxy.before(Number(new URL(gatewayUrl).port));
}, 120_000);

afterAll(async () => {
  await agents.disposeAsync();
  await proxy?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

async function agent(name: string, more: Partial<ConnectOptions> = {}): Promise<Agent & { readonly taken: unknown[] }> {
  const operator = world.network.operators.find(({ config }) => config === configOf(world, name));
  const connected = await connect({
    name,
    dataDir: join(world.home.directory, "terms", name),
    masterKeyFile: world.home.masterKeyFile,
    gateway: gatewayUrl,
    registry: configOf(world, name).registry?.url ?? "",
    token: (await operator?.agentToken(name)) ?? "",
    ...more,
  });
  agents.use(connected);
  const taken: unknown[] = [];
  connected.onMessage(({ data }) => void taken.push(data));
  return Object.assign(connected, { taken });
}

function adminOfGateway() {
  const [operator] = world.network.operators;
  const [like] = operator.gateways("gw1");
  if (like === undefined) throw new Error("there is no gw1");
  return operator.gateway({ ...like, url: gatewayUrl });
}

/** What the gateway says of an agent. */
async function attachmentOf({ id }: Agent) {
  const { attachments } = await admin.listAttachments({});
  return attachments.find(({ agentId }) => agentId === id);
}

/** Many messages at once, too large to share packets; what became of each at the gateway. */
async function flood(sender: Agent, to: string) {
  const options = { mode: "best-effort", ack: "accepted", timeoutMs: 20_000 } as const;
  return await Promise.all(
    Array.from({ length: floodSize }, () =>
      sender.send(to, "x".repeat(70_000), options).then(
        () => undefined,
        (thrown: unknown) => CausewayError.from(thrown),
      ),
    ),
  );
}

const profile = { name: "N", description: "d", version: "1", skills: [{ id: "hear", description: "Hears" }] };

test("one gateway serves a stateful and a soft agent: both exchange everything, and of two that fall silent only the soft one is gone [AAP-81] [AAP-94]", {
  timeout: 180_000,
}, async () => {
  const carol = await agent("blue.example/terms/carol");
  const alice = await agent("blue.example/terms/alice", { gateway: proxy.url });
  const bob = await agent("blue.example/terms/bob", { gateway: proxy.url, model: "soft" });
  // Both sides say the same of what they agreed.
  for (const [each, model] of [
    [alice, "stateful"],
    [bob, "soft"],
  ] as const) {
    expect(each.status()).toMatchObject({ model, leaseMs });
    const { features = [], model: kept } = (await attachmentOf(each)) ?? {};
    expect([kept, features.toSorted()]).toEqual([model, each.status().features.toSorted()]);
  }

  await bob.register(profile);
  const topic = await carol.createTopic("terms");
  const heard: unknown[] = [];
  await bob.subscribe(topic, ({ data }) => void heard.push(data));
  await Promise.all([alice.send(bob.id, "to soft"), bob.send(alice.id, "to stateful"), carol.publish(topic, "to all")]);
  await until("the publication", () => heard.length === 1);
  expect([bob.taken, alice.taken, heard]).toEqual([["to soft"], ["to stateful"], ["to all"]]);

  // Longer than a lease without a message: refreshes keep the same attachment.
  const since = (await attachmentOf(bob))?.sinceUnixMs;
  await until(
    "refreshes",
    async () => {
      const { sinceUnixMs = 0n, lastHeardUnixMs = 0n } = (await attachmentOf(bob)) ?? {};
      return lastHeardUnixMs > sinceUnixMs + BigInt(2 * leaseMs);
    },
    90_000,
  );
  expect((await attachmentOf(bob))?.sinceUnixMs).toBe(since);

  proxy.isSilent = true;
  await until("the end of the soft attachment", async () => (await attachmentOf(bob)) === undefined, 60_000);
  expect((await attachmentOf(alice))?.model).toBe("stateful");

  // What is for it waits in its mailbox, and it comes back with its topics.
  const { reached } = await carol.send(bob.id, "meanwhile", { ack: "stored", timeoutMs: 60_000 });
  expect(reached).toBe("stored");
  proxy.isSilent = false;
  await until("what was stored", () => bob.taken.length === 2, 90_000);
  await carol.publish(topic, "to all again");
  await until("the next publication", () => heard.length >= 2);
  expect([bob.taken, heard]).toEqual([
    ["to soft", "meanwhile"],
    ["to all", "to all again"],
  ]);
  expect(bob.status().model).toBe("soft");
});

test("an agent gets no more than it declared at attachment, the senders hear when to try again, others are unaffected [ANA-49]", {
  timeout: 90_000,
}, async () => {
  const busy = await agent("blue.example/terms/busy", { messagesPerSecondMax: 2 });
  const calm = await agent("blue.example/terms/calm");
  const sender = await agent("blue.example/terms/sender");
  // Contact first, so that the flood is messages only.
  for (const each of [busy, calm]) await sender.send(each.id, "hello");
  expect(await flood(sender, calm.id)).toEqual(Array(floodSize).fill(undefined));
  const refusals = (await flood(sender, busy.id)).filter((error) => error !== undefined);
  expect(refusals.length).toBeGreaterThan(0);
  for (const { code, message } of refusals) {
    expect(code).toBe("CAUSEWAY_LIMIT_RATE");
    expect(message).toMatch(/terms\/busy takes no more messages for now; send again in \d+ ms/);
  }
  // Repeated as the refusals say, until it gets through.
  await sender.send(busy.id, "after the flood", { timeoutMs: 60_000 });
  expect(busy.taken.at(-1)).toBe("after the flood");
  expect(busy.taken.length).toBe(2 + floodSize - refusals.length);
  await until("everything at the other agent", () => calm.taken.length === 1 + floodSize);
});

test("causeway attach --rate declares what an A2A agent takes each second [ANA-49]", { timeout: 90_000 }, async () => {
  const name = "blue.example/terms/hotels";
  const { directory } = world.home;
  await using hotels = await startProcessAgent(hotelAgent, [], world.home.logFile("hotels"));
  const args = ["attach", hotels.url, "--name", name, "--rate", "5", "--home", directory, "--domain", "blue.example"];
  await world.supervisor.start({ name, args, logFile: world.home.logFile(name) });
  // At the same gateway: what is accepted there was not refused for the agent.
  const near = configOf(world, name).gateways.find(({ level }) => level === 1);
  const sender = await agent("blue.example/terms/guest", { gateway: near?.url ?? "" });
  await sender.send(name, "hello", { ack: "delivered" });
  const codes = (await flood(sender, name)).map((error) => error?.code);
  expect(codes).toContain("CAUSEWAY_LIMIT_RATE");
});

test("a real gateway without a feature that is needed is passed over when it is asked for an offer, and says what it lacks [AAP-60]", {
  timeout: 60_000,
}, async () => {
  const name = "blue.example/terms/needy";
  const gateways = configOf(world, name).gateways.map(({ url }) => url);
  const needy = (requiredFeatures: readonly string[]) =>
    agent(name, {
      discovery: { methods: [{ method: "static", gateways }] },
      requiredFeatures,
    });
  await expect(needy(["mailbox/1", "calls/1"])).rejects.toMatchObject({
    code: "CAUSEWAY_ATTACHMENT_FEATURE_MISSING",
    message: expect.stringContaining("this gateway lacks calls/1"),
  });
  const attached = await needy(["mailbox/1"]);
  expect(attached.status()).toMatchObject({ state: "attached", features: expect.arrayContaining(["mailbox/1"]) });
});
