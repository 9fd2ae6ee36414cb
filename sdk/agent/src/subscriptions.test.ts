/** Subscriptions of one agent: several handlers, failures, ends and new beginnings. */
import { MemoryStateStore } from "@causeway/e2ee";
import { beforeEach, describe, expect, test } from "vitest";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

let network: TestNetwork;
let owner: TestAgent;
let reader: TestAgent;
let topic: string;

beforeEach(async () => {
  network = new TestNetwork();
  owner = await network.connect("blue.example/travel/owner");
  reader = await network.connect("green.example/hotels/reader");
  topic = await network.clock.until(owner.createTopic("deals"));
});

async function publish(data: string): Promise<void> {
  await network.clock.until(owner.publish(topic, data));
  await network.clock.advance(500);
}

describe("a subscription", () => {
  test("goes on when another one to the same topic fails", async () => {
    const heard: unknown[] = [];
    await network.clock.until(reader.subscribe(topic, ({ data }) => void heard.push(data)));
    network.hub.isUp = false;
    network.hub.cutAll();
    await network.clock.advance(10);
    expect(await codeOf(network.clock.until(reader.subscribe(topic, () => undefined)))).not.toBe("none");
    network.hub.isUp = true;
    await network.clock.advance(60_000);
    await publish("one");
    expect(heard).toEqual(["one"]);
  });

  test("is not held up by another handler of the same topic", async () => {
    const heard: unknown[] = [];
    await network.clock.until(reader.subscribe(topic, () => new Promise(() => undefined)));
    await network.clock.until(reader.subscribe(topic, ({ data }) => void heard.push(data)));
    for (const text of ["one", "two"]) await publish(text);
    expect(heard).toEqual(["one", "two"]);
  });

  test("that is closed without a link is gone when there is one again", async () => {
    const heard: unknown[] = [];
    const running = await network.clock.until(reader.subscribe(topic, ({ data }) => void heard.push(data)));
    network.hub.isUp = false;
    network.hub.cutAll();
    await network.clock.advance(10);
    const closing = running.close();
    await network.clock.advance(1_000);
    network.hub.isUp = true;
    await network.clock.until(closing);
    await network.clock.advance(60_000);
    await publish("one");
    expect(heard).toEqual([]);
    expect(network.hub.subscribersOf(topic)).not.toContain(reader.id);
    expect(owner.status().topics[0]?.members).toBe(1);
  });

  test("begun while the last one ends hears everything from then on", async () => {
    const heard: unknown[] = [];
    const first = await network.clock.until(reader.subscribe(topic, () => undefined));
    const closing = first.close();
    const second = reader.subscribe(topic, ({ data }) => void heard.push(data));
    await network.clock.until(Promise.all([closing, second]));
    await network.clock.advance(1_000);
    for (const text of ["one", "two"]) await publish(text);
    expect(heard).toEqual(["one", "two"]);
  });

  test("that the owner refuses leaves nothing at the gateway", async () => {
    const closed = await network.clock.until(owner.createTopic("closed", { subscribers: ["blue.example/"] }));
    expect(await codeOf(network.clock.until(reader.subscribe(closed, () => undefined)))).toBe(
      "CAUSEWAY_TOPIC_NOT_ALLOWED",
    );
    await network.clock.advance(100);
    expect(network.hub.subscribersOf(closed)).not.toContain(reader.id);
  });

  test("that is asked for again and again does not keep the owner changing its group", async () => {
    const before = Number(owner.status().topics[0]?.epoch);
    const codes = new Set<string>();
    for (let i = 0; i < 22; i++) {
      // A member that has thrown its state away asks anew, which costs everybody a commit.
      const home = { ...reader.home, store: new MemoryStateStore() };
      await network.clock.until(reader.close());
      reader = await network.connect("green.example/hotels/reader", { home });
      codes.add(await codeOf(network.clock.until(reader.subscribe(topic, () => undefined))));
    }
    expect([...codes].sort()).toEqual(["CAUSEWAY_LIMIT_RATE", "none"]);
    expect(Number(owner.status().topics[0]?.epoch) - before).toBeLessThanOrEqual(20);
  });

  test("whose grant was lost is granted again", async () => {
    const heard: unknown[] = [];
    network.hub.faults = { loss: 1 };
    expect(await codeOf(network.clock.until(reader.subscribe(topic, () => undefined, { timeoutMs: 3_000 })))).not.toBe(
      "none",
    );
    network.hub.faults = {};
    await network.clock.until(reader.subscribe(topic, ({ data }) => void heard.push(data)));
    await publish("one");
    expect(heard).toEqual(["one"]);
  });
});
