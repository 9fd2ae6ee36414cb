/** Requests, answers, streams, cancellation and time-outs between two agents of different domains. */
import { getEventListeners } from "node:events";
import { asInstant, refuse } from "@causeway/core-base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Content } from "./content.ts";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

let network: TestNetwork;
let alice: TestAgent;
let bob: TestAgent;
const bobName = "green.example/hotels/bob";

beforeEach(async () => {
  network = new TestNetwork();
  alice = await network.connect("blue.example/travel/alice");
  bob = await network.connect(bobName);
});

afterEach(async () => {
  await network.clock.until(Promise.all([alice.close(), bob.close()]));
});

describe("a request", () => {
  test("is answered by the handler of its method, with content of any kind unchanged [AAP-12]", async () => {
    bob.onRequest("echo", (request) => request.content);
    bob.onRequest((request) => ({ method: request.method, from: request.from }));
    const json = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "message/send" });
    const contents = [
      new Content("application/a2a+json", new TextEncoder().encode(json)),
      new Content("application/x-protobuf", new Uint8Array([0x0a, 3, 1, 2, 3])),
      new Content("application/octet-stream", network.random.bytes(300_000)),
      Content.of({ a: [1, "zwei", null] }),
      Content.of("grüezi"),
      Content.of(""),
    ];
    for (const content of contents) {
      const answer = await network.clock.until(alice.request(bobName, { method: "echo", data: content }));
      expect(answer.content).toEqual(content);
    }
    const answer = await network.clock.until(alice.request(bobName, { method: "other" }));
    expect(answer.data).toEqual({ method: "other", from: alice.id });
    expect(answer.from).toBe(bob.id);
  });

  test("that fails in the handler fails at the requester with code and message, and nothing else of the other side", async () => {
    bob.onRequest("throw", () => {
      throw new Error("no room left");
    });
    bob.onRequest("refuse", () => {
      throw refuse("CAUSEWAY_LIMIT_RATE", "too fast", { cause: new Error("secret"), details: { limit: "rooms" } });
    });
    await expect(network.clock.until(alice.request(bobName, { method: "throw" }))).rejects.toMatchObject({
      code: "CAUSEWAY_AGENT_HANDLER_FAILED",
      message: "no room left",
    });
    const refused = await network.clock.until(
      alice.request(bobName, { method: "refuse" }).catch((error: unknown) => error as Error),
    );
    expect(refused).toMatchObject({ code: "CAUSEWAY_LIMIT_RATE", message: "too fast", details: { limit: "rooms" } });
    expect((refused as Error).cause).toBeUndefined();
    await expect(network.clock.until(alice.request(bobName, { method: "absent" }))).rejects.toMatchObject({
      code: "CAUSEWAY_AGENT_NO_HANDLER",
    });
  });

  test("times out with CAUSEWAY_TIMEOUT and aborts the handler", async () => {
    let reason: unknown;
    bob.onRequest("slow", async (request) => {
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      reason = request.signal.reason;
    });
    const error = network.clock.until(alice.request(bobName, { method: "slow" }, { timeoutMs: 2_000 }));
    await expect(error).rejects.toMatchObject({ code: "CAUSEWAY_TIMEOUT" });
    await network.clock.advance(100);
    expect(reason).toMatchObject({ code: "CAUSEWAY_TIMEOUT" });
  });

  test("that is cancelled fails at once and aborts the handler's signal", async () => {
    let handlerReason: unknown;
    let begun: () => void = () => undefined;
    const started = new Promise<void>((resolve) => {
      begun = resolve;
    });
    bob.onRequest("slow", async (request) => {
      begun();
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      handlerReason = request.signal.reason;
    });
    const abort = new AbortController();
    const code = codeOf(alice.request(bobName, { method: "slow" }, { signal: abort.signal }));
    await network.clock.until(started);
    abort.abort(new Error("changed my mind"));
    expect(await code).toBe("CAUSEWAY_CANCELLED");
    await network.clock.advance(100);
    expect(handlerReason).toMatchObject({ code: "CAUSEWAY_CANCELLED" });
    expect(await codeOf(alice.request(bobName, { method: "slow" }, { signal: abort.signal }))).toBe(
      "CAUSEWAY_CANCELLED",
    );
  });

  test("to nobody fails with the gateway's code", async () => {
    expect(await codeOf(network.clock.until(alice.request("green.example/hotels/nobody", {})))).toBe(
      "CAUSEWAY_FORWARDING_NO_ROUTE",
    );
    expect(await codeOf(alice.request("not a name", {}))).toBe("CAUSEWAY_NAME_INVALID");
    expect(await codeOf(alice.request(alice.id, {}))).toBe("CAUSEWAY_MISUSE");
  });

  test("runs beside others: fifty at once, each with its own answer", async () => {
    bob.onRequest("double", async (request) => {
      const { n } = request.data as { n: number };
      return { n: n * 2 };
    });
    const answers = await network.clock.until(
      Promise.all(Array.from({ length: 50 }, (_, n) => alice.request(bobName, { method: "double", data: { n } }))),
    );
    expect(answers.map(({ data }) => (data as { n: number }).n)).toEqual(Array.from({ length: 50 }, (_, n) => n * 2));
  });
});

describe("a stream of answers", () => {
  test("comes in order and whole, also under loss, repetition and reordering", async () => {
    network.hub.faults = { loss: 0.2, duplication: 0.2, delayMs: 50 };
    bob.onRequest("count", async function* () {
      for (let i = 0; i < 40; i++) yield i;
    });
    const parts: unknown[] = [];
    await network.clock.until(
      (async () => {
        for await (const part of alice.stream(bobName, { method: "count" }, { timeoutMs: 600_000 }))
          parts.push(part.data);
      })(),
    );
    expect(parts).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  test("holds the handler back while its consumer is slow", async () => {
    let produced = 0;
    bob.onRequest("count", async function* () {
      for (; produced < 100; produced++) yield produced;
    });
    const stream = alice.stream(bobName, { method: "count" })[Symbol.asyncIterator]();
    await network.clock.until(stream.next());
    await network.clock.advance(5_000);
    expect(produced).toBeLessThan(25);
    await network.clock.until(Promise.resolve(stream.return?.(undefined)));
  });

  test("keeps nothing of the parts that are over, however many there are", async () => {
    let listeners = 0;
    bob.onRequest("count", async function* (request) {
      for (let i = 0; i < 200; i++) yield i;
      listeners = getEventListeners(request.signal, "abort").length;
    });
    const parts: unknown[] = [];
    await network.clock.until(
      (async () => {
        for await (const part of alice.stream(bobName, { method: "count" })) parts.push(part.data);
      })(),
    );
    expect(parts).toHaveLength(200);
    expect(listeners).toBeLessThan(5);
  });

  test("ends with the reason when the agent that answers it closes", async () => {
    bob.onRequest("endless", async function* (request) {
      yield "one";
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    });
    const before = network.clock.now().instant;
    const work = codeOf(
      (async () => {
        for await (const part of alice.stream(bobName, { method: "endless" }))
          if (part.data === "one") void bob.close();
      })(),
    );
    expect(await network.clock.until(work)).toBe("CAUSEWAY_CANCELLED");
    expect(network.clock.now().instant - before).toBeLessThan(5_000);
  });

  test("waits for a slow consumer, and does not call its own silence a time-out", async () => {
    bob.onRequest("two", async function* () {
      yield 1;
      yield 2;
    });
    const heard: unknown[] = [];
    const work = (async () => {
      for await (const part of alice.stream(bobName, { method: "two" }, { timeoutMs: 1_000 })) {
        heard.push(part.data);
        await new Promise<void>((resolve) =>
          network.clock.at(asInstant(network.clock.now().instant + 10_000), resolve),
        );
      }
    })();
    await network.clock.until(work);
    expect(heard).toEqual([1, 2]);
  });

  test("times out when a part does not come", async () => {
    bob.onRequest("one", async function* (request) {
      yield 1;
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    });
    const heard: unknown[] = [];
    const work = (async () => {
      for await (const part of alice.stream(bobName, { method: "one" }, { timeoutMs: 1_000 })) heard.push(part.data);
    })();
    expect(await codeOf(network.clock.until(work))).toBe("CAUSEWAY_TIMEOUT");
    expect(heard).toEqual([1]);
  });

  test("that its consumer leaves cancels the handler", async () => {
    let isClosed = false;
    bob.onRequest("endless", async function* (request) {
      try {
        for (let i = 0; ; i++) {
          yield i;
          if (request.signal.aborted) return;
        }
      } finally {
        isClosed = true;
      }
    });
    await network.clock.until(
      (async () => {
        for await (const part of alice.stream(bobName, { method: "endless" })) if (part.data === 3) break;
      })(),
    );
    await network.clock.advance(1_000);
    expect(isClosed).toBe(true);
  });

  test("that breaks off in the handler delivers what came before, then the error", async () => {
    bob.onRequest("broken", async function* () {
      yield "one";
      throw new Error("out of paper");
    });
    const parts: unknown[] = [];
    const work = (async () => {
      for await (const part of alice.stream(bobName, { method: "broken" })) parts.push(part.data);
    })();
    await expect(network.clock.until(work)).rejects.toMatchObject({
      code: "CAUSEWAY_AGENT_HANDLER_FAILED",
      message: "out of paper",
    });
    expect(parts).toEqual(["one"]);
  });

  test("can be sent with reply, and request() collects it", async () => {
    bob.onRequest("reply", async (_request, reply) => {
      await reply.send("a");
      await reply.send("b");
      await reply.end("c");
    });
    const answer = await network.clock.until(alice.request(bobName, { method: "reply" }));
    expect(answer.parts.map((part) => part.data)).toEqual(["a", "b", "c"]);
    expect(answer.data).toBe("c");
  });
});
