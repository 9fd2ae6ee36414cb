/**
 * Who is there, and what becomes of those who talk when somebody goes: agents below a prefix, an agent that takes its
 * registration back, a registry that is down, a gateway that is drained. Against two real domains.
 */
import { type AddressInfo, connect as connectSocket, createServer } from "node:net";
import type { Agent, AgentEvent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import { causeway } from "./adversary/program.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;
/** Services that do not come up again while they are in here. */
const heldDown = new Set<string>();

beforeAll(async () => {
  world = await startWorld(
    {},
    {
      environment: (service) =>
        heldDown.has(service) ? { ...process.env, NODE_OPTIONS: "--held-down-by-a-test" } : process.env,
    },
  );
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

async function registered(name: string): Promise<Agent> {
  const agent = await world.agent(name);
  await register(agent);
  return agent;
}

async function register(agent: Agent): Promise<void> {
  const skills = [{ id: "test", description: "Takes part in a test" }];
  await agent.register({ name: "Test", description: "Takes part in a test", version: "1", skills });
}

const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "done",
    (thrown: unknown) => CausewayError.from(thrown).code,
  );

/** A way to `to` is known: records take a moment to travel. */
const reachable = (from: Agent, to: string): Promise<void> =>
  until(`a way to ${to}`, async () =>
    ["done", "CAUSEWAY_AGENT_NO_HANDLER"].includes(
      await codeOf(from.request(to, { method: "ping" }, { timeoutMs: 5_000 })),
    ),
  );

async function down(service: string): Promise<void> {
  const { restarts } = world.service(service);
  heldDown.add(service);
  process.kill(world.service(service).pid ?? 0, "SIGKILL");
  await until(`${service} to fail to come up`, () => world.service(service).restarts > restarts);
}

const asOperator = (...words: string[]) =>
  causeway(...words, "--home", world.home.directory, "--domain", "blue.example", "--json");

test("a target that ends in '/' reaches one agent below it, of the own gateway or of another domain, and nobody else [AAP-69]", {
  timeout: 120_000,
}, async () => {
  const asker = await world.agent("blue.example/prefixes/asker");
  const names = ["blue.example/desk/clerk", "blue.example/desks/other", "green.example/desk/clerk"];
  for (const name of names) (await registered(name)).onRequest("who", () => name);
  for (const name of names) await reachable(asker, name);
  const who = async (target: string): Promise<readonly unknown[]> => {
    const { from, data } = await asker.request(target, { method: "who" }, { timeoutMs: 20_000 });
    return [from, data];
  };
  for (const domain of ["blue.example", "green.example"]) {
    const name = `${domain}/desk/clerk`;
    expect(await who(`${domain}/desk/`)).toEqual([`spiffe://${name}`, name]);
    expect(await who(name)).toEqual([`spiffe://${name}`, name]);
    // Half a segment is no prefix of anything, and a namespace without agents has nobody.
    for (const nobody of ["des", "nobody"])
      expect(await codeOf(who(`${domain}/${nobody}/`))).toMatch(/^CAUSEWAY_(FORWARDING_NO_ROUTE|RECORD_NOT_FOUND)$/);
    for (const malformed of [`${domain}//desk/`, `${domain}/De sk/`])
      expect(await codeOf(who(malformed))).toBe("CAUSEWAY_NAME_INVALID");
  }
});

test("after deregister() the agent is gone from both registries and out of reach, and with the same certificate it can come back [ANA-104]", {
  timeout: 120_000,
}, async () => {
  const leaver = await registered("green.example/leaving/agent");
  const local = await world.agent("green.example/leaving/neighbour");
  const remote = await world.agent("blue.example/leaving/peer");
  const newcomer = await world.agent("blue.example/leaving/newcomer");
  leaver.onMessage(() => undefined);
  for (const each of [local, remote]) {
    await until("the record", async () => (await each.lookup(leaver.id)) !== undefined);
    await reachable(each, leaver.id);
    await each.send(leaver.id, "before");
  }
  const certificate = leaver.status().certificateExpiresUnixMs;
  await leaver.deregister();
  for (const each of [local, remote])
    await until("the record to go", async () => (await each.lookup(leaver.id)) === undefined);
  // One that knew it, and one that asks for the first time.
  const gone = /^CAUSEWAY_(FORWARDING_NO_ROUTE|RECORD_NOT_FOUND|AGENT_NOT_FOUND)$/;
  for (const each of [remote, newcomer])
    expect(await codeOf(each.send(leaver.id, "too late", { timeoutMs: 20_000 }))).toMatch(gone);
  expect(leaver.status()).toMatchObject({ state: "attached", registered: false });

  await register(leaver);
  expect(leaver.status().certificateExpiresUnixMs).toBe(certificate);
  for (const each of [local, remote, newcomer]) {
    await until("the record", async () => (await each.lookup(leaver.id)) !== undefined);
    await reachable(each, leaver.id);
    await each.send(leaver.id, "again");
  }
});

test("of two gateways that both answer, `prefer` decides which one is taken, and why is kept [AAP-38, AAP-61]", {
  timeout: 120_000,
}, async () => {
  const [config] = world.network.configs;
  // An agent at gw1 is a load there: of two that it may have.
  await world.agent("blue.example/choosing/load");
  expect(await asOperator("limits", "set", "attachmentsMax", "100", "--gateway", "gw1")).toMatchObject({ exitCode: 0 });
  // What goes to gw2 waits until gw1 has answered.
  let isAnswered = Promise.withResolvers<void>();
  const [first, second] = await Promise.all(
    config.gateways.map(async ({ url }, i) => {
      const server = createServer((inward) => {
        inward.on("error", () => undefined);
        inward.on("close", () => i === 0 && isAnswered.resolve());
        void (i === 0 ? Promise.resolve() : isAnswered.promise).then(() => {
          const outward = connectSocket(Number(new URL(url).port), "127.0.0.1");
          outward.on("error", () => inward.destroy());
          inward.on("close", () => outward.destroy());
          inward.pipe(outward).pipe(inward);
        });
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return { server, url: `https://127.0.0.1:${(server.address() as AddressInfo).port}` };
    }),
  );
  const chosen = async (prefer: readonly ("load" | "delay")[]): Promise<readonly unknown[]> => {
    let found: readonly unknown[] = [];
    // An answer may miss the window in which answers are collected; then there was nothing to choose.
    await until("two answers", async () => {
      isAnswered = Promise.withResolvers();
      await using agent = await connectAgent({
        ...{ home: world.home, config, name: "blue.example/choosing/agent" },
        discovery: { methods: [{ method: "static", gateways: [first?.url ?? "", second?.url ?? ""] }], prefer },
      });
      const { gateway, discovery } = agent.status();
      found = [gateway, discovery.chosen?.reason];
      return discovery.chosen?.reason !== "no other is left";
    });
    return found;
  };
  const gateway = "spiffe://blue.example/gateway/";
  expect(await chosen(["load", "delay"])).toEqual([`${gateway}gw2`, "it has the lowest load"]);
  expect(await chosen(["delay", "load"])).toEqual([`${gateway}gw1`, "it answered fastest"]);
  for (const each of [first, second]) each?.server.close();
  expect(await asOperator("limits", "reload")).toMatchObject({ exitCode: 0 });
});

test("without any registry agents go on: in their session, in a new one, and after they attached again [AAP-30]", {
  timeout: 120_000,
}, async () => {
  const alice = await registered("blue.example/self/alice");
  const bob = await registered("green.example/self/bob");
  const carol = await registered("blue.example/self/carol");
  const dave = await registered("green.example/self/dave");
  const scout = await world.agent("blue.example/self/scout");
  const heard: string[] = [];
  for (const each of [bob, dave]) each.onMessage(({ from, data }) => void heard.push(`${from} ${String(data)}`));
  await reachable(alice, bob.id);
  // Somebody else finds out that the way is known: carol and dave are not to have met.
  await reachable(scout, dave.id);
  await alice.send(bob.id, "with a registry");
  await Promise.all(["blue.example/registry", "green.example/registry"].map(down));
  expect(await codeOf(alice.lookup(bob.id, { timeoutMs: 2_000 }))).not.toBe("done");

  await alice.send(bob.id, "the session that was");
  await carol.send(dave.id, "a new session");
  process.kill(world.service("green.example/gw1").pid ?? 0, "SIGKILL");
  await until("bob to be elsewhere", () => bob.status().gateway === "spiffe://green.example/gateway/gw2");
  await alice.send(bob.id, "at another gateway", { timeoutMs: 60_000 });
  await carol.close({ away: true });
  const again = await world.agent("blue.example/self/carol");
  await again.send(dave.id, "another process", { timeoutMs: 60_000 });
  expect(heard).toEqual([
    `${alice.id} with a registry`,
    `${alice.id} the session that was`,
    `${carol.id} a new session`,
    `${alice.id} at another gateway`,
    `${carol.id} another process`,
  ]);
  await again.close();
  heldDown.clear();
  await until("the registries", async () => (await codeOf(alice.lookup(bob.id, { timeoutMs: 2_000 }))) === "done");
});

// The last one: the gateway stays down.
test("an agent moves away from a gateway that is drained: nothing reliable is lost or doubled, streams and subscriptions go on [AGP-6, AAP-14]", {
  timeout: 180_000,
}, async () => {
  const mover = await registered("blue.example/draining/mover");
  const other = await registered("green.example/draining/other");
  const events: AgentEvent["type"][] = [];
  mover.onEvent(({ type }) => void events.push(type));
  const heard: { readonly mover: unknown[]; readonly other: unknown[] } = { mover: [], other: [] };
  mover.onMessage(({ data }) => void heard.mover.push(data));
  other.onMessage(({ data }) => void heard.other.push(data));
  mover.onStream(async (stream) => {
    for await (const bytes of stream) await stream.write(bytes);
    await stream.end();
  });
  await reachable(other, mover.id);
  await reachable(mover, other.id);
  expect(mover.status().gateway).toBe("spiffe://blue.example/gateway/gw1");
  const topic = await other.createTopic("news");
  const news: number[] = [];
  await mover.subscribe(topic, ({ data }) => void news.push(Number(String(data))));
  // Its subscriber keeps it, though nobody publishes to it before the agent has moved.
  const quiet = await mover.createTopic("quiet", { idleExpiryMs: 500 });
  const quietHeard: unknown[] = [];
  await other.subscribe(quiet, ({ data }) => void quietHeard.push(data));
  const quietSince = performance.now();
  const stream = other.openStream(mover.id);
  const echoed: Uint8Array[] = [];
  const reading = (async () => {
    for await (const bytes of stream) echoed.push(bytes);
  })();

  let isOver = false;
  /** Does `what` with 0, 1, 2 … one after the other until it is over; how often. */
  const keep = async (what: (i: number) => Promise<unknown>): Promise<number> => {
    let i = 0;
    while (!isOver) await what(i++);
    return i;
  };
  const pause = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 20));
  const flows = [
    keep((i) => other.send(mover.id, `to ${i}`, { timeoutMs: 60_000 })),
    keep((i) => mover.send(other.id, `from ${i}`, { timeoutMs: 60_000 })),
    keep(async (i) => {
      await stream.write(new TextEncoder().encode(`${i},`));
      await pause();
    }),
    keep(async (i) => {
      await other.publish(topic, `${i}`);
      await pause();
    }),
  ];
  const isFlowing = (marks: readonly number[]): boolean =>
    [heard.mover.length, heard.other.length, echoed.length, news.length].every((n, i) => n > (marks[i] ?? 0) + 3);
  await until("traffic", () => isFlowing([0, 0, 0, 0]) && performance.now() > quietSince + 600);
  expect(await asOperator("drain", "gw1")).toMatchObject({ exitCode: 0 });
  await until("the other gateway", () => mover.status().gateway === "spiffe://blue.example/gateway/gw2");
  const marks = [heard.mover.length, heard.other.length, echoed.length, news.length];
  await until("traffic at the other gateway", () => isFlowing(marks));
  await until("the drained gateway to end", () => world.service("blue.example/gw1").pid === undefined);
  isOver = true;
  const [to = 0, from = 0, written = 0, published = 0] = await Promise.all(flows);
  await until("the last publication", () => news.includes(published - 1));
  await stream.end();
  await reading;

  // The next attachment stands before the one at the drained gateway ends.
  expect(events).toEqual(["draining", "attached"]);
  await mover.publish("quiet", "still there");
  await until("the topic that moved along", () => quietHeard.includes("still there"));
  const numbered = (text: string, count: number) => Array.from({ length: count }, (_, i) => `${text} ${i}`);
  expect(heard).toEqual({ mover: numbered("to", to), other: numbered("from", from) });
  expect(Buffer.concat(echoed).toString()).toBe(Array.from({ length: written }, (_, i) => `${i},`).join(""));
  // Publications are not repeated for those who miss one, and there was no moment in which one could be missed.
  expect(news).toEqual(Array.from({ length: published }, (_, i) => i));
  expect(world.service("blue.example/gw1").restarts).toBe(0);
});
