/** Priorities between agents of two real domains: bulk in flood beside what is interactive, from one sender to one receiver. */
import type { Agent } from "@causeway/agent/node";
import { agp } from "@causeway/core-wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { enrol } from "./adversary/credentials.ts";
import { startGateway } from "./adversary/extra-gateway.ts";
import { ownerOf, privateMessage, WireLink } from "./adversary/wire-link.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;
let sender: Agent;
let receiver: Agent;

beforeAll(async () => {
  world = await startWorld();
  sender = await world.agent("blue.example/classes/sender");
  receiver = await world.agent("green.example/classes/receiver");
  const skills = [{ id: "test", description: "Takes part in a test" }];
  await receiver.register({ name: "Test", description: "Takes part in a test", version: "1", skills });
  await until(`a way to ${receiver.id}`, () =>
    sender.request(receiver.id, { method: "ping" }, { timeoutMs: 5_000 }).then(
      () => true,
      ({ code }: { readonly code?: string }) => code === "CAUSEWAY_AGENT_NO_HANDLER",
    ),
  );
}, 120_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

test("a flood of bulk and interactive messages of one sender to one receiver arrive complete and in order each, and what is interactive overtakes", {
  timeout: 120_000,
}, async () => {
  const [bulkCount, urgentCount] = [600, 40];
  const taken: string[] = [];
  const isOver = Promise.withResolvers<void>();
  const stop = receiver.onMessage(async ({ data }) => {
    const text = String(data).split(" ")[0] ?? "";
    taken.push(text);
    if (text === `i${urgentCount - 1}`) isOver.resolve();
    // Bulk goes on when everything interactive was taken: who waited behind it would wait for ever.
    if (text.startsWith("b")) await isOver.promise;
  });
  const options = { timeoutMs: 100_000 };
  const bulk = Array.from({ length: bulkCount }, (_, i) =>
    sender.send(receiver.id, `b${i} `.padEnd(20_000, "x"), { ...options, priority: "bulk" }),
  );
  const urgent = Array.from({ length: urgentCount }, (_, i) => sender.send(receiver.id, `i${i} `, options));
  await Promise.all([...urgent, ...bulk]);
  const of = (letter: string): string[] => taken.filter((text) => text.startsWith(letter));
  expect(of("i")).toEqual(Array.from({ length: urgentCount }, (_, i) => `i${i}`));
  expect(of("b")).toEqual(Array.from({ length: bulkCount }, (_, i) => `b${i}`));
  expect(
    taken.slice(0, taken.indexOf(`i${urgentCount - 1}`)).filter((text) => text.startsWith("b")).length,
  ).toBeLessThanOrEqual(1);
  stop();
});

test("a stream of bulk does not hold up requests, and arrives whole", { timeout: 120_000 }, async () => {
  const bytes = 8_000_000;
  const isOver = Promise.withResolvers<void>();
  const got = Promise.withResolvers<number>();
  const ends = [
    receiver.onStream("bulk", async (stream) => {
      // It reads nothing until the requests are answered: the stream is as full as it may be.
      await isOver.promise;
      let count = 0;
      for await (const piece of stream) count += piece.length;
      await stream.end();
      got.resolve(count);
    }),
    receiver.onRequest("add", ({ data }) => Number(data) + 1),
  ];
  const stream = sender.openStream(receiver.id, { name: "bulk", priority: "bulk" });
  const written = (async () => {
    for (let sent = 0; sent < bytes; sent += 100_000) await stream.write(new Uint8Array(100_000));
    await stream.end();
  })();
  const answers = [];
  for (let i = 0; i < 20; i++) answers.push((await sender.request(receiver.id, { method: "add", data: i })).data);
  expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  isOver.resolve();
  await written;
  expect(await got.promise).toBe(bytes);
  for (const end of ends) end();
});

test("at a receiver whose connection is slow, what is interactive arrives before bulk that its gateway has queued already [BEY-1]", {
  timeout: 120_000,
}, async () => {
  const [count, most] = [800, 16_777_216];
  const limits = { linkBufferedBytesMax: most, linkBulkBytesMax: most, bulkAfterStopBytesMax: most, pauseMsMax: 1 };
  const url = await startGateway(world, { name: "blue.example/beside", limits });
  await using keepers = new AsyncDisposableStack();
  const owner = async (name: string) => {
    const keeper = await enrol(world, `blue.example/classes/${name}`);
    keepers.defer(() => keeper.stop());
    return ownerOf(keeper);
  };
  const [receiving, sending] = await Promise.all(["slow", "from"].map(owner));
  if (receiving === undefined || sending === undefined) throw new Error("nobody was enrolled");
  const text = (name: string): Uint8Array => privateMessage(`${name} `.padEnd(16_000, "x"));
  const { BULK, INTERACTIVE } = agp.TrafficClass;
  /** How many messages of a class arrive before an interactive one that was sent when all of them were queued. */
  const ahead = async (trafficClass: agp.TrafficClass): Promise<number> => {
    using slow = await WireLink.attached(url, receiving);
    using from = await WireLink.attached(url, sending);
    // It does not acknowledge bulk, so that nothing but the queue of its gateway keeps bulk back.
    slow.link.pause();
    for (let i = 0; i < count; i++) {
      const frame = from.message(slow.owner.spiffeId, text(`b${i}`), { trafficClass });
      if (!from.link.send(frame)) await new Promise((resolve) => from.link.onWritable(resolve));
    }
    await from.settled();
    from.send(from.message(slow.owner.spiffeId, text("i0"), { trafficClass: INTERACTIVE }));
    await from.settled();
    slow.link.resume();
    const arrived = (): string[] =>
      slow.bodies.flatMap((body) =>
        body.case === "message" ? [/[bi]\d+/.exec(Buffer.from(body.value.payload).toString("latin1"))?.[0] ?? ""] : [],
      );
    await until("everything", () => slow.received.length > count && arrived().length > count);
    const order = arrived();
    expect(order.filter((each) => each !== "i0")).toEqual(Array.from({ length: count }, (_, i) => `b${i}`));
    return order.indexOf("i0");
  };
  // What is on its way cannot be overtaken: windows and buffers, which hold less than half of it.
  expect(await ahead(BULK)).toBeLessThan(count / 2);
  expect(await ahead(INTERACTIVE)).toBe(count);
});
