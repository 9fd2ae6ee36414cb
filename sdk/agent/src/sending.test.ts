/** How far a message has to come before its sender hears of it, and one question to many. */
import { silentLog } from "@causeway/core-base";
import { decodeFrame, HeaderFlag } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";

async function pair(): Promise<{ network: TestNetwork; alice: TestAgent; bob: TestAgent }> {
  const network = new TestNetwork();
  return { network, alice: await network.connect(aliceName), bob: await network.connect(bobName) };
}

describe("a message resolves", () => {
  test("at the level that was asked for: accepted, stored, delivered or processed [AGP-58]", async () => {
    const { network, alice, bob } = await pair();
    let finish: () => void = () => undefined;
    bob.onMessage(({ data }) => (data === "slow" ? new Promise<void>((resolve) => (finish = resolve)) : undefined));
    // A handler that does not return: everything but "processed" resolves.
    let isProcessed = false;
    const processed = alice.send(bobName, "slow").then((receipt) => {
      isProcessed = true;
      return receipt;
    });
    await network.clock.advance(1_000);
    const send = (ack: "accepted" | "stored" | "delivered") => alice.send(bobName, ack, { ack, session: "another" });
    for (const ack of ["accepted", "stored", "delivered"] as const)
      expect(await network.clock.until(send(ack))).toMatchObject({ reached: ack });
    expect(isProcessed).toBe(false);
    finish();
    expect(await network.clock.until(processed)).toMatchObject({ reached: "processed" });
    const sent = await network.clock.until(alice.send(bobName, "x", { mode: "best-effort" }));
    expect(sent.reached).toBe("sent");
    const accepted = await network.clock.until(alice.send(bobName, "x", { mode: "best-effort", ack: "accepted" }));
    expect(accepted.reached).toBe("accepted");
    expect(await codeOf(alice.send(bobName, "x", { mode: "best-effort", ack: "processed" }))).toBe("CAUSEWAY_MISUSE");
  });

  test("as stored only by the word of the target's domain, and not when its own gateway says so", async () => {
    const { network, alice, bob } = await pair();
    bob.onMessage(() => new Promise(() => undefined));
    await network.clock.until(alice.send(bobName, "x", { ack: "delivered", session: "first" }));
    network.hub.intercept = (frame) => {
      const body = decodeFrame(frame);
      const header = body.case === "message" ? body.value.header : undefined;
      // Nobody stores it; the gateway of the sender claims so.
      if (header && (header.flags & HeaderFlag.stored) !== 0)
        network.hub.claimStored(header, "spiffe://blue.example/gateway/gw");
      return undefined;
    };
    const stored = alice.send(bobName, "y", { ack: "stored", timeoutMs: 5_000 });
    expect(await codeOf(network.clock.until(stored))).toBe("CAUSEWAY_TIMEOUT");
  });

  test("with the best effort once, without repetition and without order", async () => {
    const { network, alice, bob } = await pair();
    const taken: unknown[] = [];
    bob.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(alice.send(bobName, "first"));
    network.hub.faults = { loss: 1 };
    await network.clock.until(alice.send(bobName, "lost", { mode: "best-effort" }));
    await network.clock.advance(10);
    network.hub.faults = {};
    await network.clock.advance(60_000);
    await network.clock.until(alice.send(bobName, "second", { mode: "best-effort" }));
    await network.clock.advance(1_000);
    expect(taken).toEqual(["first", "second"]);
    expect(alice.status().counters["repeated"]).toBe(0);
  });

  test("in order in its session, while other sessions do not wait for it", async () => {
    const { network, alice, bob } = await pair();
    const taken: unknown[] = [];
    bob.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(alice.send(bobName, "0"));
    network.hub.faults = { loss: 1 };
    const lost = alice.send(bobName, "1", { session: "a", timeoutMs: 600_000 });
    await network.clock.advance(5);
    network.hub.faults = {};
    const behind = alice.send(bobName, "2", { session: "a", timeoutMs: 600_000 });
    await network.clock.until(alice.send(bobName, "3", { session: "b" }));
    expect(taken).toEqual(["0", "3"]);
    await network.clock.until(Promise.all([lost, behind]));
    expect(taken).toEqual(["0", "3", "1", "2"]);
  });

  test("as refused when it came after its time, and no handler sees it", async () => {
    const { network, alice, bob } = await pair();
    const taken: unknown[] = [];
    let finish: () => void = () => undefined;
    bob.onMessage(({ data }) => {
      taken.push(data);
      return data === "slow" ? new Promise<void>((resolve) => (finish = resolve)) : undefined;
    });
    const slow = alice.send(bobName, "slow", { timeoutMs: 600_000 });
    const late = alice.send(bobName, "late", { timeoutMs: 600_000, expiresMs: 20_000 });
    const code = codeOf(late);
    await network.clock.advance(60_000);
    finish();
    await network.clock.until(slow);
    expect(["CAUSEWAY_FORWARDING_EXPIRED", "CAUSEWAY_TIMEOUT"]).toContain(await network.clock.until(code));
    expect(taken).toEqual(["slow"]);
  });

  test("many at once, in few packets of the network", async () => {
    const { network, alice, bob } = await pair();
    let taken = 0;
    bob.onMessage(() => void taken++);
    await network.clock.until(alice.send(bobName, "0"));
    const before = network.hub.seen.length;
    await network.clock.until(Promise.all(Array.from({ length: 500 }, (_, i) => alice.send(bobName, `${i}`))));
    expect(taken).toBe(501);
    // Messages and acknowledgements together.
    expect(network.hub.seen.length - before).toBeLessThan(50);
  });
});

describe("a question to many", () => {
  test("collects the answers, and says of everybody else why there is none", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const names = [1, 2, 3].map((i) => `green.example/hotels/hotel${i}`);
    const [one, two, three] = await Promise.all(names.map((name) => network.connect(name)));
    one?.onRequest("price", () => 100);
    two?.onRequest("price", () => new Promise(() => undefined));
    three?.onRequest("price", () => {
      throw new Error("closed for the season");
    });
    const targets = [...names, "green.example/hotels/nowhere"];
    const asked = alice.requestMany(targets, { method: "price" }, { timeoutMs: 10_000 });
    const { answers, failures, isComplete } = await network.clock.until(asked);
    expect(answers.map(({ from, data }) => [from, data])).toEqual([[one?.id, 100]]);
    expect(isComplete).toBe(false);
    expect(new Map(failures.map(({ agent, error }) => [agent, error.code]))).toEqual(
      new Map([
        [two?.id, "CAUSEWAY_TIMEOUT"],
        [three?.id, "CAUSEWAY_AGENT_HANDLER_FAILED"],
        ["spiffe://green.example/hotels/nowhere", "CAUSEWAY_FORWARDING_NO_ROUTE"],
      ]),
    );
  });

  test("ends when there are enough answers, and finds its targets below a prefix", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName);
    const aborted: string[] = [];
    for (const i of [1, 2, 3]) {
      const hotel = await network.connect(`green.example/hotels/hotel${i}`);
      hotel.onRequest("price", ({ signal }) => {
        signal.addEventListener("abort", () => aborted.push(hotel.id));
        return i === 2 ? 80 : new Promise(() => undefined);
      });
      const skills = [{ id: "price", description: "Tells prices" }];
      await network.clock.until(hotel.register({ name: "Hotel", description: "Hotel", version: "1", skills }));
    }
    const asked = alice.requestMany("green.example/hotels/", { method: "price" }, { enough: 1 });
    const { answers, failures } = await network.clock.until(asked);
    expect(answers.map(({ data }) => data)).toEqual([80]);
    expect(failures.map(({ error }) => error.code)).toEqual(["CAUSEWAY_CANCELLED", "CAUSEWAY_CANCELLED"]);
    await network.clock.advance(1_000);
    expect(aborted.length).toBeGreaterThanOrEqual(2);
    expect(await codeOf(network.clock.until(alice.requestMany("green.example/none/", {})))).toBe(
      "CAUSEWAY_RECORD_NOT_FOUND",
    );
    expect(await codeOf(alice.requestMany("green.example/hotels", {}))).toBe("CAUSEWAY_MISUSE");
  });
});

describe("an agent that runs several times", () => {
  test("meets each sender with one of its instances, which then stays; a named instance is that one [BEY-7]", async () => {
    const network = new TestNetwork();
    const instances = await Promise.all(
      ["a", "b", "c"].map(async (instance) => {
        const agent = await network.connect(bobName, { instance });
        agent.onRequest("who", () => instance);
        agent.onMessage(() => undefined);
        return agent;
      }),
    );
    expect(instances).toHaveLength(3);
    const senders = await Promise.all([1, 2, 3].map((i) => network.connect(`blue.example/travel/sender${i}`)));
    const who = async (sender: TestAgent, target: string): Promise<unknown> =>
      (await network.clock.until(sender.request(target, { method: "who" }))).data;
    const met: unknown[] = [];
    for (const sender of senders) met.push(await who(sender, bobName));
    expect(new Set(met)).toEqual(new Set(["a", "b", "c"]));
    for (const [i, sender] of senders.entries()) {
      expect(await who(sender, bobName)).toBe(met[i]);
      expect(await network.clock.until(sender.send(bobName, "x"))).toMatchObject({ reached: "processed" });
      for (const name of ["a", "b", "c"]) expect(await who(sender, `${bobName}/@${name}`)).toBe(name);
    }
  });
});

describe("an instance that is gone for good", () => {
  test("is left when it has been silent for a minute; what it may have taken is unknown and goes to no other [BEY-7]", async () => {
    const network = new TestNetwork();
    const taken: string[] = [];
    const instances = new Map<string, TestAgent>();
    for (const name of ["a", "b"]) {
      const agent = await network.connect(bobName, { instance: name });
      agent.onMessage(({ data }) => void taken.push(`${name}: ${data}`));
      instances.set(name, agent);
    }
    const alice = await network.connect(aliceName);
    await network.clock.until(alice.send(bobName, "first"));
    const met = taken[0]?.slice(0, 1) ?? "";
    const other = met === "a" ? "b" : "a";
    // It stays attached for the gateway and hears nothing any more, as a process that hangs.
    const isForMet = (frame: Uint8Array): boolean => Buffer.from(frame).includes(`${bobName}/@${met}`);
    network.hub.intercept = (frame) => (isForMet(frame) ? undefined : frame);
    const long = codeOf(alice.send(bobName, "long", { timeoutMs: 600_000 }));
    const codes = [await codeOf(network.clock.until(alice.send(bobName, "short", { timeoutMs: 10_000 })))];
    await network.clock.until(instances.get(met)?.close() ?? Promise.resolve());
    // A short silence is no reason: whoever restarts is back in a moment.
    codes.push(await codeOf(network.clock.until(alice.send(bobName, "shorter", { timeoutMs: 10_000 }))));
    expect(taken).toEqual([`${met}: first`]);
    await network.clock.advance(50_000);
    codes.push(await codeOf(network.clock.until(alice.send(bobName, "last", { timeoutMs: 10_000 }))));
    codes.push(await long);
    expect(codes).toEqual(["CAUSEWAY_TIMEOUT", "CAUSEWAY_TIMEOUT", "CAUSEWAY_TIMEOUT", "CAUSEWAY_TIMEOUT"]);
    expect(await network.clock.until(alice.send(bobName, "anew"))).toMatchObject({ reached: "processed" });
    expect(taken).toEqual([`${met}: first`, `${other}: anew`]);
  });
});

describe("what a gateway may have stored", () => {
  test("is acknowledged to it when the handler took it, batched, and not before", async () => {
    const { network, alice, bob } = await pair();
    let finish: () => void = () => undefined;
    bob.onMessage(({ data }) => (data === "slow" ? new Promise<void>((resolve) => (finish = resolve)) : undefined));
    await network.clock.until(alice.send(bobName, "first"));
    await network.clock.advance(1_000);
    const acks = (): string[] => network.hub.mailboxAcks.filter((each) => each.startsWith(`${bob.id} ${alice.id}`));
    const before = acks().length;
    const slow = alice.send(bobName, "slow");
    await network.clock.advance(1_000);
    expect(acks().length).toBe(before);
    finish();
    const { messageId } = await network.clock.until(slow);
    await network.clock.advance(1_000);
    expect(acks().slice(before)).toEqual([`${bob.id} ${alice.id} ${messageId}`]);
  });

  test("waits for the first handler of an agent that has just started", async () => {
    const { network, alice, bob } = await pair();
    const taken: unknown[] = [];
    const sent = alice.send(bobName, "early");
    await network.clock.advance(1_000);
    bob.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(sent);
    expect(taken).toEqual(["early"]);
    const { network: other, alice: sender } = await pair();
    expect(await codeOf(other.clock.until(sender.send(bobName, "x")))).toBe("CAUSEWAY_AGENT_NO_HANDLER");
  });
});

test("an agent that is closed warns of nothing", async () => {
  const network = new TestNetwork();
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (event: string) => void warnings.push(event) };
  const alice = await network.connect(aliceName, { log });
  await network.clock.until(alice.close());
  expect(warnings).toEqual([]);
});
