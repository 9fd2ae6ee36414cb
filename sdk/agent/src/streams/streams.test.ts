/** Streams between agents: bytes both ways, back-pressure, half-close, reset, deadline. */
import type { CausewayError } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import type { AgentStream } from "../api.ts";
import { codeOf, type TestAgent, TestNetwork } from "../testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";

async function pair(seed = 1): Promise<{ network: TestNetwork; alice: TestAgent; bob: TestAgent }> {
  const network = new TestNetwork({ seed });
  return { network, alice: await network.connect(aliceName), bob: await network.connect(bobName) };
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function all(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let content = "";
  for await (const bytes of stream) content += new TextDecoder().decode(bytes);
  return content;
}

describe("a stream between agents [AGP-21]", () => {
  test("carries names, metadata and bytes both ways, and each side ends on its own", async () => {
    const { network, alice, bob } = await pair();
    const seen: unknown[] = [];
    bob.onStream("echo", async (stream) => {
      seen.push(stream.peer, stream.name, stream.metadata);
      stream.sendHeader([["kind", "echo"]]);
      const content = await all(stream);
      // The other side has ended; this one has not.
      await stream.write(text(content.toUpperCase()));
      await stream.end([["length", String(content.length)]]);
    });
    const work = async (): Promise<unknown[]> => {
      const stream = alice.openStream(bobName, { name: "echo", metadata: [["lang", "en"]] });
      await stream.write(text("hello "));
      await stream.write(text("bob"));
      await stream.end();
      const results = [await stream.header, await all(stream), await stream.trailer];
      await stream.closed;
      return results;
    };
    expect(await network.clock.until(work())).toEqual([[["kind", "echo"]], "HELLO BOB", [["length", "9"]]]);
    expect(seen).toEqual([alice.id, "echo", [["lang", "en"]]]);
  });

  test("is held back by a side that does not read, and other streams are not", async () => {
    const { network, alice, bob } = await pair();
    let resume: () => void = () => undefined;
    const received = new Map<string, number>();
    bob.onStream(async (stream) => {
      if (stream.name === "slow") await new Promise<void>((resolve) => (resume = resolve));
      for await (const bytes of stream) received.set(stream.name, (received.get(stream.name) ?? 0) + bytes.length);
      await stream.end();
    });
    const pour = async (name: string): Promise<void> => {
      const stream = alice.openStream(bobName, { name });
      for (let i = 0; i < 64; i++) await stream.write(new Uint8Array(32_768));
      await stream.end();
      await stream.closed;
    };
    let isSlowDone = false;
    const slow = pour("slow").then(() => (isSlowDone = true));
    await network.clock.until(pour("fast"));
    expect(received.get("fast")).toBe(2_097_152);
    await network.clock.advance(10_000);
    expect(isSlowDone).toBe(false);
    resume();
    await network.clock.until(slow);
    expect(received.get("slow")).toBe(2_097_152);
  });

  test("arrives whole over a network that loses, repeats and reorders", async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { network, alice, bob } = await pair(seed);
      network.hub.faults = { loss: 0.2, duplication: 0.2, delayMs: 300 };
      bob.onStream(async (stream) => {
        for await (const bytes of stream) await stream.write(bytes);
        await stream.end();
      });
      const run = async (index: number): Promise<boolean> => {
        const stream = alice.openStream(bobName, { name: "echo" });
        const reading = all(stream);
        let sent = "";
        for (let i = 0; i < 20; i++) {
          const piece = `${index}.${i}:${"x".repeat(2_000)};`;
          sent += piece;
          await stream.write(text(piece));
        }
        await stream.end();
        return (await reading) === sent;
      };
      const results = await network.clock.until(Promise.all([0, 1, 2, 3].map(run)), 7_200_000);
      expect(results, `seed ${seed}`).toEqual([true, true, true, true]);
    }
  });

  test("that one side resets fails on both, with the reason", async () => {
    const { network, alice, bob } = await pair();
    const ends: CausewayError[] = [];
    bob.onStream(async (stream) => {
      stream.signal.addEventListener("abort", () => ends.push(stream.signal.reason as CausewayError));
      if (stream.name === "refused") throw new Error("not today");
      await all(stream);
    });
    const refused = alice.openStream(bobName, { name: "refused" });
    await expect(network.clock.until(all(refused))).rejects.toMatchObject({
      code: "CAUSEWAY_AGENT_HANDLER_FAILED",
      message: "not today",
    });
    const given = alice.openStream(bobName, { name: "given up" });
    await network.clock.until(given.write(text("x")));
    await network.clock.advance(100);
    const abort = new AbortController();
    const cancelled = alice.openStream(bobName, { name: "cancelled", signal: abort.signal });
    abort.abort();
    expect(await codeOf(all(cancelled))).toBe("CAUSEWAY_CANCELLED");
    ends.length = 0;
    given.reset();
    expect(await codeOf(all(given))).toBe("CAUSEWAY_CANCELLED");
    await network.clock.advance(1_000);
    expect(ends.map(({ code }) => code)).toContain("CAUSEWAY_CANCELLED");
  });

  test("fails when nobody serves it, when its time is over, and when the other agent is gone", async () => {
    const { network, alice, bob } = await pair();
    expect(await codeOf(network.clock.until(all(alice.openStream(bobName, { name: "x" }))))).toBe(
      "CAUSEWAY_AGENT_NO_HANDLER",
    );
    bob.onStream(() => undefined);
    expect(await codeOf(network.clock.until(all(alice.openStream(bobName, { timeoutMs: 5_000 }))))).toBe(
      "CAUSEWAY_TIMEOUT",
    );
    expect(
      await codeOf(network.clock.until(all(alice.openStream("green.example/no/body", { timeoutMs: 900_000 })))),
    ).toBe("CAUSEWAY_FORWARDING_NO_ROUTE");
    const left = alice.openStream(bobName, { name: "left" });
    await network.clock.until(left.write(text("x")));
    await network.clock.advance(100);
    await network.clock.until(bob.close());
    expect(await codeOf(network.clock.until(all(left)))).toBe("CAUSEWAY_CANCELLED");
  });

  test("500 at once share one link of each agent [AGP-7]", async () => {
    const { network, alice, bob } = await pair();
    let opened = 0;
    network.hub.onFrame = (kind) => {
      if (kind === "attachHello") opened++;
    };
    bob.onStream(async (stream) => {
      for await (const bytes of stream) await stream.write(bytes);
      await stream.end();
    });
    const streams: AgentStream[] = Array.from({ length: 500 }, (_, i) => alice.openStream(bobName, { name: `${i}` }));
    const talk = async (stream: AgentStream): Promise<string> => {
      await stream.write(text(stream.name));
      await stream.end();
      return all(stream);
    };
    const echoes = await network.clock.until(Promise.all(streams.map(talk)));
    expect(echoes).toEqual(streams.map(({ name }) => name));
    expect(opened).toBe(0);
  });
});
