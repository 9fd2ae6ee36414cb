/** The SDK against real domains: the hello example, and an agent that moves to another gateway. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { AgentEvent } from "@causeway/agent/node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorld, until, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

test("the hello example enrols two agents, finds one of them and gets its answer", { timeout: 60_000 }, async () => {
  const [blue] = world.network.configs;
  const [operator] = world.network.operators;
  const [greeter, asker] = ["blue.example/hello/greeter", "blue.example/hello/asker"];
  const program = fileURLToPath(new URL("../../../examples/hello-agent/src/main.ts", import.meta.url));
  const environment = {
    GREETER_NAME: greeter,
    GREETER_TOKEN: await operator.agentToken(greeter),
    ASKER_NAME: asker,
    ASKER_TOKEN: await operator.agentToken(asker),
    GATEWAY: blue.gateways[0]?.url ?? "",
    REGISTRY: blue.registry?.url ?? "",
    DATA_DIR: join(world.home.directory, "hello"),
  };
  const { stdout } = await promisify(execFile)(process.execPath, [program], {
    env: { ...process.env, ...environment },
  });
  expect(JSON.parse(stdout)).toEqual({ greeting: "Hello, Ada!" });
});

test("asked by what is needed, in plain words, the network finds the agent of the other domain, and the answer says which one it was [AAP-17]", {
  timeout: 120_000,
}, async () => {
  const skillOf = (id: string, description: string) => ({ id, description });
  const hotel = await world.agent("green.example/capability/concierge");
  const weather = await world.agent("blue.example/capability/meteorologist");
  hotel.onRequest(({ content }) => `a room for ${content.text()}`);
  weather.onRequest(() => "sunny");
  await hotel.register({
    name: "Concierge",
    description: "Reserves rooms in hotels of the city",
    version: "1",
    skills: [skillOf("reserve-room", "Reserves a hotel room for travellers")],
  });
  await weather.register({
    name: "Meteorologist",
    description: "Tells tomorrow's weather",
    version: "1",
    skills: [skillOf("forecast", "Forecasts rain and sunshine")],
  });
  const asker = await world.agent("blue.example/capability/traveller");
  const ask = () => asker.requestFor("reserve a hotel room", { data: "Ada" }, { timeoutMs: 20_000 });
  await until("the record to be known here", () =>
    ask().then(
      () => true,
      () => false,
    ),
  );
  const { answer, chosen } = await ask();
  expect([chosen.agentId, answer.from, answer.content.text()]).toEqual([hotel.id, hotel.id, "a room for Ada"]);
  expect(chosen.why).not.toBe("");
});

test("an agent that opens no port moves to another gateway by itself, and its code does not notice [AAP-5]", {
  timeout: 120_000,
}, async () => {
  const mover = await world.agent("blue.example/moving/mover");
  const asker = await world.agent("green.example/moving/asker");
  const events: AgentEvent[] = [];
  mover.onEvent((event) => events.push(event));
  mover.onRequest("where", () => mover.status().gateway ?? "");
  const ask = async (): Promise<string> =>
    (await asker.request(mover.id, { method: "where" }, { timeoutMs: 20_000 })).content.text();
  await mover.register({
    name: "Mover",
    description: "Moves",
    version: "1",
    skills: [{ id: "where", description: "Tells where it is" }],
  });
  await until("the way to the mover", () =>
    ask().then(
      (gateway) => gateway === "spiffe://blue.example/gateway/gw1",
      () => false,
    ),
  );

  const service = world.service("blue.example/gw1");
  process.kill(service.pid ?? 0, "SIGKILL");
  await until("the other gateway", () => mover.status().gateway === "spiffe://blue.example/gateway/gw2");
  expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(["detached", "attached", "gap"]));
  await until("the new way to the mover", () =>
    ask().then(
      (gateway) => gateway === "spiffe://blue.example/gateway/gw2",
      () => false,
    ),
  );
  // All of it over connections that the agents of this process made: nothing listens here.
  expect(process.getActiveResourcesInfo().filter((resource) => /server|listen/i.test(resource))).toEqual([]);
});
