/** One agent at two gateways, which are killed one after the other. Against two real domains. */
import { join } from "node:path";
import { type Agent, connect } from "@causeway/agent/node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorld, until, type World } from "./world.ts";

let world: World;
const resources = new AsyncDisposableStack();

/** Services that do not come up again while they are in here. */
const heldDown = new Set<string>();

beforeAll(async () => {
  const environment = (service: string): NodeJS.ProcessEnv =>
    heldDown.has(service) ? { ...process.env, NODE_OPTIONS: "--held-down-by-a-test" } : process.env;
  world = resources.use(await startWorld({}, { environment }));
}, 120_000);

afterAll(() => resources.disposeAsync());

const gw = (name: string): string => `spiffe://blue.example/gateway/${name}`;

async function down(service: string): Promise<void> {
  const { restarts } = world.service(service);
  heldDown.add(service);
  process.kill(world.service(service).pid ?? 0, "SIGKILL");
  await until(`${service} to fail to come up`, () => world.service(service).restarts > restarts);
}

const up = (service: string): unknown => heldDown.delete(service);

async function register(agent: Agent): Promise<void> {
  const skills = [{ id: "test", description: "Takes part in a test" }];
  await agent.register({ name: "Test", description: "Takes part in a test", version: "1", skills });
}

/** An agent of blue.example at both of its gateways, of which it prefers the Level-1 gateway. */
async function atBoth(name: string): Promise<Agent> {
  const [config] = world.network.configs;
  const [operator] = world.network.operators;
  const urls = config.gateways.toSorted((a, b) => a.level - b.level).map(({ url }) => url);
  const agent = await connect({
    name,
    dataDir: join(world.home.directory, "at-both"),
    token: await operator.agentToken(name),
    gateway: urls,
    ...(config.registry && { registry: config.registry.url }),
    attachments: 2,
  });
  resources.use(agent);
  return agent;
}

/** Gateways where the agent is attached, the preferred one first. */
const places = (agent: Agent): readonly (string | undefined)[] =>
  agent
    .status()
    .attachments.filter(({ state }) => state === "ready")
    .toSorted((a, b) => Number(b.preferred) - Number(a.preferred))
    .map(({ gateway }) => gateway);

test("of an agent at two gateways one is killed, then the other: messages, streams and topics go on, in order, and nothing comes twice [AAP-15]", {
  timeout: 300_000,
}, async () => {
  const double = await atBoth("blue.example/homes/double");
  await register(double);
  const near = await world.agent("blue.example/homes/near");
  await register(near);
  const far = await world.agent("green.example/homes/far");
  await register(far);
  await until("both gateways", () => places(double).length === 2);
  expect(places(double)).toEqual([gw("gw1"), gw("gw2")]);
  const heard = new Map<string, string[]>();
  double.onMessage(({ from, data }) => {
    heard.set(from, [...(heard.get(from) ?? []), String(data)]);
  });
  double.onStream(async (stream) => {
    for await (const bytes of stream) await stream.write(bytes);
    await stream.end();
  });
  far.onMessage(() => undefined);
  for (const each of [near, far])
    await until("a way", async () =>
      each.send(double.id, "hello", { timeoutMs: 5_000 }).then(
        () => true,
        () => false,
      ),
    );
  heard.clear();
  const topic = await far.createTopic("news");
  const news: number[] = [];
  await double.subscribe(topic, ({ data }) => void news.push(Number(String(data))));
  const stream = far.openStream(double.id);
  const echoed: Uint8Array[] = [];
  const reading = (async () => {
    for await (const bytes of stream) echoed.push(bytes);
  })();
  const events: string[] = [];
  double.onEvent((event) => {
    if (event.type === "attached") events.push(event.gateway);
    else if (event.type === "security") events.push(`${event.peer}: ${event.error.message}`);
    // A report about a message that nobody waits for: such are lost with the gateway that they went to.
    else if (event.type !== "warning") events.push(event.type);
  });

  const over = new Set<string>();
  /** Does `what` with 0, 1, 2 … one after the other until it is over; how often. */
  const keep = async (name: string, what: (i: number) => Promise<unknown>): Promise<number> => {
    let i = 0;
    while (!over.has(name)) {
      await what(i++);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return i;
  };
  const timeoutMs = 90_000;
  const sending = keep("near", (i) => near.send(double.id, `${i}`, { timeoutMs }));
  const flows = [
    keep("far", (i) => far.send(double.id, `${i}`, { timeoutMs })),
    keep("far", (i) => double.send(far.id, `${i}`, { timeoutMs })),
    keep("far", (i) => stream.write(new TextEncoder().encode(`${i},`))),
  ];
  const publishing = keep("news", (i) => far.publish(topic, `${i}`));
  const fromNear = (): number => heard.get(near.id)?.length ?? 0;
  const fromFar = (): number => heard.get(far.id)?.length ?? 0;
  const grows = async (counts: readonly (() => number)[]): Promise<void> => {
    const marks = counts.map((count) => count());
    await until("traffic", () => counts.every((count, i) => count() > (marks[i] ?? 0) + 3), 60_000);
  };
  const all = [fromNear, fromFar, () => echoed.length];
  await grows([...all, () => news.length]);

  // The one that others send to first. The other sender of its domain is attached there as well.
  await down("blue.example/gw1");
  await until("the loss", () => !places(double).includes(gw("gw1")));
  expect(double.status()).toMatchObject({ state: "attached", gateway: gw("gw2") });
  await grows([...all, () => news.length]);
  up("blue.example/gw1");
  await until("gw1 to be back", () => places(double).length === 2, 60_000);
  await grows([...all, () => news.length]);
  // The publisher lost nothing, and the subscriber had subscribed at both: publications are sent once, and none is missing.
  over.add("news");
  const published = await publishing;
  await until("the last publication", () => news.includes(published - 1));
  expect(news).toEqual(Array.from({ length: published }, (_, i) => i));

  over.add("far");
  const [far_ = 0, , written = 0] = await Promise.all(flows);
  await stream.end();
  await reading;

  // The other one, over which everything comes that is not of the domain; what is of the domain goes on.
  await down("blue.example/gw2");
  await until("the loss", () => !places(double).includes(gw("gw2")));
  expect(double.status()).toMatchObject({ state: "attached", gateway: gw("gw1") });
  await grows([fromNear]);
  up("blue.example/gw2");
  await until("gw2 to be back", () => places(double).length === 2, 60_000);
  await grows([fromNear]);
  over.add("near");
  const near_ = await sending;

  const numbered = (n: number): readonly string[] => Array.from({ length: n }, (_, i) => `${i}`);
  expect(heard.get(near.id)).toEqual(numbered(near_));
  expect(heard.get(far.id)).toEqual(numbered(far_));
  expect(Buffer.concat(echoed).toString()).toBe(
    numbered(written)
      .map((each) => `${each},`)
      .join(""),
  );
  // To its application it was there all the time.
  expect(events).toEqual([gw("gw1"), gw("gw2")]);
});
