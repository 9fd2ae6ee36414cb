/** What lying gateways and hostile agents cannot do to an agent. */

import { refuse } from "@causeway/core-base";
import { decodeFrame, encodeFrame, toErrorDetail } from "@causeway/core-wire";
import { MemoryStateStore } from "@causeway/e2ee";
import { describe, expect, test } from "vitest";
import { codeOf, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";
const malloryName = "green.example/hotels/mallory";

/** A delivery report to `target` about a message, as somebody else may make it up. */
function forgedReport(target: string, source: string, messageId: Uint8Array): Uint8Array {
  const error = toErrorDetail(refuse("CAUSEWAY_E2EE_CONTEXT_UNKNOWN", "forged"));
  return encodeFrame({
    case: "control",
    value: {
      header: { version: 1, hopTtl: 16, targetKind: 1, target, source, messageId: new Uint8Array(16).fill(9) },
      requestId: messageId,
      body: { case: "deliveryReport", value: { messageId, target, reporter: source, error } },
    },
  });
}

/** Calls `seen` with the header of each message frame of `source`. */
function watch(network: TestNetwork, source: string, seen: (messageId: Uint8Array, target: string) => void): void {
  network.hub.intercept = (frame) => {
    const body = decodeFrame(frame);
    const header = body.case === "message" ? body.value.header : undefined;
    if (header?.source === source) seen(header.messageId, header.target);
    return frame;
  };
}

describe("a report that a security context is unknown", () => {
  test("about a publication does not make the owner give up its topic", async () => {
    const network = new TestNetwork();
    const owner = await network.connect("blue.example/travel/owner");
    const member = await network.connect(bobName);
    const heard: unknown[] = [];
    const topic = await network.clock.until(owner.createTopic("deals"));
    await network.clock.until(member.subscribe(topic, ({ data }) => void heard.push(data)));
    watch(network, owner.id, (messageId, target) => {
      if (target === topic) network.hub.inject(owner.id, forgedReport(owner.id, member.id, messageId));
    });
    await network.clock.until(owner.publish(topic, "one"));
    await network.clock.advance(100);
    expect(await codeOf(network.clock.until(owner.publish(topic, "two")))).toBe("none");
    await network.clock.advance(100);
    expect(heard).toEqual(["one", "two"]);
  });

  test("of a peer that has lost its state is answered with one new group for everything that was under way", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, "first"));
    await network.clock.until(bob.close());
    const packages = network.hub.packagesOf(bob.id);
    const all = Array.from({ length: 30 }, (_, i) => alice.send(bobName, i, { timeoutMs: 120_000 }));
    await network.clock.advance(100);
    const again = await network.connect(bobName, { home: { ...bob.home, store: new MemoryStateStore() } });
    const uploaded = network.hub.packagesOf(bob.id);
    const taken: unknown[] = [];
    again.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(Promise.all(all));
    expect(taken).toEqual(Array.from({ length: 30 }, (_, i) => i));
    expect(packages).toBeGreaterThan(0);
    expect(uploaded - network.hub.packagesOf(bob.id)).toBeLessThanOrEqual(1);
  });

  test("of anyone but the agent that the message is for changes nothing", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, "first"));
    const packages = network.hub.packagesOf(bob.id);
    watch(network, alice.id, (messageId) =>
      network.hub.inject(alice.id, forgedReport(alice.id, "spiffe://green.example/hotels/mallory", messageId)),
    );
    for (let i = 0; i < 5; i++) await network.clock.until(alice.send(bobName, i));
    expect(network.hub.packagesOf(bob.id)).toBe(packages);
  });

  test("in the name of that agent, again and again, costs it a few key packages and no more", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, "first"));
    const packages = network.hub.packagesOf(bob.id);
    watch(network, alice.id, (messageId) => network.hub.inject(alice.id, forgedReport(alice.id, bob.id, messageId)));
    for (let i = 0; i < 20; i++) await codeOf(network.clock.until(alice.send(bobName, i, { timeoutMs: 10_000 })));
    expect(packages - network.hub.packagesOf(bob.id)).toBeLessThanOrEqual(8);
    network.hub.intercept = (frame) => frame;
    expect(await codeOf(network.clock.until(alice.send(bobName, "after")))).toBe("none");
  });
});

describe("content", () => {
  test("of the largest size arrives, and larger content is refused before it is sent", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    let bytes = 0;
    bob.onMessage(({ content }) => {
      bytes = content.bytes.length;
    });
    const largest = 3_866_624;
    expect(await codeOf(network.clock.until(alice.send(bobName, new Uint8Array(largest))))).toBe("none");
    expect(bytes).toBe(largest);
    expect(await codeOf(alice.send(bobName, new Uint8Array(largest + 1)))).toBe("CAUSEWAY_FORWARDING_TOO_LARGE");
  });

  test("counts with what is beside it: metadata and method have no size of their own", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    await network.connect(bobName);
    const huge = "x".repeat(4_000_000);
    expect(await codeOf(alice.request(bobName, { metadata: { huge } }))).toBe("CAUSEWAY_FORWARDING_TOO_LARGE");
    expect(await codeOf(alice.request(bobName, { method: huge }))).toBe("CAUSEWAY_FORWARDING_TOO_LARGE");
  });

  test("of a wrong type is the caller's misuse and no rejection that nobody handles", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    await network.connect(bobName);
    const wrong = { method: 5, metadata: {} } as unknown as { method: string };
    expect(await codeOf(network.clock.until(alice.request(bobName, wrong)))).toBe("CAUSEWAY_MISUSE");
    const facts = { metadata: { a: 1 } } as unknown as { metadata: Record<string, string> };
    expect(await codeOf(network.clock.until(alice.request(bobName, facts)))).toBe("CAUSEWAY_MISUSE");
  });

  test("leaves room for acknowledgements that travel along, however many there are", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    alice.onMessage(() => undefined);
    bob.onMessage(() => {
      throw new Error("x".repeat(1_000));
    });
    const refused = Array.from({ length: 60 }, (_, i) => codeOf(alice.send(bobName, i)));
    const large = Array.from({ length: 5 }, () => codeOf(bob.send(aliceName, new Uint8Array(3_866_624))));
    const codes = await network.clock.until(Promise.all(large));
    expect(codes).toEqual(codes.map(() => "none"));
    expect(new Set(await network.clock.until(Promise.all(refused)))).toEqual(
      new Set(["CAUSEWAY_AGENT_HANDLER_FAILED"]),
    );
  });
});

describe("an agent that asks too much", () => {
  test("is refused beyond its share of the handlers, and others are served", async () => {
    const network = new TestNetwork();
    const bob = await network.connect(bobName);
    const mallory = await network.connect(malloryName);
    const alice = await network.connect(aliceName);
    bob.onRequest(
      "hang",
      (request) => new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve())),
    );
    bob.onRequest("answer", () => "here");
    const flood = Array.from({ length: 300 }, () =>
      codeOf(mallory.request(bobName, { method: "hang" }, { timeoutMs: 600_000 })),
    );
    await network.clock.advance(5_000);
    expect((await network.clock.until(alice.request(bobName, { method: "answer" }))).data).toBe("here");
    await network.clock.until(mallory.close());
    const codes = await network.clock.until(Promise.all(flood));
    expect(codes.filter((code) => code === "CAUSEWAY_FORWARDING_OVERLOADED")).toHaveLength(300 - 256);
  });

  test("with names of an object's own properties gets an ordinary refusal", async () => {
    const network = new TestNetwork();
    const bob = await network.connect(bobName);
    const alice = await network.connect(aliceName);
    const seen: unknown[] = [];
    bob.onRequest("known", ({ metadata }) => void seen.push({ ...metadata }));
    for (const method of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(await codeOf(network.clock.until(alice.request(bobName, { method })))).toBe("CAUSEWAY_AGENT_NO_HANDLER");
    }
    const metadata = JSON.parse('{"__proto__": "x", "constructor": "y"}') as Record<string, string>;
    await network.clock.until(alice.request(bobName, { method: "known", metadata }));
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
    expect(seen).toHaveLength(1);
  });
});
