/** The attachment of an agent: heartbeats, loss and return of the gateway, renewal. */
import { aap, encodeFrame } from "@causeway/core-wire";
import { MemoryStateStore } from "@causeway/e2ee";
import { expect, test } from "vitest";
import type { AgentEvent } from "./api.ts";
import { codeOf, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";

test("reconnects with growing waits, resubscribes, advertises again and reports the gap [AGP-6]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  const topic = await network.clock.until(alice.createTopic("news"));
  const heard: unknown[] = [];
  await network.clock.until(bob.subscribe(topic, ({ data }) => void heard.push(data)));
  await network.clock.until(
    bob.register({ name: "Bob", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  expect(network.hub.advertisedBy(bob.id)).toHaveLength(1);
  const events: AgentEvent[] = [];
  bob.onEvent((event) => events.push(event));

  network.hub.isUp = false;
  network.hub.cutAll();
  await network.clock.advance(120_000);
  const waits = events.filter((event) => event.type === "reconnecting").map(({ inMs }) => inMs);
  expect(events[0]?.type).toBe("detached");
  expect(bob.status().state).toBe("reconnecting");
  expect(waits.length).toBeGreaterThan(4);
  for (const wait of waits) expect(wait).toBeLessThanOrEqual(30_000);
  expect(Math.max(...waits)).toBeGreaterThan(Math.min(...waits) * 4);

  network.hub.isUp = true;
  await network.clock.advance(70_000);
  expect(bob.status().state).toBe("attached");
  expect(events.find((event) => event.type === "gap")).toMatchObject({
    scope: "link",
    downMs: expect.any(Number) as number,
  });
  expect(network.hub.subscribersOf(topic)).toContain(bob.id);
  expect(network.hub.advertisedBy(bob.id)).toHaveLength(2);
  await network.clock.until(alice.publish(topic, "back"));
  await network.clock.advance(100);
  expect(heard).toEqual(["back"]);
});

test("keeps what is under way over a lost link", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  const taken: unknown[] = [];
  bob.onMessage(({ data }) => void taken.push(data));
  await network.clock.until(alice.send(bobName, 0));
  const sent = [1, 2, 3].map((n) => alice.send(bobName, n, { timeoutMs: 600_000 }));
  network.hub.cut(bob.id);
  network.hub.cut(alice.id);
  await network.clock.until(Promise.all(sent));
  expect(taken).toEqual([0, 1, 2, 3]);
});

test("sends a heartbeat every 30 s and stays attached through ten idle minutes [AAP-84]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const beats: number[] = [];
  const conditions = new Set<number>();
  network.hub.onHeartbeat = (_agent, { condition }) => {
    beats.push(network.clock.now().instant);
    conditions.add(condition);
  };
  const events: AgentEvent[] = [];
  alice.onEvent((event) => events.push(event));
  await network.clock.advance(600_000);
  const gaps = beats.slice(1).map((at, i) => at - (beats[i] ?? 0));
  expect(beats.length).toBeGreaterThanOrEqual(18);
  for (const gap of gaps) {
    expect(gap).toBeGreaterThanOrEqual(27_000);
    expect(gap).toBeLessThanOrEqual(33_000);
  }
  expect(events).toEqual([]);
  expect([...conditions]).toEqual([aap.AgentCondition.RUNNING]);
  alice.setCondition("degraded");
  await network.clock.advance(31_000);
  expect([...conditions]).toEqual([aap.AgentCondition.RUNNING, aap.AgentCondition.DEGRADED]);
});

test("uses renewed certificates at once, without losing sessions [ANA-73]", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  bob.onMessage(() => undefined);
  await network.clock.until(alice.send(bobName, "before"));
  const before = network.hub.serialOf(alice.id);
  alice.renew();
  await network.clock.advance(5_000);
  expect(network.hub.serialOf(alice.id)).not.toBe(before);
  expect(alice.status().sessions).toHaveLength(1);
  expect(await codeOf(network.clock.until(alice.send(bobName, "after")))).toBe("none");
});

test("closes in order: what is under way fails, the gateway is told, and calls afterwards are misuse", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  bob.onRequest(() => new Promise(() => undefined));
  const pending = codeOf(alice.request(bobName, {}));
  await network.clock.advance(100);
  await network.clock.until(alice.close());
  expect(await pending).toBe("CAUSEWAY_CANCELLED");
  await network.clock.advance(10);
  expect(network.hub.isAttached(alice.id)).toBe(false);
  expect(await codeOf(alice.request(bobName, {}))).toBe("CAUSEWAY_MISUSE");
  expect(alice.status().state).toBe("closed");
});

test("keeps its gateway stocked with key packages as others use them", async () => {
  const network = new TestNetwork();
  const bob = await network.connect(bobName);
  bob.onMessage(() => undefined);
  const full = network.hub.packagesOf(bob.id);
  expect(full).toBeGreaterThanOrEqual(20);
  for (let i = 0; i < full + 5; i++) {
    const peer = await network.connect(`blue.example/travel/peer${i}`);
    await network.clock.until(peer.send(bobName, "hello"));
    await network.clock.until(peer.close());
  }
  await network.clock.advance(1_000);
  expect(network.hub.packagesOf(bob.id)).toBeGreaterThanOrEqual(19);
});

test("goes on reading while processing waits for an answer of the gateway, however full it is", async () => {
  const network = new TestNetwork();
  const limits = { receivingMax: 2 };
  const alice = await network.connect(aliceName, { limits });
  const bob = await network.connect(bobName, { limits });
  bob.onMessage(() => undefined);
  alice.onMessage(() => undefined);
  await network.clock.until(alice.send(bobName, 0));
  // Keys are an hour old: both sides commit while their queues are full, and the gateway has to order each commit.
  await network.clock.advance(3_700_000);
  const both = Array.from({ length: 40 }, (_, n) => [alice.send(bobName, n), bob.send(aliceName, n)]).flat();
  await network.clock.until(Promise.all(both));
  expect(alice.status().sessions[0]?.epoch).toBeGreaterThan(1);
});

test("finds a gateway, attaches, proves who it is, agrees on features and gets its session, in this order [AAP-2]", async () => {
  const network = new TestNetwork();
  const steps: string[] = [];
  network.hub.onFrame = (kind) => steps.push(kind);
  const alice = await network.connect(aliceName, { discover: true });
  expect(steps.slice(0, 4)).toEqual(["discover", "attachHello", "attachProof", "keyPackageUpload"]);
  expect(alice.status()).toMatchObject({ state: "attached", gateway: "spiffe://blue.example/gateway/gw" });

  // A session before the identities are validated is no session, and a gateway that offers one is left.
  steps.length = 0;
  network.hub.greeting = encodeFrame({
    case: "attachLease",
    value: { leaseId: new Uint8Array(16), lifetimeMs: 300_000n },
  });
  const early = network.connect(bobName, { timeoutMs: 2_000 });
  expect(await codeOf(early)).toMatch(/^CAUSEWAY_(FRAME_UNEXPECTED|ATTACHMENT_)/);
  expect(steps).not.toContain("keyPackageUpload");
});

test("a first attempt that can never succeed fails at once, with its reason", async () => {
  const network = new TestNetwork();
  const before = network.clock.now().instant;
  const foreign = network.connect(aliceName, { gateway: { role: "gateway", domain: "green.example" } });
  expect(await codeOf(foreign)).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  expect(network.clock.now().instant - before).toBeLessThan(5_000);
});

test("leaves the gateway it is attached to alone when an earlier dial succeeds late", async () => {
  const network = new TestNetwork();
  let late: () => void = () => undefined;
  let dials = 0;
  const alice = await network.connect(aliceName, {
    dial: async (open) => {
      if (dials++ > 0) return open();
      await new Promise<void>((resolve) => {
        late = resolve;
      });
      return open();
    },
  });
  const bob = await network.connect(bobName);
  bob.onMessage(() => undefined);
  const events: AgentEvent[] = [];
  alice.onEvent((event) => events.push(event));
  late();
  await network.clock.advance(1_000);
  expect(await codeOf(network.clock.until(alice.send(bobName, "hello", { timeoutMs: 5_000 })))).toBe("none");
  await network.clock.advance(200_000);
  expect(events).toEqual([]);
  expect(alice.status().state).toBe("attached");
});

test("attaches with a clock that is behind the one of its last run", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const { home } = alice;
  await network.clock.until(alice.close());
  const again = await network.connect(aliceName, { home, clockSkewMs: -50_000 });
  expect(again.status().state).toBe("attached");
});

test("says that it is out for good when the gateway ends it, and fails what is under way with the reason", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  bob.onMessage(() => new Promise(() => undefined));
  const sent = codeOf(alice.send(bobName, "hello", { timeoutMs: 600_000 }));
  const asked = codeOf(alice.request(bobName, {}, { timeoutMs: 600_000 }));
  await network.clock.advance(100);
  // Another process takes the place of this one.
  await network.connect(aliceName, { home: { ...alice.home, store: new MemoryStateStore() } });
  await network.clock.advance(100);
  expect(alice.status()).toMatchObject({ state: "detached", lastError: { code: "CAUSEWAY_ATTACHMENT_REPLACED" } });
  expect(await network.clock.until(sent)).toBe("CAUSEWAY_ATTACHMENT_REPLACED");
  expect(await network.clock.until(asked)).toMatch(/CAUSEWAY_(ATTACHMENT_REPLACED|AGENT_NO_HANDLER)/);
  const before = network.clock.now().instant;
  expect(await codeOf(network.clock.until(alice.send(bobName, "more", { timeoutMs: 600_000 })))).toBe(
    "CAUSEWAY_ATTACHMENT_REPLACED",
  );
  expect(network.clock.now().instant - before).toBeLessThan(1_000);
});

test("keeps to its time-outs while the link takes nothing", async () => {
  const network = new TestNetwork();
  let isStuck = false;
  const alice = await network.connect(aliceName, {
    dial: async (open) => {
      const link = open();
      const { send } = link;
      return Object.assign(link, { send: (frame: Uint8Array) => !isStuck && send(frame) });
    },
  });
  isStuck = true;
  const first = codeOf(alice.createTopic("one", {}, { timeoutMs: 2_000 }));
  const second = codeOf(alice.createTopic("two", {}, { timeoutMs: 2_000 }));
  const abort = new AbortController();
  const third = codeOf(alice.createTopic("three", {}, { signal: abort.signal }));
  abort.abort();
  expect(await network.clock.until(third, 10)).toBe("CAUSEWAY_CANCELLED");
  expect(await network.clock.until(Promise.all([first, second]), 3_000)).toEqual([
    "CAUSEWAY_TIMEOUT",
    "CAUSEWAY_TIMEOUT",
  ]);
});

test("notices that others have used up its key packages, and makes new ones", async () => {
  const network = new TestNetwork();
  const bob = await network.connect(bobName);
  network.hub.drainPackages(bob.id);
  await network.clock.advance(700_000);
  expect(network.hub.packagesOf(bob.id)).toBeGreaterThanOrEqual(20);
});

test("leaves no timer behind", async () => {
  const network = new TestNetwork();
  const idle = network.clock.waiting;
  const alice = await network.connect(aliceName);
  await network.clock.until(
    alice.register({ name: "A", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  network.hub.isUp = false;
  network.hub.cutAll();
  await network.clock.advance(5_000);
  await network.clock.until(alice.close());
  await network.clock.advance(400_000);
  expect(network.clock.waiting).toBe(idle);
});

test("registers its record again when its certificate is renewed, and the gateway gets the new one", async () => {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  await network.clock.until(
    alice.register({ name: "A", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
  );
  const events: AgentEvent[] = [];
  alice.onEvent((event) => events.push(event));
  const before = network.hub.advertisedBy(alice.id).at(-1) ?? 0n;
  await network.clock.advance(1_000);
  alice.renew();
  await network.clock.advance(5_000);
  const revisions = network.hub.advertisedBy(alice.id);
  expect(revisions.at(-1)).toBeGreaterThan(before);
  expect(revisions).toEqual([...revisions].sort((a, b) => Number(a - b)));
  expect(events.filter((event) => event.type === "warning")).toEqual([]);
});
