/** Gateways whose connections are spread over threads of their own: what agents and operators see is the same. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Agent } from "@causeway/agent/node";
import { aca } from "@causeway/core-wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { privateMessage } from "../../bench/src/clients/private-message.ts";
import { generate, pythonGrpc, StockAgent } from "./stock-grpc/python.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await startWorld({ workers: 2 });
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

async function registered(name: string): Promise<Agent> {
  const agent = await world.agent(name);
  const skills = [{ id: "test", description: "Takes part in a test" }];
  await agent.register({ name: "Test", description: "Takes part in a test", version: "1", skills });
  return agent;
}

/** The operator's view of blue's gateway of Level 1. */
function gatewayAdmin() {
  const [operator] = world.network.operators;
  const [config] = operator.gateways("gw1");
  if (config === undefined) throw new Error("there is no gw1");
  return operator.gateway(config);
}

async function connectionsOfWorkers(): Promise<number[]> {
  const { counters } = await gatewayAdmin().status({});
  return [0, 1].map((i) => Number(counters[`causeway_gateway_worker_${i}_connections`]));
}

test("requests and large answers cross two domains, and a topic reaches all who subscribed, in order", {
  timeout: 120_000,
}, async () => {
  const asker = await registered("blue.example/workers/asker");
  const store = await registered("green.example/workers/store");
  const bytes = randomBytes(1_000_000);
  store.onRequest("fetch", () => bytes);
  await until("the way to the store", () =>
    asker.request(store.id, { method: "fetch" }, { timeoutMs: 10_000 }).then(
      ({ content }) => Buffer.from(content.bytes).equals(bytes),
      () => false,
    ),
  );
  const topic = await asker.createTopic("numbers");
  const names = ["blue.example/workers/one", "blue.example/workers/two", "green.example/workers/three"];
  const heard = await Promise.all(
    names.map(async (name) => {
      const reader = await registered(name);
      const numbers: unknown[] = [];
      const subscribe = () => reader.subscribe(topic, ({ content }) => void numbers.push(content.json()));
      // Records of agents take a moment to travel to the other domain.
      await until(`the subscription of ${name}`, () =>
        subscribe().then(
          () => true,
          ({ code }: { readonly code?: string }) => {
            if (code !== "CAUSEWAY_FORWARDING_NO_ROUTE") throw new Error(`subscription refused: ${code}`);
            return false;
          },
        ),
      );
      return numbers;
    }),
  );
  for (let n = 0; n < 50; n++) await asker.publish(topic, { n });
  const wanted = Array.from({ length: 50 }, (_, n) => ({ n }));
  await until("all publications", () => heard.every((numbers) => numbers.length >= 50));
  expect(heard).toEqual([wanted, wanted, wanted]);
});

test("an operator sees the connections of each worker, and both have some", { timeout: 60_000 }, async () => {
  for (let i = 0; i < 8; i++) await world.agent(`blue.example/spread/a${i}`);
  const counts = await connectionsOfWorkers();
  expect(Math.min(...counts)).toBeGreaterThan(0);
});

test("a revoked agent loses its connection, whichever thread has it [AGP-33]", { timeout: 60_000 }, async () => {
  const [operator] = world.network.operators;
  for (const name of ["blue.example/gone/one", "blue.example/gone/two", "blue.example/gone/three"]) {
    const agent = await world.agent(name);
    await operator.authority.revoke({ spiffeId: agent.id, reason: aca.RevocationReason.KEY_COMPROMISE });
    await until(`the end of ${name}`, async () => {
      const { attachments } = await gatewayAdmin().listAttachments({});
      return attachments.every(({ agentId }) => agentId !== agent.id);
    });
    await until("the end of the connection", () => agent.status().state !== "attached");
  }
});

const tools = pythonGrpc();
test.skipIf("missing" in tools)(
  "a stock gRPC client attaches, exchanges messages and asks health and reflection [AGP-5]",
  { timeout: 180_000 },
  async () => {
    if ("missing" in tools) return;
    const name = "blue.example/python/worker";
    const generated = join(world.home.directory, "generated");
    const file = join(world.home.directory, "python.json");
    generate(tools.env, generated);
    await using enrolling = new StockAgent(tools.env, generated);
    enrolling.do("enrol", {
      agent: `spiffe://${name}`,
      token: await world.network.operators[0].agentToken(name),
      file,
    });
    await enrolling.hear("enrolled");
    const gateway = world.network.configs[0].gateways[0]?.url ?? "";
    await using agent = new StockAgent(tools.env, generated);
    agent.do("open", { file, gateway });
    agent.do("look");
    expect(await agent.hear("looked")).toMatchObject({ health: "SERVING", unknown: "UNIMPLEMENTED" });
    agent.do("attach", { instance: "one" });
    await agent.hear("attached");
    const payload = Buffer.from(privateMessage(100_000)).toString("base64");
    agent.do("message", { target: `spiffe://${name}/@one`, payload });
    expect(await agent.hear("message")).toMatchObject({ source: `spiffe://${name}`, payload });
    agent.do("end");
    expect(await agent.hear("ended")).toMatchObject({ status: "OK" });
  },
);
