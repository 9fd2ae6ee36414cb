/** Priorities: the class of what leaves, what waits when the gateway wants no bulk, and what is taken first (BEY-1). */
import { agp, decodeFrame, encodeFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StreamOptions } from "./api.ts";
import { Intake, type IntakePorts } from "./intake.ts";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";
const { BULK, INTERACTIVE } = agp.TrafficClass;

async function pair(): Promise<{ network: TestNetwork; alice: TestAgent; bob: TestAgent }> {
  const network = new TestNetwork();
  return { network, alice: await network.connect(aliceName), bob: await network.connect(bobName) };
}

/** Classes of the messages that the gateways have seen since `from`, by sender and group. */
function seen(network: TestNetwork, from = 0) {
  return network.hub.seen.slice(from).flatMap((frame) => {
    const body = decodeFrame(frame);
    const header = body.case === "message" ? body.value.header : undefined;
    return header ? [{ ...header, context: Buffer.from(header.securityContextId).toString("hex") }] : [];
  });
}

const classesOf = (network: TestNetwork, from: number, sender: string) =>
  new Set(seen(network, from).flatMap(({ source, trafficClass }) => (source.endsWith(sender) ? [trafficClass] : [])));

const creditOf = (value: { readonly flow?: agp.FlowState; readonly bytes?: number }) =>
  encodeFrame({ case: "credit", value: { trafficClass: BULK, ...value } });

describe("the class on the wire follows the priority [BEY-1]", () => {
  test("of messages, each class in a group of its own, and acknowledgements are never bulk", async () => {
    const { network, alice, bob } = await pair();
    bob.onMessage(() => undefined);
    const both = [alice.send(bobName, "now"), alice.send(bobName, "later", { priority: "bulk" })];
    await network.clock.until(
      Promise.all([...both, alice.send(bobName, "once", { priority: "bulk", mode: "best-effort" })]),
    );
    const contexts = (trafficClass: agp.TrafficClass) =>
      new Set(
        seen(network).flatMap((each) =>
          each.source.endsWith("alice") && each.trafficClass === trafficClass ? [each.context] : [],
        ),
      );
    expect([contexts(BULK).size, contexts(INTERACTIVE).size]).toEqual([1, 1]);
    expect(contexts(BULK)).not.toEqual(contexts(INTERACTIVE));
    expect(classesOf(network, 0, "bob")).toEqual(new Set([INTERACTIVE]));
    expect(await codeOf(alice.send(bobName, "x", { priority: "urgent" as "bulk" }))).toBe("CAUSEWAY_MISUSE");
  });

  test("of requests and their answers, of streams both ways, and of calls of services", async () => {
    const { network, alice, bob } = await pair();
    bob.onRequest("work", async function* () {
      yield "part";
      yield "end";
    });
    bob.onStream("copy", async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      await stream.end();
    });
    await network.clock.until(alice.send(bobName, "hello").catch(() => undefined));
    const exchange = async (options: StreamOptions): Promise<void> => {
      await alice.request(bobName, { method: "work" }, options);
      const stream = alice.openStream(bobName, { name: "copy", ...options });
      await stream.write(Buffer.from("there and back"));
      await stream.end();
      for await (const _ of stream);
    };
    const payload = (from: number, sender: string) =>
      seen(network, from).flatMap((each) => (each.source.endsWith(sender) ? [each.trafficClass] : []));
    const before = network.hub.seen.length;
    await network.clock.until(exchange({ priority: "bulk" }));
    // Beside acknowledgements, which are interactive.
    expect(payload(before, "alice").filter((each) => each === BULK).length).toBeGreaterThanOrEqual(2);
    expect(payload(before, "bob").filter((each) => each === BULK).length).toBeGreaterThanOrEqual(2);
    await network.clock.advance(10_000);
    const after = network.hub.seen.length;
    await network.clock.until(exchange({}));
    expect(new Set(payload(after, "alice"))).toEqual(new Set([INTERACTIVE]));
    expect(new Set(payload(after, "bob"))).toEqual(new Set([INTERACTIVE]));
  });

  test("of all publications of a topic, which is its owner's choice: they keep one order", async () => {
    const { network, alice, bob } = await pair();
    const [bulky, quick] = await network.clock.until(
      Promise.all([
        alice.createTopic("bulky", { priority: "bulk", publishers: [bobName] }),
        alice.createTopic("quick"),
      ]),
    );
    const got: unknown[] = [];
    await network.clock.until(alice.subscribe(bulky ?? "", ({ data }) => void got.push(data)));
    await network.clock.until(bob.subscribe(bulky ?? "", () => undefined));
    await network.clock.until(bob.subscribe(quick ?? "", () => undefined));
    const before = network.hub.seen.length;
    for (let i = 0; i < 5; i++) await network.clock.until(bob.publish(bulky ?? "", i));
    await network.clock.until(alice.publish(bulky ?? "", "of the owner"));
    await network.clock.until(alice.publish(quick ?? "", "quick"));
    await network.clock.advance(1_000);
    const classes = seen(network, before).flatMap(({ target, trafficClass }) =>
      target === bulky ? ["bulk", trafficClass] : target === quick ? ["quick", trafficClass] : [],
    );
    expect(new Set(classes)).toEqual(new Set(["bulk", BULK, "quick", INTERACTIVE]));
    expect(got.slice(0, 5)).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("when the gateway wants no bulk [BEY-1]", () => {
  test("it waits at the sender, everything else leaves, and it goes on in order when the gateway says so", async () => {
    const { network, alice, bob } = await pair();
    const taken: unknown[] = [];
    bob.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(alice.send(bobName, "b0", { priority: "bulk" }));
    await network.clock.until(alice.send(bobName, "i0"));
    network.hub.inject(`spiffe://${aliceName}`, creditOf({ flow: agp.FlowState.STOP }));
    const bulk = Array.from({ length: 5 }, (_, i) => alice.send(bobName, `b${i + 1}`, { priority: "bulk" }));
    const before = network.hub.seen.length;
    await network.clock.advance(5_000);
    for (let i = 1; i < 4; i++) await network.clock.until(alice.send(bobName, `i${i}`));
    expect(classesOf(network, before, "alice")).toEqual(new Set([INTERACTIVE]));
    expect(taken).toEqual(["b0", "i0", "i1", "i2", "i3"]);
    network.hub.inject(`spiffe://${aliceName}`, creditOf({ flow: agp.FlowState.GO }));
    await network.clock.until(Promise.all(bulk));
    expect(taken.slice(5)).toEqual(["b1", "b2", "b3", "b4", "b5"]);
  });

  test("a new link knows nothing of it", async () => {
    const { network, alice, bob } = await pair();
    bob.onMessage(() => undefined);
    network.hub.inject(`spiffe://${aliceName}`, creditOf({ flow: agp.FlowState.STOP }));
    const sent = alice.send(bobName, "b", { priority: "bulk", timeoutMs: 600_000 });
    await network.clock.advance(1_000);
    network.hub.cut(`spiffe://${aliceName}`);
    expect(await network.clock.until(sent)).toMatchObject({ reached: "processed" });
  });

  test("bulk that is refused is acknowledged all the same: it is not on its way any more", async () => {
    const { network, alice, bob } = await pair();
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, "b", { priority: "bulk" }));
    await network.clock.until(alice.send(bobName, "i"));
    const frames = new Map(
      network.hub.seen.flatMap((frame) => {
        const body = decodeFrame(frame);
        return body.case === "message" && body.value.header?.source.endsWith("alice")
          ? [[body.value.header.trafficClass, body.value] as const]
          : [];
      }),
    );
    let credits = 0;
    network.hub.onFrame = (kind) => {
      if (kind === "credit") credits++;
    };
    const refused = (trafficClass: agp.TrafficClass): void => {
      const value = frames.get(trafficClass);
      if (value?.header === undefined) throw new Error("no such message was seen");
      // Nobody sends a hop TTL of 0.
      const header = { ...value.header, hopTtl: 0 };
      for (let i = 0; i < 10; i++) {
        const frame = encodeFrame({ case: "message", value: { header, payload: new Uint8Array(9_000) } });
        network.hub.inject(`spiffe://${bobName}`, frame);
      }
    };
    refused(INTERACTIVE);
    await network.clock.advance(100);
    expect(credits).toBe(0);
    refused(BULK);
    await network.clock.advance(100);
    // One for each 16 KiB.
    expect(credits).toBe(5);
  });

  test("the sender's bound for bulk is told, and other messages are taken beyond it", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName, { limits: { bulkBytesMax: 20_000 } });
    const bob = await network.connect(bobName);
    bob.onMessage(() => undefined);
    network.hub.inject(`spiffe://${aliceName}`, creditOf({ flow: agp.FlowState.STOP }));
    const options = { priority: "bulk", timeoutMs: 600_000 } as const;
    const sent = [1, 2].map(() => alice.send(bobName, "x".repeat(9_000), options));
    expect(await codeOf(alice.send(bobName, "x".repeat(9_000), options))).toBe("CAUSEWAY_FORWARDING_OVERLOADED");
    await network.clock.until(alice.send(bobName, "x".repeat(9_000)));
    network.hub.inject(`spiffe://${aliceName}`, creditOf({ flow: agp.FlowState.GO }));
    await network.clock.until(Promise.all(sent));
  });
});

test("an application that is busy with bulk still gets what is interactive [BEY-1]", async () => {
  const { network, alice, bob } = await pair();
  const taken: unknown[] = [];
  const release = Promise.withResolvers<void>();
  bob.onMessage(async ({ data }) => {
    taken.push(data);
    if (data === "b0") await release.promise;
  });
  const bulk = Array.from({ length: 50 }, (_, i) => alice.send(bobName, `b${i}`, { priority: "bulk" }));
  await network.clock.advance(1_000);
  for (let i = 0; i < 3; i++) await network.clock.until(alice.send(bobName, `i${i}`));
  expect(taken).toEqual(["b0", "i0", "i1", "i2"]);
  release.resolve();
  await network.clock.until(Promise.all(bulk));
  expect(taken.slice(4)).toEqual(Array.from({ length: 49 }, (_, i) => `b${i + 1}`));
});

describe("an intake [BEY-1]", () => {
  const envelope = (trafficClass: agp.TrafficClass, bytes: number, id: number) =>
    ({ header: { trafficClass, hopTtl: id }, payload: new Uint8Array(bytes) }) as unknown as agp.Envelope;

  /** Turns are run by hand; every message is processed at once. */
  function world(more: Partial<IntakePorts> = {}) {
    const turns: (() => void)[] = [];
    const processed: { readonly isBulk: boolean; readonly id: number }[] = [];
    const counts = { taken: 0, paused: 0, resumed: 0 };
    const intake = new Intake({
      limits: { receivingMax: 10_000, receivingBytesMax: 4_000_000 },
      process: async ({ header }) => {
        processed.push({ isBulk: header?.trafficClass === BULK, id: header?.hopTtl ?? -1 });
      },
      pause: () => counts.paused++,
      resume: () => counts.resumed++,
      onDrop: () => undefined,
      nextTurn: (run) => void turns.push(run),
      onBulkTaken: (bytes) => {
        counts.taken += bytes;
      },
      ...more,
    });
    const turn = async (): Promise<boolean> => {
      const due = turns.splice(0);
      for (const run of due) run();
      await new Promise((resolve) => setImmediate(resolve));
      return due.length > 0;
    };
    return { intake, processed, counts, turn };
  }

  test("takes what is interactive before 10,000 messages of bulk that came before it, and lets the process read in between", async () => {
    const { intake, processed, counts, turn } = world();
    for (let i = 0; i < 10_000; i++) intake.take(envelope(BULK, 100, i), 200);
    intake.take(envelope(INTERACTIVE, 100, 0), 200);
    expect(processed).toEqual([{ isBulk: false, id: 0 }]);
    for (let i = 1; await turn(); i++) {
      const most = processed.length;
      intake.take(envelope(INTERACTIVE, 100, i), 200);
      expect(processed.length).toBe(most + 1);
      expect(processed.filter(({ isBulk }) => isBulk).length).toBeLessThanOrEqual(64 * i);
      if (i > 1_000) throw new Error("bulk is not taken");
    }
    expect(processed.filter(({ isBulk }) => isBulk).map(({ id }) => id)).toEqual(
      Array.from({ length: 10_000 }, (_, i) => i),
    );
    expect(counts.taken).toBe(10_000 * 200);
  });

  test("acknowledges bulk that it drops, and nothing else of what it drops", async () => {
    const never = Promise.withResolvers<void>();
    let dropped = 0;
    const { intake, counts } = world({
      limits: { receivingMax: 2, receivingBytesMax: 4_000_000 },
      process: () => never.promise,
      onDrop: () => dropped++,
    });
    for (let i = 0; i < 16; i++) intake.take(envelope(INTERACTIVE, 100, i), 200);
    expect(dropped).toBe(0);
    intake.take(envelope(INTERACTIVE, 100, 16), 200);
    expect([dropped, counts.taken]).toEqual([1, 0]);
    for (let i = 0; i < 3; i++) intake.take(envelope(BULK, 100, i), 200);
    expect([dropped, counts.taken]).toEqual([4, 600]);
  });

  test("keeps the order of each class, loses nothing, and pauses and resumes in turn, whatever comes when", async () => {
    const step = fc.oneof(
      fc.record({ isBulk: fc.boolean(), bytes: fc.integer({ min: 0, max: 400_000 }) }),
      fc.constant("turn" as const),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const { intake, processed, counts, turn } = world();
        const given = { bulk: 0, rest: 0 };
        for (const each of steps) {
          if (each === "turn") await turn();
          else {
            const id = each.isBulk ? given.bulk++ : given.rest++;
            intake.take(envelope(each.isBulk ? BULK : INTERACTIVE, each.bytes, id), 1);
          }
          expect(counts.paused - counts.resumed).toBeGreaterThanOrEqual(0);
          expect(counts.paused - counts.resumed).toBeLessThanOrEqual(1);
        }
        while (await turn());
        const ids = (isBulk: boolean) => processed.filter((each) => each.isBulk === isBulk).map(({ id }) => id);
        expect(ids(true)).toEqual(Array.from({ length: given.bulk }, (_, i) => i));
        expect(ids(false)).toEqual(Array.from({ length: given.rest }, (_, i) => i));
        expect([counts.paused, counts.taken]).toEqual([counts.resumed, given.bulk]);
      }),
      { numRuns: 50 },
    );
  });
});
