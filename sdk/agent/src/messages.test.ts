/** Messages with an end-to-end acknowledgement: once, in order, and with a reason when not. */
import { decodeFrame } from "@causeway/core-wire";
import { MemoryStateStore } from "@causeway/e2ee";
import { describe, expect, test } from "vitest";
import { codeOf, type Faults, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";

describe("a message", () => {
  test("resolves when the handler of the other agent took it, not before", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    let finish: () => void = () => undefined;
    bob.onMessage(() => new Promise<void>((resolve) => (finish = resolve)));
    let isResolved = false;
    const sent = alice.send(bobName, "hello").then(() => (isResolved = true));
    await network.clock.advance(5_000);
    expect(isResolved).toBe(false);
    finish();
    await network.clock.until(sent);
    expect(bob.status().counters["received"]).toBeGreaterThan(0);
  });

  test("costs one acknowledgement when it is taken at once, and an early sign when it is not", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    let finish: () => void = () => undefined;
    bob.onMessage(({ data }) => (data === "slow" ? new Promise<void>((resolve) => (finish = resolve)) : undefined));
    await network.clock.until(alice.send(bobName, "first"));
    await network.clock.advance(1_000);
    const framesOfBob = (): number =>
      network.hub.seen.filter((frame) => {
        const body = decodeFrame(frame);
        return body.case === "message" && body.value.header?.source === bob.id;
      }).length;
    const before = framesOfBob();
    await network.clock.until(alice.send(bobName, "quick"));
    await network.clock.advance(5_000);
    expect(framesOfBob() - before).toBe(1);
    const slow = alice.send(bobName, "slow");
    await network.clock.advance(5_000);
    finish();
    await network.clock.until(slow);
    expect(framesOfBob() - before).toBe(3);
  });

  test("is taken once and in order whatever the network loses, repeats and reorders [AGP-58] [AAP-70]", async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const network = new TestNetwork({ seed });
      const alice = await network.connect(aliceName);
      const bob = await network.connect(bobName);
      const carol = await network.connect("blue.example/travel/carol");
      const taken: string[] = [];
      bob.onMessage(({ from, content }) => {
        taken.push(`${from} ${content.text()}`);
      });
      const faults: Faults = { loss: 0.25, duplication: 0.25, delayMs: 400 };
      network.hub.faults = faults;
      const numbers = Array.from({ length: 15 }, (_, i) => i);
      const all = [alice, carol].flatMap((agent) =>
        numbers.map((i) => agent.send(bobName, `${i}`, { timeoutMs: 3_600_000 })),
      );
      await network.clock.until(Promise.all(all), 7_200_000);
      for (const { id } of [alice, carol]) {
        expect(
          taken.filter((t) => t.startsWith(id)),
          `seed ${seed}`,
        ).toEqual(numbers.map((i) => `${id} ${i}`));
      }
    }
  });

  test("that the handler refuses fails at the sender; the next one arrives", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    expect(await codeOf(network.clock.until(alice.send(bobName, "x")))).toBe("CAUSEWAY_AGENT_NO_HANDLER");
    bob.onMessage(({ data }) => {
      if (data === "bad") throw new Error("not this");
    });
    await expect(network.clock.until(alice.send(bobName, "bad"))).rejects.toMatchObject({
      code: "CAUSEWAY_AGENT_HANDLER_FAILED",
      message: "not this",
    });
    expect(await codeOf(network.clock.until(alice.send(bobName, "good")))).toBe("none");
  });

  test("to an agent that is away is repeated until it is back, and fails with the gateway's code when it stays away", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, "first"));
    const { home } = bob;
    await network.clock.until(bob.close());
    expect(await codeOf(network.clock.until(alice.send(bobName, "x", { timeoutMs: 5_000 })))).toBe(
      "CAUSEWAY_FORWARDING_NOT_ATTACHED",
    );
    const late = alice.send(bobName, "y", { timeoutMs: 600_000 });
    await network.clock.advance(20_000);
    const again = await network.connect(bobName, { home });
    const taken: unknown[] = [];
    again.onMessage(({ data }) => {
      taken.push(data);
    });
    await network.clock.until(late);
    expect(taken).toEqual(["y"]);
  });

  test("that is too large is refused before it is sent", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    await network.connect(bobName);
    expect(await codeOf(alice.send(bobName, new Uint8Array(4_194_304)))).toBe("CAUSEWAY_FORWARDING_TOO_LARGE");
    expect(await codeOf(alice.send(bobName, "x", { timeoutMs: -1 }))).toBe("CAUSEWAY_MISUSE");
  });

  test("of both sides at once arrive complete and in order in each direction", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    const heard: Record<string, string[]> = { alice: [], bob: [] };
    alice.onMessage(({ content }) => void heard["alice"]?.push(content.text()));
    bob.onMessage(({ content }) => void heard["bob"]?.push(content.text()));
    const numbers = Array.from({ length: 300 }, (_, i) => `${i}`);
    await network.clock.until(
      Promise.all(
        numbers.flatMap((n) => [
          alice.send(bobName, n, { timeoutMs: 600_000 }),
          bob.send(aliceName, n, { timeoutMs: 600_000 }),
        ]),
      ),
    );
    expect(heard).toEqual({ alice: numbers, bob: numbers });
  });
});

describe("a restart", () => {
  test("of the receiver keeps its groups and takes nothing twice", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    let bob = await network.connect(bobName);
    const taken: unknown[] = [];
    bob.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(alice.send(bobName, "one"));
    // The acknowledgement of the second message never leaves: it will be repeated to the next run of bob.
    const silenced = bob.id;
    network.hub.intercept = (frame) => {
      const body = decodeFrame(frame);
      return body.case === "message" && body.value.header?.source === silenced ? undefined : frame;
    };
    const second = alice.send(bobName, "two", { timeoutMs: 600_000 });
    await network.clock.advance(200);
    expect(taken).toEqual(["one", "two"]);
    const { home } = bob;
    const sessions = bob.status().sessions.length;
    await network.clock.until(bob.close());
    network.hub.intercept = (frame) => frame;
    bob = await network.connect(bobName, { home });
    bob.onMessage(({ data }) => void taken.push(data));
    expect(bob.status().sessions.length).toBe(sessions);
    await network.clock.until(second);
    await network.clock.until(alice.send(bobName, "three"));
    expect(taken).toEqual(["one", "two", "three"]);
  });

  test("of an agent that lost its state is repaired by a new group", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const bob = await network.connect(bobName);
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, "one"));
    await network.clock.until(bob.close());
    // The same name and keys, an empty store.
    const again = await network.connect(bobName, { home: { ...bob.home, store: new MemoryStateStore() } });
    const taken: unknown[] = [];
    again.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(alice.send(bobName, "two", { timeoutMs: 60_000 }));
    expect(taken).toEqual(["two"]);
  });
});
