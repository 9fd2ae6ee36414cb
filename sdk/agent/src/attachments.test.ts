/** Several gateways for one agent: moving between them without a gap, and being at two of them at once. */
import type { CausewayError } from "@causeway/core-base";
import { type agp, decodeFrame, encodeFrame } from "@causeway/core-wire";
import { MemoryStateStore } from "@causeway/e2ee";
import { expect, test } from "vitest";
import type { AgentEvent } from "./api.ts";
import type { GatewayLink } from "./connector.ts";
import { type TestAgent, type TestAgentOptions, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";
const gatewayUrls = ["https://127.0.0.1:7401", "https://127.0.0.1:7402", "https://127.0.0.1:7403"];
const gw = (n: string): string => `spiffe://green.example/gateway/${n}`;

/** What happens to an agent, in words. */
function noted(agent: TestAgent): string[] {
  const events: string[] = [];
  agent.onEvent((event: AgentEvent) => {
    if (event.type === "attached") events.push(`attached ${event.gateway.split("/").at(-1)}`);
    else if (event.type === "security" || event.type === "warning") events.push(`${event.type} ${event.error.code}`);
    else events.push(event.type);
  });
  return events;
}

const places = (agent: TestAgent): readonly string[] =>
  agent
    .status()
    .attachments.map(
      ({ gateway = "nowhere", state, preferred }) =>
        `${gateway.split("/").at(-1)} ${state}${preferred ? " preferred" : ""}`,
    );

test("a gateway that drains is left when the next one knows the agent: nothing is lost, late or there twice [AAP-14]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls });
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  const topic = await network.clock.until(alice.createTopic("news"));
  const news: unknown[] = [];
  await network.clock.until(bob.subscribe(topic, ({ data }) => void news.push(data)));
  await network.clock.until(
    bob.register({ name: "Bob", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  await network.clock.until(alice.send(bobName, "first"));
  const events = noted(bob);
  const states = new Set<string>();
  network.hub.drain(gw("gw"), "a test");
  const sent: Promise<unknown>[] = [];
  for (let n = 0; n < 200; n++) {
    sent.push(alice.send(bobName, n), alice.publish(topic, n));
    // Somebody holds the agent at every moment, and delivers to it.
    expect(network.hub.gatewaysOf(bob.id)).not.toEqual([]);
    states.add(bob.status().state);
    await network.clock.advance(5);
  }
  await network.clock.until(Promise.all(sent));
  await network.clock.advance(1_000);
  expect(events).toEqual(["draining", "attached gw2"]);
  expect([...states]).toEqual(["attached"]);
  expect(places(bob)).toEqual(["gw2 ready preferred"]);
  expect(network.hub.gatewaysOf(bob.id)).toEqual([gw("gw2")]);
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  expect(heard).toEqual(["first", ...numbers]);
  expect(news).toEqual(numbers);
  expect(bob.status().counters).toMatchObject({ refused: 0 });
});

test("a drained gateway without another one keeps its agent until it ends, and the agent comes back", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  bob.onMessage(() => undefined);
  const events = noted(bob);
  network.hub.drain(gw("gw"), "a test");
  await network.clock.advance(20_000);
  expect(events).toEqual(["draining"]);
  await network.clock.until(alice.send(bobName, "still there"));
  await network.clock.advance(20_000);
  expect(events.slice(0, 2)).toEqual(["draining", "detached"]);
  expect(bob.status().state).toBe("reconnecting");
});

test("a renewed certificate is used for a new attachment before the old one ends [AAP-14]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  await network.clock.until(alice.send(bobName, "before"));
  const before = network.hub.serialOf(bob.id);
  const events = noted(bob);
  bob.renew();
  const sent: Promise<unknown>[] = [];
  for (let n = 0; n < 20; n++) {
    sent.push(alice.send(bobName, n));
    expect(network.hub.isAttached(bob.id)).toBe(true);
    await network.clock.advance(1);
  }
  await network.clock.until(Promise.all(sent));
  await network.clock.advance(1_000);
  expect(network.hub.serialOf(bob.id)).not.toBe(before);
  expect(events).toEqual(["renewed", "attached gw"]);
  expect(heard).toEqual(["before", ...Array.from({ length: 20 }, (_, n) => n)]);
  expect(places(bob)).toEqual(["gw ready preferred"]);
});

test("what is published while an attachment takes over at the same gateway is heard, each once, when its owner retains it [AAP-14]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  const topic = await network.clock.until(alice.createTopic("news", { retained: 100 }));
  const news: unknown[] = [];
  await network.clock.until(bob.subscribe(topic, ({ data }) => void news.push(data)));
  const events = noted(bob);
  bob.renew();
  const published: Promise<unknown>[] = [];
  for (let n = 0; n < 60; n++) {
    published.push(alice.publish(topic, n));
    await network.clock.advance(1);
  }
  await network.clock.until(Promise.all(published));
  await network.clock.advance(1_000);
  expect(events).toContain("attached gw");
  const numbers = Array.from({ length: 60 }, (_, n) => n);
  expect([...news].sort((a, b) => Number(a) - Number(b))).toEqual(numbers);
});

/** Bob, who takes nothing more from his gateways while a first reliable message is under way, until `release`. */
async function busyBob(options: Pick<TestAgentOptions, "gateways" | "attachments">, furtherDials = Promise.resolve()) {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const store = new MemoryStateStore();
  const released = Promise.withResolvers<void>();
  const { get } = store;
  // What came from a new sender is processed when this is known.
  store.get = async (key) => {
    if (key.startsWith("sdk/inbox/")) await released.promise;
    return get.call(store, key);
  };
  const links: { isPaused: boolean; isClosed: boolean }[] = [];
  const dial = async (open: () => GatewayLink): Promise<GatewayLink> => {
    if (links.length > 0) await furtherDials;
    const link = open();
    const onClose = link.onClose.bind(link);
    const seen = { isPaused: false, isClosed: false };
    links.push(seen);
    const note =
      <A extends unknown[]>(change: Partial<typeof seen>, run: (...args: A) => void) =>
      (...args: A) => {
        Object.assign(seen, change);
        run(...args);
      };
    return Object.assign(link, {
      pause: note({ isPaused: true }, link.pause),
      resume: note({ isPaused: false }, link.resume),
      close: note({ isClosed: true }, link.close),
      onClose: (run: (error?: CausewayError) => void) => onClose(note({ isClosed: true }, run)),
    });
  };
  const home = { identity: network.issue(bobName), store, stateKey: network.random.bytes(32) };
  const bob = await network.connect(bobName, { ...options, home, dial, limits: { receivingMax: 1 } });
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  await network.clock.until(alice.send(bobName, "a group", { mode: "best-effort" }));
  await network.clock.advance(100);
  return { network, alice, bob, heard, links, release: () => released.resolve() };
}

/** Bob, who moves from one gateway to another meanwhile. */
async function busyMover() {
  const { network, alice, bob, links, release } = await busyBob({ gateways: gatewayUrls });
  network.hub.drain(gw("gw"), "a test");
  const sent = alice.send(bobName, "the first that is remembered");
  await network.clock.advance(100);
  expect(places(bob)).toEqual(["gw2 ready preferred"]);
  const [older, newer] = [links.at(0), links.at(-1)];
  expect([older, newer]).toEqual([
    { isPaused: true, isClosed: false },
    { isPaused: true, isClosed: false },
  ]);
  return { network, bob, older, newer, sent, release };
}

test("an attachment that ends is read to its end, also when it was held back", async () => {
  const { network, older, newer, sent, release } = await busyMover();
  release();
  // Its gateway has answered, so that it does not have to be given up.
  await network.clock.advance(100);
  expect([older, newer]).toEqual([
    { isPaused: false, isClosed: true },
    { isPaused: false, isClosed: false },
  ]);
  await network.clock.until(sent);
});

test("close ends an attachment that is ending already", async () => {
  const { network, bob, older, newer, release } = await busyMover();
  const closing = bob.close();
  // What leaves has a while for it.
  await network.clock.advance(600);
  expect([older?.isClosed, newer?.isClosed]).toEqual([true, true]);
  release();
  await network.clock.until(closing);
});

test("what another gateway than the preferred one refuses is set up there again [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  const topic = await network.clock.until(alice.createTopic("news"));
  let refusals = 1;
  network.hub.refuses = (agent, gateway, kind) =>
    agent === bob.id && gateway === gw("gw2") && kind === "subscribe" && refusals-- > 0;
  const news: unknown[] = [];
  await network.clock.until(bob.subscribe(topic, ({ data }) => void news.push(data)));
  expect(network.hub.subscribersOf(topic, gw("gw2"))).toEqual([]);
  await network.clock.advance(10_000);
  expect(network.hub.subscribersOf(topic, gw("gw2"))).toEqual([bob.id]);
  // The one that was right is lost: nothing is missed.
  network.hub.kill(gw("gw"));
  await network.clock.until(alice.publish(topic, "news"));
  await network.clock.advance(100);
  expect(news).toEqual(["news"]);
});

test("a gateway that does not answer is set up again when it was not the preferred one [AAP-15]", async () => {
  const network = new TestNetwork();
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  let drops = 1;
  network.hub.loses = (agent, gateway, kind) =>
    agent === bob.id && gateway === gw("gw2") && kind === "advertise" && drops-- > 0;
  await network.clock.until(
    bob.register({ name: "Bob", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  expect(network.hub.advertisedBy(bob.id, gw("gw2"))).toHaveLength(0);
  await network.clock.advance(60_000);
  expect(network.hub.advertisedBy(bob.id, gw("gw2"))).toHaveLength(1);
  expect(network.hub.advertisedBy(bob.id, gw("gw"))).toHaveLength(1);
});

test("a gateway that refuses for ever is not asked for ever [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  let refusals = 0;
  network.hub.refuses = (agent, gateway, kind) => {
    const isMeant = agent === bob.id && gateway === gw("gw2") && kind === "subscribe";
    if (isMeant) refusals++;
    return isMeant;
  };
  const topics = await network.clock.until(Promise.all([1, 2, 3].map((n) => alice.createTopic(`news${n}`))));
  for (const topic of topics) await network.clock.until(bob.subscribe(topic, () => undefined));
  await network.clock.advance(10_000);
  const asked = refusals;
  expect(asked).toBeGreaterThan(topics.length);
  await network.clock.advance(600_000);
  expect(refusals).toBe(asked);
});

test.each([0, 50])(
  "a publication that one gateway has altered is heard as the other one brings it, %i ms later [AAP-15] [AAP-96]",
  async (laterMs) => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
    await network.clock.advance(1_000);
    const topic = await network.clock.until(alice.createTopic("news"));
    const news: unknown[] = [];
    await network.clock.until(bob.subscribe(topic, ({ data }) => void news.push(data)));
    const events = noted(bob);
    if (laterMs > 0) network.hub.slow.set(gw("gw"), laterMs);
    network.hub.alter = (gateway, frame) => {
      const body = decodeFrame(frame);
      if (gateway !== gw("gw2") || body.case !== "message") return frame;
      const payload = body.value.payload.slice();
      payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
      return encodeFrame({ case: "message", value: { ...body.value, payload } });
    };
    for (const n of [1, 2, 3]) {
      await network.clock.until(alice.publish(topic, n));
      await network.clock.advance(200);
    }
    expect(news).toEqual([1, 2, 3]);
    // What was altered is said, and nothing else.
    expect(events).toEqual(Array.from({ length: 3 }, () => "security CAUSEWAY_E2EE_DECRYPT_FAILED"));
  },
);

test("bulk that waited here while its link was lost is no replay when the gateway hands it over again [AAP-70]", async () => {
  const { network, alice, bob, heard, release } = await busyBob({ gateways: gatewayUrls.slice(0, 1) });
  const events = noted(bob);
  const stored: Uint8Array[] = [];
  let isSending = true;
  network.hub.intercept = (frame) => {
    const { header } = decodeFrame(frame).value as agp.Envelope;
    if (header?.source !== alice.id) return frame;
    if (isSending) stored.push(frame.slice());
    // Alice does not repeat what her gateway has stored.
    return isSending ? frame : undefined;
  };
  // The first two are begun, and wait; the third one waits for them.
  const sent = Promise.all(["1", "2", "3"].map((n) => alice.send(bobName, n.repeat(70_000), { priority: "bulk" })));
  await network.clock.advance(20);
  expect(stored.length).toBeGreaterThan(2);
  isSending = false;
  network.hub.cut(bob.id);
  await network.clock.advance(2_000);
  expect(places(bob)).toEqual(["gw ready preferred"]);
  release();
  await network.clock.until(sent);
  for (const frame of stored) network.hub.inject(bob.id, frame);
  await network.clock.advance(1_000);
  expect(heard.map((data) => String(data).at(0))).toEqual(["a", "1", "2", "3"]);
  expect(events.filter((each) => each.startsWith("security"))).toEqual([]);
});

test("a record that was withdrawn is so at a gateway that comes back, too [AAP-15]", async () => {
  const network = new TestNetwork();
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  await network.clock.until(
    bob.register({ name: "Bob", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  await network.clock.advance(100);
  expect(network.hub.recordsOf(bob.id)).toEqual([gw("gw"), gw("gw2")]);
  network.hub.kill(gw("gw2"));
  await network.clock.until(bob.deregister());
  expect(network.hub.recordsOf(bob.id)).toEqual([gw("gw2")]);
  network.hub.down.delete(gw("gw2"));
  await network.clock.advance(60_000);
  expect(places(bob)).toEqual(["gw ready preferred", "gw2 ready"]);
  expect(network.hub.recordsOf(bob.id)).toEqual([]);
});

test("questions under way over the preferred link stay so when another one is lost [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const topic = await network.clock.until(alice.createTopic("news"));
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  const held: (() => void)[] = [];
  network.hub.holdAnswer = (agent, answer) => agent === bob.id && held.push(answer) > 0;
  const asked = bob.describeTopic(topic).then(
    (found) => found.topic,
    (thrown: CausewayError) => thrown.code,
  );
  await network.clock.advance(100);
  expect(held).toHaveLength(1);
  network.hub.kill(gw("gw2"));
  await network.clock.advance(1_000);
  for (const answer of held) answer();
  expect(await network.clock.until(asked, 1_000)).toBe(topic);
});

test("an agent that is closed while its certificate is renewed stays away", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  bob.onMessage(() => undefined);
  await network.clock.until(alice.send(bobName, "a group, whose keys are renewed"));
  let hellos = 0;
  network.hub.onFrame = (kind) => {
    if (kind === "attachHello") hellos++;
  };
  const events = noted(bob);
  bob.renew();
  await network.clock.until(bob.close());
  await network.clock.advance(60_000);
  expect(hellos).toBe(0);
  expect(network.hub.gatewaysOf(bob.id)).toEqual([]);
  expect(events.at(-1)).toBe("closed");
});

test("at two gateways at once: both are shown, either may go, and everything is heard once [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  expect(places(bob)).toEqual(["gw ready preferred", "gw2 ready"]);
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  const topic = await network.clock.until(alice.createTopic("news"));
  const news: unknown[] = [];
  await network.clock.until(bob.subscribe(topic, ({ data }) => void news.push(data)));
  const events = noted(bob);
  const sent: Promise<unknown>[] = [];
  for (let n = 0; n < 300; n++) {
    if (n === 100) network.hub.kill(gw("gw2"));
    if (n === 200) {
      network.hub.down.delete(gw("gw2"));
      await network.clock.advance(60_000);
      expect(places(bob)).toEqual(["gw ready preferred", "gw2 ready"]);
      network.hub.kill(gw("gw"));
    }
    sent.push(alice.send(bobName, n), alice.publish(topic, n));
    await network.clock.advance(5);
    expect(bob.status().state).toBe("attached");
  }
  await network.clock.until(Promise.all(sent));
  await network.clock.advance(1_000);
  const numbers = Array.from({ length: 300 }, (_, n) => n);
  expect(heard).toEqual(numbers);
  expect(news).toEqual(numbers);
  expect(events.filter((each) => !each.startsWith("attached"))).toEqual([]);
});

test("with one gateway and two wished for, the agent is attached to the one, and finds the other when it comes [AAP-15]", async () => {
  const network = new TestNetwork();
  network.hub.down.add(gw("gw2"));
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  const events = noted(bob);
  await network.clock.advance(120_000);
  expect(places(bob)).toEqual(["gw ready preferred", "nowhere attaching"]);
  network.hub.down.delete(gw("gw2"));
  await network.clock.advance(60_000);
  expect(places(bob)).toEqual(["gw ready preferred", "gw2 ready"]);
  expect(events).toEqual(["attached gw2"]);
});

test("an agent that has every gateway leaves them alone, and reads no more than it can while it looks for another one [AAP-15]", async () => {
  const looking = Promise.withResolvers<void>();
  const gateways = gatewayUrls.slice(0, 1);
  const { network, alice, bob, links, release } = await busyBob({ gateways, attachments: 2 }, looking.promise);
  const sent = alice.send(bobName, "the first that is remembered");
  await network.clock.advance(100);
  expect(links).toEqual([{ isPaused: true, isClosed: false }]);
  looking.resolve();
  await network.clock.advance(100);
  // It dialled a gateway that it has.
  expect(links).toEqual([
    { isPaused: true, isClosed: false },
    { isPaused: false, isClosed: true },
  ]);
  release();
  await network.clock.until(sent);
  await network.clock.advance(500_000);
  expect(places(bob)).toEqual(["gw ready preferred", "nowhere attaching"]);
  expect(links).toHaveLength(2);
});

test("messages stored for an agent are acknowledged to the gateway that they came from [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  bob.onMessage(() => undefined);
  await network.clock.until(alice.send(bobName, "one"));
  await network.clock.advance(1_000);
  expect(network.hub.mailboxAcksAt(gw("gw2"))).toBeGreaterThan(0);
  expect(network.hub.mailboxAcksAt(gw("gw"))).toBe(0);
  network.hub.deliverBy(bob.id, gw("gw"));
  await network.clock.until(alice.send(bobName, "two"));
  await network.clock.advance(1_000);
  expect(network.hub.mailboxAcksAt(gw("gw"))).toBeGreaterThan(0);
});

test("a message that two gateways have stored is acknowledged to both, also when the second copy comes while the first is handled [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  const handled = Promise.withResolvers<void>();
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => {
    heard.push(data);
    return data === "one" ? undefined : handled.promise;
  });
  await network.clock.until(alice.send(bobName, "one"));
  await network.clock.advance(1_000);
  const events = noted(bob);
  const before = [gw("gw"), gw("gw2")].map((each) => network.hub.mailboxAcksAt(each));
  network.hub.intercept = (frame) => {
    const body = decodeFrame(frame);
    if (body.case === "message" && body.value.header?.source === alice.id) {
      for (const each of [gw("gw"), gw("gw2")]) {
        network.hub.deliverBy(bob.id, each);
        network.hub.inject(bob.id, frame.slice());
      }
      return undefined;
    }
    return frame;
  };
  const sent = alice.send(bobName, "two");
  await network.clock.advance(1_000);
  expect(heard).toEqual(["one", "two"]);
  const acknowledged = (): number[] =>
    [gw("gw"), gw("gw2")].map((each, i) => network.hub.mailboxAcksAt(each) - (before[i] ?? 0));
  expect(acknowledged()).toEqual([0, 0]);
  handled.resolve();
  await network.clock.until(sent);
  await network.clock.advance(1_000);
  const [atFirst = 0, atSecond = 0] = acknowledged();
  expect(atFirst).toBeGreaterThan(0);
  expect(atSecond).toBe(atFirst);
  expect(events).toEqual([]);
});

test("a message that one gateway has altered is heard as the other one brings it, when it is here already [AAP-15] [AAP-96]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  await network.clock.until(alice.send(bobName, "one"));
  const events = noted(bob);
  let copies = 0;
  network.hub.intercept = (frame) => {
    const body = decodeFrame(frame);
    if (body.case !== "message" || body.value.header?.source !== alice.id) return frame;
    if (copies++ > 0) return undefined;
    const payload = body.value.payload.slice();
    payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
    network.hub.deliverBy(bob.id, gw("gw"));
    network.hub.inject(bob.id, encodeFrame({ case: "message", value: { ...body.value, payload } }));
    network.hub.deliverBy(bob.id, gw("gw2"));
    network.hub.inject(bob.id, frame.slice());
    return undefined;
  };
  await network.clock.until(alice.send(bobName, "two"));
  expect(heard).toEqual(["one", "two"]);
  expect(events).toEqual(["security CAUSEWAY_E2EE_DECRYPT_FAILED"]);
});

test("topics, subscriptions, the record and key packages of an agent are at each of its gateways, and at the one that is left [AAP-15]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  const own = await network.clock.until(bob.createTopic("own"));
  const topic = await network.clock.until(alice.createTopic("news"));
  await network.clock.until(bob.subscribe(topic, () => undefined));
  await network.clock.until(
    bob.register({ name: "Bob", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  const keptAt = (gateway: string): unknown => ({
    topics: network.hub.topicsAt(bob.id, gateway),
    subscribed: network.hub.subscribersOf(topic, gateway),
    records: network.hub.advertisedBy(bob.id, gateway).length,
    isStocked: network.hub.packagesOf(bob.id, gateway) >= 20,
  });
  const all = { topics: [own], subscribed: [bob.id], records: 1, isStocked: true };
  expect([keptAt(gw("gw")), keptAt(gw("gw2"))]).toEqual([all, all]);
  network.hub.kill(gw("gw"));
  await network.clock.advance(1_000);
  expect(places(bob)).toEqual(["nowhere attaching", "gw2 ready preferred"]);
  expect(keptAt(gw("gw2"))).toEqual(all);
  // Whoever did not know the agent before reaches it, and its topic.
  const carol = await network.connect("blue.example/travel/carol");
  const heard: unknown[] = [];
  bob.onMessage(({ data }) => void heard.push(data));
  await network.clock.until(carol.send(bobName, "hello"));
  await network.clock.until(carol.subscribe(own, ({ data }) => void heard.push(data)));
  await network.clock.until(bob.publish(own, "news"));
  await network.clock.advance(100);
  expect(heard).toEqual(["hello", "news"]);
});

test("an upload of key packages that the newer attachment cuts off is made by that one, before it counts as ready", async () => {
  const network = new TestNetwork();
  const bob = await network.connect(bobName);
  network.hub.drainPackages(bob.id);
  let lost = 0;
  // Bob finds that he has none left; what he uploads then finds no answer over the older link.
  network.hub.loses = (agent, _, kind) => agent === bob.id && kind === "keyPackageUpload" && ++lost === 2;
  await network.clock.advance(600_000);
  while (lost < 2) await network.clock.advance(1);
  expect(network.hub.packagesOf(bob.id)).toBe(0);
  const events = noted(bob);
  bob.renew();
  await network.clock.advance(1_000);
  expect(events).toContain("attached gw");
  expect(places(bob)).toEqual(["gw ready preferred"]);
  expect(network.hub.packagesOf(bob.id)).toBeGreaterThanOrEqual(20);
});

test("another process of the same instance ends every attachment", async () => {
  const network = new TestNetwork();
  const bob = await network.connect(bobName, { gateways: gatewayUrls.slice(0, 2), attachments: 2 });
  await network.clock.advance(1_000);
  const events = noted(bob);
  await network.connect(bobName, { home: bob.home });
  await network.clock.advance(1_000);
  expect(bob.status()).toMatchObject({
    state: "detached",
    attachments: [],
    lastError: { code: "CAUSEWAY_ATTACHMENT_REPLACED" },
  });
  expect(events).toEqual(["detached"]);
  expect(network.hub.gatewaysOf(bob.id)).toEqual([gw("gw")]);
});
