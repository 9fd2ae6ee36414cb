/** Stock gRPC of another language against a real domain: from the .proto files alone, without our SDK. */
import { join } from "node:path";
import type { Agent } from "@causeway/agent/node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { privateMessage } from "../../bench/src/clients/private-message.ts";
import { generate, pythonGrpc, StockAgent } from "./stock-grpc/python.ts";
import { startWorld, type World } from "./world.ts";

const tools = pythonGrpc();
if ("missing" in tools) process.stderr.write(`stock gRPC in Python is not tested: ${tools.missing}\n`);

describe.skipIf("missing" in tools)("Python's gRPC", { timeout: 120_000 }, () => {
  const name = "blue.example/python/caller";
  const agentId = `spiffe://${name}`;
  let world: World;
  let sdkAgent: Agent;
  let file: string;
  const started: StockAgent[] = [];
  const attachedNow = new Set<StockAgent>();
  const program = (): StockAgent => {
    if ("missing" in tools) throw new Error(tools.missing);
    const agent = new StockAgent(tools.env, join(world.home.directory, "generated"));
    started.push(agent);
    return agent;
  };
  const gateway = (): string => world.network.configs[0].gateways[0]?.url ?? "";
  const attached = async (instance: string): Promise<StockAgent> => {
    const agent = program();
    agent.do("open", { file, gateway: gateway() });
    agent.do("attach", { instance });
    await agent.hear("attached");
    attachedNow.add(agent);
    return agent;
  };

  beforeAll(async () => {
    if ("missing" in tools) return;
    world = await startWorld();
    generate(tools.env, join(world.home.directory, "generated"));
    file = join(world.home.directory, "python.json");
    sdkAgent = await world.agent("blue.example/python/partner");
    const enrolling = program();
    enrolling.do("enrol", { agent: agentId, token: await world.network.operators[0].agentToken(name), file });
    expect(await enrolling.hear("enrolled")).toMatchObject({ purposes: [1, 2, 3] });
  }, 180_000);

  // What is sent to the agent reaches any one of its instances: only those of the test may be there.
  afterEach(async () => {
    for (const agent of attachedNow) {
      agent.do("end");
      await agent.hear("ended");
    }
    attachedNow.clear();
  });

  afterAll(async () => {
    await Promise.all(started.map((agent) => agent[Symbol.asyncDispose]()));
    await world?.[Symbol.asyncDispose]();
  });

  test("health, reflection and status codes are gRPC's own, on the port that agents use [AGP-5]", async () => {
    const agent = program();
    agent.do("open", { file, gateway: gateway() });
    agent.do("look");
    const looked = await agent.hear("looked");
    expect(looked).toMatchObject({ health: "SERVING", unknown: "UNIMPLEMENTED" });
    expect(looked["services"]).toEqual(
      expect.arrayContaining([
        "causeway.agp.v1.AgentGatewayService",
        "causeway.aap.v1.DiscoveryService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
      ]),
    );
    expect(looked["files"]).toBeGreaterThan(3);
  });

  test("GW-DISCOVER is answered with an offer that the certified gateway signed [AAP-37, AAP-38]", async () => {
    const agent = program();
    agent.do("open", { file, gateway: gateway() });
    agent.do("discover");
    expect(await agent.hear("offered")).toMatchObject({
      gateway: "spiffe://blue.example/gateway/gw1",
      endpoint: gateway(),
      sameNonce: true,
    });
  });

  test("attaches with a certificate-bound proof, verifies the lease, keeps it and ends it [AAP-62]", async () => {
    const agent = await attached("one");
    agent.do("heartbeat", { sequence: 1 });
    expect(await agent.hear("heartbeat_ack")).toMatchObject({ sequence: 1, lifetimeMs: 300_000 });
    const [operator] = world.network.operators;
    const [config] = operator.gateways("gw1");
    if (config === undefined) throw new Error("there is no gw1");
    const admin = operator.gateway(config);
    const list = async () => (await admin.listAttachments({})).attachments.filter((a) => a.agentId === agentId);
    expect((await list()).map(({ instance, state }) => [instance, state])).toEqual([["one", "ATTACHED"]]);
    attachedNow.delete(agent);
    agent.do("end");
    expect(await agent.hear("ended")).toMatchObject({ status: "OK" });
    expect(await list()).toEqual([]);
  });

  test("two of them exchange messages, byte for byte, through the gateway [AGP-5, AAP-12]", async () => {
    const one = await attached("one");
    const two = await attached("two");
    const payload = Buffer.from(privateMessage(1_000)).toString("base64");
    one.do("message", { target: `${agentId}/@two`, payload });
    expect(await two.hear("message")).toMatchObject({ source: agentId, target: `${agentId}/@two`, payload });
    two.do("message", { target: `${agentId}/@one`, payload });
    expect(await one.hear("message")).toMatchObject({ target: `${agentId}/@one`, payload });
  });

  test("subscribes to a topic of an SDK agent and gets its ciphertext; what it sends reaches the SDK agent and is judged there [AAP-27]", async () => {
    const agent = await attached("three");
    const topic = await sdkAgent.createTopic("news");
    agent.do("subscribe", { topic });
    expect(await agent.hear("subscription_result")).toMatchObject({ code: "" });
    // The SDK keeps its own books of who may read; on the wire the subscription above is enough for ciphertext.
    const reader = await world.agent("blue.example/python/reader");
    await reader.subscribe(topic, () => undefined);
    await sdkAgent.publish(topic, { text: "a secret" });
    const heard = await agent.hear("message", ({ target }) => target === topic);
    expect(heard).toMatchObject({ source: sdkAgent.id, kind: 3 });
    const payload = Buffer.from(String(heard["payload"]), "base64");
    expect(payload.subarray(0, 4)).toEqual(Buffer.from([0, 1, 0, 2]));
    expect(payload.includes("a secret")).toBe(false);

    agent.do("message", { target: sdkAgent.id, payload: Buffer.from(privateMessage(200)).toString("base64") });
    // No MLS here, so nothing that it could decrypt; its refusal is a frame from the SDK agent to this one.
    expect(await agent.hear("control")).toMatchObject({
      body: "delivery_report",
      code: expect.stringMatching(/^CAUSEWAY_E2EE_/),
    });
    expect(sdkAgent.status().counters["refused"]).toBeGreaterThan(0);
  });
});
