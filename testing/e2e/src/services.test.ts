/** Services, streams, delivery levels and instances between agents of two real domains. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Agent, connect } from "@causeway/agent/node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { causeway } from "./adversary/program.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;
const open: Agent[] = [];

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(async () => {
  await Promise.all(open.map((agent) => agent.close()));
  await world?.[Symbol.asyncDispose]();
});

async function registered(agent: Agent): Promise<Agent> {
  const skills = [{ id: "test", description: "Takes part in a test" }];
  await agent.register({ name: "Test", description: "Takes part in a test", version: "1", skills });
  return agent;
}

/** A way to `to` is known: records take a moment to travel. */
async function reachable(from: Agent, to: string): Promise<void> {
  await until(`a way to ${to}`, () =>
    from.request(to, { method: "ping" }, { timeoutMs: 5_000 }).then(
      () => true,
      ({ code }: { readonly code?: string }) => code === "CAUSEWAY_AGENT_NO_HANDLER",
    ),
  );
}

test("a protobuf service answers all four kinds of calls across two domains, with generated code [AGP-22]", {
  timeout: 120_000,
}, async () => {
  const [blue, green] = world.network.configs;
  const [blueOperator, greenOperator] = world.network.operators;
  const [asker, station] = ["blue.example/weather/asker", "green.example/weather/station"];
  const program = fileURLToPath(new URL("../../../examples/weather-service/src/main.ts", import.meta.url));
  const environment = {
    STATION_NAME: station,
    STATION_TOKEN: await greenOperator.agentToken(station),
    STATION_GATEWAY: green.gateways[0]?.url ?? "",
    STATION_REGISTRY: green.registry?.url ?? "",
    ASKER_NAME: asker,
    ASKER_TOKEN: await blueOperator.agentToken(asker),
    ASKER_GATEWAY: blue.gateways[0]?.url ?? "",
    ASKER_REGISTRY: blue.registry?.url ?? "",
    DATA_DIR: join(world.home.directory, "weather"),
  };
  const { stdout } = await promisify(execFile)(process.execPath, [program], {
    env: { ...process.env, ...environment },
  });
  expect(JSON.parse(stdout)).toEqual({
    current: 4,
    forecast: [20, 21, 22],
    meanCelsius: 5,
    answers: ["Quito 15", "Oslo 4"],
  });
});

describe("between two domains", () => {
  test("topics are found, heard by pattern as they come, and deleted [AGP-12, AGP-20]", {
    timeout: 120_000,
  }, async () => {
    const owner = await registered(await world.agent("blue.example/press/office"));
    const reader = await world.agent("green.example/press/reader");
    await reachable(reader, owner.id);
    const news = await owner.createTopic("news", { publishers: ["green.example/press/"], idleExpiryMs: 3_600_000 });
    await owner.createTopic("staff", { subscribers: ["blue.example/"] });
    const heard: string[] = [];
    const subscription = await reader.subscribe("blue.example/press/office/*", ({ topic, data }) => {
      heard.push(`${topic.slice(topic.lastIndexOf("/") + 1)} ${String(data)}`);
    });
    const names = async () => (await reader.listTopics("blue.example/press/office")).map(({ topic }) => topic).sort();
    expect(await names()).toEqual([news, "blue.example/press/office/staff"]);
    const { rights, owner: by } = await reader.describeTopic(news);
    expect([by, rights.publishers, rights.idleExpiryMs]).toEqual([
      owner.id,
      ["spiffe://green.example/press/"],
      3_600_000,
    ]);
    await owner.publish("news", "one");
    await owner.publish("staff", "not for readers");
    // Nobody says that there is another topic but its first message.
    await owner.createTopic("sport", { retained: 5 });
    await until("the new topic to be heard", async () => {
      await owner.publish("sport", "score");
      return heard.includes("sport score");
    });
    expect(heard.filter((each) => !each.startsWith("sport"))).toEqual(["news one"]);
    await owner.deleteTopic("news");
    expect(await names()).not.toContain(news);
    await until("the reader to be out", () =>
      reader.publish(news, "too late").then(
        () => false,
        ({ code }: { readonly code?: string }) => code === "CAUSEWAY_TOPIC_NOT_FOUND",
      ),
    );
    await subscription.close();
    // Now its owner is the only one who hears it.
    const brief = await owner.createTopic("brief", { idleExpiryMs: 1_000 });
    await until("the idle topic to expire", async () => !(await names()).includes(brief));
    await expect(owner.publish("brief", "too late")).rejects.toMatchObject({ code: "CAUSEWAY_TOPIC_NOT_FOUND" });
  });

  test("streams share the agent's one connection, and megabytes arrive whole [AGP-7, AGP-21]", {
    timeout: 120_000,
  }, async () => {
    const sender = await world.agent("blue.example/streams/sender");
    const receiver = await registered(await world.agent("green.example/streams/receiver"));
    receiver.onStream(async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      await stream.end();
    });
    await reachable(sender, receiver.id);
    const sockets = (): number => process.getActiveResourcesInfo().filter((each) => /tcpsocket|tls/i.test(each)).length;
    const before = sockets();
    const streams = Array.from({ length: 500 }, (_, i) => sender.openStream(receiver.id, { name: `${i}` }));
    const echo = async (stream: (typeof streams)[number]): Promise<string> => {
      await stream.write(new TextEncoder().encode(stream.name));
      await stream.end();
      const pieces: Uint8Array[] = [];
      for await (const bytes of stream) pieces.push(bytes);
      return Buffer.concat(pieces).toString();
    };
    const during = Promise.all(streams.map(echo));
    expect(sockets()).toBe(before);
    expect(await during).toEqual(streams.map(({ name }) => name));

    const large = sender.openStream(receiver.id, { name: "large" });
    const writing = (async () => {
      for (let i = 0; i < 128; i++) await large.write(new Uint8Array(65_536).fill(i));
      await large.end();
    })();
    let length = 0;
    let isWhole = true;
    for await (const bytes of large) {
      for (const byte of bytes) isWhole &&= byte === Math.floor(length++ / 65_536);
    }
    await writing;
    expect([length, isWhole]).toEqual([8_388_608, true]);
  });

  test("10,000 messages in 50 sessions arrive in the order of each session, with bulk on the same way [ANA-39]", {
    timeout: 180_000,
  }, async () => {
    const named = (domain: string, role: string, count: number): Promise<Agent[]> =>
      Promise.all(Array.from({ length: count }, (_, i) => world.agent(`${domain}/order/${role}${i}`)));
    const [senders, receivers] = await Promise.all([
      named("blue.example", "sender", 5),
      named("green.example", "receiver", 10),
    ]);
    const [loader, sink] = await Promise.all([
      world.agent("blue.example/order/loader"),
      world.agent("green.example/order/sink"),
    ]);
    const taken = new Map<string, unknown[]>();
    for (const receiver of receivers)
      receiver.onMessage(({ from, data }) => {
        const session = `${from} ${receiver.id}`;
        taken.set(session, [...(taken.get(session) ?? []), data]);
      });
    let loaded = 0;
    sink.onMessage(() => void loaded++);
    await Promise.all([...receivers, sink].map(registered));
    for (const receiver of [...receivers, sink]) await reachable(loader, receiver.id);
    let isLoading = true;
    const load = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (isLoading) await loader.send(sink.id, new Uint8Array(16_384), { priority: "bulk" });
      }),
    );
    const numbers = Array.from({ length: 200 }, (_, number) => number);
    // Fifty messages of each session are under way at once.
    for (let from = 0; from < numbers.length; from += 50)
      await Promise.all(
        numbers
          .slice(from, from + 50)
          .flatMap((number) => senders.flatMap((each) => receivers.map(({ id }) => each.send(id, number)))),
      );
    isLoading = false;
    await load;
    expect(loaded).toBeGreaterThan(8);
    expect(taken.size).toBe(50);
    for (const [session, data] of taken) expect([session, data]).toEqual([session, numbers]);
  });

  test("a sender hears of acceptance, storage, delivery and processing as it asked [AGP-58]", {
    timeout: 120_000,
  }, async () => {
    const sender = await world.agent("blue.example/levels/sender");
    const receiver = await registered(await world.agent("green.example/levels/receiver"));
    const taken: unknown[] = [];
    receiver.onMessage(({ data }) => void taken.push(data));
    await reachable(sender, receiver.id);
    for (const ack of ["accepted", "stored", "delivered", "processed"] as const) {
      const { reached } = await sender.send(receiver.id, ack, { ack });
      // What comes later includes what comes before it.
      expect(["accepted", "stored", "delivered", "processed"].indexOf(reached)).toBeGreaterThanOrEqual(
        ["accepted", "stored", "delivered", "processed"].indexOf(ack),
      );
    }
    await until("the last message", () => taken.length === 4);
    expect(taken).toEqual(["accepted", "stored", "delivered", "processed"]);
  });

  test("somebody at a terminal says how far a message has to come, and until when it is needed", {
    timeout: 120_000,
  }, async () => {
    const name = "green.example/shell/receiver";
    const receiver = await registered(await world.agent(name));
    receiver.onMessage(() => undefined);
    await reachable(await world.agent("blue.example/shell/sender"), receiver.id);
    const home = ["--home", world.home.directory];
    const say = (...words: string[]) => causeway("send", name, "hi", ...words, ...home, "--domain", "blue.example");
    expect(await say("--ack", "processed", "--priority", "bulk")).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/^processed: the other agent took the message \(message [0-9a-f]{32}\)\n$/),
      stderr: expect.any(String),
    });
    for (const ack of ["accepted", "delivered"]) {
      const { stdout } = await say("--ack", ack, "--json");
      expect(JSON.parse(stdout)).toMatchObject({
        ok: true,
        target: name,
        messageId: expect.stringMatching(/^[0-9a-f]{32}$/),
      });
      const levels = ["accepted", "stored", "delivered", "processed"];
      expect(levels.indexOf((JSON.parse(stdout) as { reached: string }).reached)).toBeGreaterThanOrEqual(
        levels.indexOf(ack),
      );
    }

    await receiver.close({ away: true });
    const { stdout } = await say("--ack", "stored", "--expires", "3600000", "--json");
    const { reached, messageId } = JSON.parse(stdout) as { readonly reached: string; readonly messageId: string };
    expect(reached).toBe("stored");
    const show = await causeway("mailbox", "show", name, "--json", ...home, "--domain", "green.example");
    const { messages } = JSON.parse(show.stdout) as {
      readonly messages: readonly { messageId: string; storedUnixMs: number; expiresUnixMs: number }[];
    };
    const mail = messages.find((each) => each.messageId === messageId);
    // A day, when its sender does not say.
    const keptMs = (mail?.expiresUnixMs ?? 0) - (mail?.storedUnixMs ?? 0);
    expect(keptMs).toBeGreaterThan(0);
    expect(keptMs).toBeLessThanOrEqual(3_600_000);
  });

  test("an agent that was away takes what was stored for it, once", { timeout: 120_000 }, async () => {
    const sender = await world.agent("blue.example/away/sender");
    const [, green] = world.network.configs;
    const [, operator] = world.network.operators;
    const name = "green.example/away/receiver";
    const start = async (token?: string): Promise<Agent> =>
      await connect({
        name,
        dataDir: join(world.home.directory, "away"),
        masterKeyFile: world.home.masterKeyFile,
        gateway: green.gateways[0]?.url ?? "",
        registry: green.registry?.url ?? "",
        ...(token !== undefined && { token }),
      });
    const first = await registered(await start(await operator.agentToken(name)));
    first.onMessage(() => undefined);
    await reachable(sender, first.id);
    await sender.send(first.id, "before");
    await first.close({ away: true });
    const receipts = await Promise.all(
      [1, 2, 3].map((i) => sender.send(first.id, `stored ${i}`, { ack: "stored", timeoutMs: 30_000 })),
    );
    expect(receipts.map(({ reached }) => reached)).toEqual(["stored", "stored", "stored"]);
    const taken: unknown[] = [];
    const second = await start();
    open.push(second);
    second.onMessage(({ data }) => void taken.push(data));
    await until("what was stored", () => taken.length >= 3);
    await sender.send(first.id, "after");
    expect(taken).toEqual(["stored 1", "stored 2", "stored 3", "after"]);
  });

  test("any instance of an agent answers to its name, and one that is named answers alone [BEY-7]", {
    timeout: 120_000,
  }, async () => {
    const [, green] = world.network.configs;
    const [, operator] = world.network.operators;
    const name = "green.example/shop/clerk";
    const instances = await Promise.all(
      ["a", "b", "c"].map(async (instance) => {
        const agent = await connect({
          name,
          instance,
          dataDir: join(world.home.directory, "clerks", instance),
          gateway: green.gateways[0]?.url ?? "",
          registry: green.registry?.url ?? "",
          token: await operator.agentToken(name),
        });
        open.push(agent);
        agent.onRequest("who", () => instance);
        return agent;
      }),
    );
    for (const instance of instances) await registered(instance);
    const askers = await Promise.all([1, 2, 3, 4, 5, 6].map((i) => world.agent(`blue.example/shop/customer${i}`)));
    await reachable(askers[0] as Agent, name);
    const who = async (asker: Agent, target: string): Promise<unknown> =>
      (await asker.request(target, { method: "who" }, { timeoutMs: 20_000 })).data;
    const met = await Promise.all(askers.map((asker) => who(asker, name)));
    // Spread over all three, and each asker stays with whom it met.
    expect(new Set(met)).toEqual(new Set(["a", "b", "c"]));
    for (let round = 0; round < 3; round++)
      expect(await Promise.all(askers.map((asker) => who(asker, name)))).toEqual(met);
    for (const instance of ["a", "b", "c"]) {
      const answers = await Promise.all(askers.map((asker) => who(asker, `${name}/@${instance}`)));
      expect(new Set(answers)).toEqual(new Set([instance]));
    }
  });
});

// The last one: it takes a gateway away.
test("a stream and reliable messages go on while the agent moves to another gateway [AAP-14]", {
  timeout: 120_000,
}, async () => {
  const mover = await registered(await world.agent("blue.example/moving/streamer"));
  const other = await world.agent("green.example/moving/reader");
  const taken: unknown[] = [];
  mover.onMessage(({ data }) => void taken.push(data));
  mover.onStream(async (stream) => {
    for await (const bytes of stream) await stream.write(bytes);
    await stream.end();
  });
  await reachable(other, mover.id);
  expect(mover.status().gateway).toBe("spiffe://blue.example/gateway/gw1");
  const stream = other.openStream(mover.id);
  const echoed: Uint8Array[] = [];
  const reading = (async () => {
    for await (const bytes of stream) echoed.push(bytes);
  })();
  const say = async (text: string): Promise<void> => {
    await stream.write(new TextEncoder().encode(text));
  };
  await say("before ");
  await until("the first echo", () => echoed.length > 0);
  process.kill(world.service("blue.example/gw1").pid ?? 0, "SIGKILL");
  const sent = Promise.all([1, 2, 3].map((i) => other.send(mover.id, i, { timeoutMs: 60_000 })));
  await say("during ");
  await sent;
  expect(mover.status().gateway).toBe("spiffe://blue.example/gateway/gw2");
  await say("after");
  await stream.end();
  await reading;
  expect(Buffer.concat(echoed).toString()).toBe("before during after");
  expect(taken).toEqual([1, 2, 3]);
});
