/**
 * Many agents of two domains that send messages, ask each other, write to streams and publish to topics, all at the same
 * time and for a while (AGP-1). Each producer has one piece under way: it makes the next one when that has arrived and
 * been acknowledged, so that nothing can be held back to be sent together with what follows.
 */
import type { Agent, AgentStream } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { type Distribution, distributionOf } from "../../../../apps/cli/src/bench/distribution.ts";
import { startWorld } from "../world.ts";
import { type Audience, type Crowd, gather, type Pair, spread } from "./crowd.ts";
import { Flow, type Kind } from "./flow.ts";
import { disturbances, type MemoryLine, MemoryWatch } from "./watch.ts";

export interface MixedOptions {
  readonly agents: number;
  readonly forMs: number;
  /** Pause of a producer between two pieces. */
  readonly pauseMs: number;
  readonly onProgress?: (line: string) => void;
}

export interface MixedReport {
  readonly agents: number;
  /** Agents that are attached at the end. */
  readonly attached: number;
  readonly seconds: number;
  /** Of each kind. Of a publication each of its subscribers counts. */
  readonly acknowledged: Readonly<Record<Kind, number>>;
  readonly lost: readonly string[];
  readonly repeated: readonly string[];
  /** Acknowledged pieces that had not arrived when the next one was produced. */
  readonly held: number;
  /** What was not acknowledged, by kind and code. */
  readonly failed: Readonly<Record<string, number>>;
  /** Attachments and links between gateways that were lost, and processes that started anew. */
  readonly linksLost: number;
  readonly memory: readonly MemoryLine[];
  /** From agent to agent, encryption included; of requests there and back. `local`: both ends at one gateway. */
  readonly delays: Readonly<Record<string, Omit<Distribution, "buckets">>>;
}

/** Runs the agents and judges what came of it. Rejects when they cannot be set up. */
export async function runMixed(options: MixedOptions): Promise<MixedReport> {
  const { agents, forMs, onProgress = () => undefined } = options;
  await using world = await startWorld();
  await using crowd = await gather(world, agents, onProgress);
  const mix = new Mix(options.pauseMs);
  await mix.setUp(crowd);
  onProgress("streams and topics are open");
  const before = await disturbances(world);
  let detached = 0;
  const everyone = crowd.pairs.flatMap(({ a, b }) => [a, b]);
  for (const agent of everyone) agent.onEvent(({ type }) => void (type === "detached" && detached++));
  const memory = new MemoryWatch(world, Math.max(samplesMsMin, forMs / samplesMax));
  const started = performance.now();
  await mix.runFor(forMs, onProgress);
  const seconds = (performance.now() - started) / 1_000;
  const lines = memory.stop();
  const after = await disturbances(world);
  return {
    agents: everyone.length,
    attached: everyone.filter((agent) => agent.status().state === "attached").length,
    seconds: Math.round(seconds),
    ...mix.outcome(),
    linksLost: Math.max(0, after.linksLost - before.linksLost) + (after.restarts - before.restarts) + detached,
    memory: lines,
    delays: mix.delays(),
  };
}

interface Piece {
  readonly n: number;
  readonly at: number;
  readonly filling: string;
}

/** Makes the pieces of one flow, one after the other. */
type Producer = () => Promise<void>;

class Mix {
  readonly #pauseMs: number;
  readonly #flows: Flow[] = [];
  readonly #producers: Producer[] = [];
  readonly #endings: (() => Promise<void>)[] = [];
  readonly #delays = new Map<string, number[]>();
  readonly #failed: Record<string, number> = {};
  #isOver = false;

  constructor(pauseMs: number) {
    this.#pauseMs = pauseMs;
  }

  async setUp({ pairs, audiences }: Crowd): Promise<void> {
    for (const pair of pairs) {
      this.#messages(pair);
      this.#requests(pair);
      this.#streams(pair);
    }
    await spread(audiences.length, (i) => this.#publications(audiences[i] as Audience));
  }

  /** Runs until the time is over and what is under way has ended. */
  async runFor(ms: number, onProgress: (line: string) => void): Promise<void> {
    const end = setTimeout(() => {
      this.#isOver = true;
    }, ms);
    const told = setInterval(() => {
      const pieces = this.#flows.reduce((sum, flow) => sum + flow.outcome.acknowledged, 0);
      onProgress(`${pieces} pieces are acknowledged`);
    }, progressMs);
    try {
      await Promise.all(this.#producers.map((produce, i) => this.#keep(produce, i)));
      await Promise.all(this.#endings.map((ending) => ending()));
    } finally {
      clearTimeout(end);
      clearInterval(told);
    }
  }

  outcome(): Pick<MixedReport, "acknowledged" | "lost" | "repeated" | "held" | "failed"> {
    const acknowledged: Record<Kind, number> = { message: 0, request: 0, stream: 0, publication: 0 };
    const outcomes = this.#flows.map((flow) => ({ kind: flow.kind, ...flow.outcome }));
    for (const outcome of outcomes) acknowledged[outcome.kind] += outcome.acknowledged;
    return {
      acknowledged,
      lost: outcomes.flatMap(({ lost }) => lost),
      repeated: outcomes.flatMap(({ repeated }) => repeated),
      held: outcomes.reduce((sum, { held }) => sum + held, 0),
      failed: this.#failed,
    };
  }

  delays(): MixedReport["delays"] {
    return Object.fromEntries(
      [...this.#delays].toSorted().map(([label, values]) => {
        const { buckets: _buckets, ...figures } = distributionOf(values);
        return [label, figures];
      }),
    );
  }

  async #keep(produce: Producer, i: number): Promise<void> {
    // Producers do not all begin at once, nor do they fall into step.
    await pause((this.#pauseMs * (i % spreadOver)) / spreadOver);
    while (!this.#isOver) {
      await produce();
      if (!this.#isOver) await pause(this.#pauseMs);
    }
  }

  #messages({ name, a, b, isLocal }: Pair): void {
    const flow = this.#flow("message", name);
    b.onMessage(({ data }) => this.#arrived(flow, data as unknown as Piece, isLocal));
    this.#producers.push(() => this.#attempt(flow, (piece) => a.send(b.id, { ...piece }, { timeoutMs })));
  }

  #requests({ name, a, b, isLocal }: Pair): void {
    const flow = this.#flow("request", name);
    a.onRequest("mixed.next", ({ data }) => {
      const { n } = data as unknown as Piece;
      flow.arrive(n);
      return n + 1;
    });
    this.#producers.push(() =>
      this.#attempt(flow, async (piece) => {
        const answer = await b.request(a.id, { method: "mixed.next", data: { ...piece } }, { timeoutMs });
        if (answer.data !== piece.n + 1) throw new Error(`the answer to ${piece.n} was ${String(answer.data)}`);
        this.#took(`request${isLocal ? ", local" : ""}`, performance.now() - piece.at);
      }),
    );
  }

  /** What `a` writes comes back from `b`: one stream for the whole time, of 16 bytes for each piece. */
  #streams({ name, a, b, isLocal }: Pair): void {
    const flow = this.#flow("stream", name);
    b.onStream("mixed", async (stream) => {
      for await (const bytes of inPieces(stream)) {
        this.#arrived(flow, { n: bytes.readDoubleBE(0), at: bytes.readDoubleBE(8), filling: "" }, isLocal);
        await stream.write(bytes);
      }
      await stream.end();
    });
    const stream = a.openStream(b.id, { name: "mixed" });
    const echoes = inPieces(stream)[Symbol.asyncIterator]();
    this.#producers.push(() =>
      this.#attempt(flow, async ({ n, at }) => {
        const bytes = Buffer.alloc(pieceBytes);
        bytes.writeDoubleBE(n, 0);
        bytes.writeDoubleBE(at, 8);
        await stream.write(bytes);
        const echo = await within(echoes.next(), `the echo of ${n}`);
        if (echo.done === true || !bytes.equals(echo.value)) throw new Error(`the echo of ${n} was another`);
      }),
    );
    this.#endings.push(async () => {
      await stream.end();
      await within(stream.closed, "the end of a stream");
    });
  }

  async #publications({ owner, subscribers }: Audience): Promise<void> {
    const topic = await owner.createTopic("mixed");
    let heard = Promise.withResolvers<void>();
    const flows = await Promise.all(
      subscribers.map(async (subscriber) => {
        const flow = this.#flow("publication", `${topic} to ${subscriber.id}`);
        await subscribe(subscriber, topic, (piece) => {
          this.#arrived(flow, piece, false);
          if (flows.every((each) => each.hasArrived(piece.n))) heard.resolve();
        });
        return flow;
      }),
    );
    this.#producers.push(async () => {
      if (flows.length === 0) return;
      const [n = 0] = flows.map((flow) => flow.produce());
      heard = Promise.withResolvers();
      await this.#settle("publication", async () => {
        await owner.publish(topic, { ...pieceOf(n) }, { timeoutMs });
        for (const flow of flows) flow.acknowledge(n);
        await within(heard.promise, `publication ${n} of ${topic}`);
      });
    });
  }

  #flow(kind: Kind, name: string): Flow {
    const flow = new Flow(kind, name);
    this.#flows.push(flow);
    return flow;
  }

  #arrived(flow: Flow, { n, at }: Piece, isLocal: boolean): void {
    flow.arrive(n);
    this.#took(`${flow.kind}${isLocal ? ", local" : ""}`, performance.now() - at);
  }

  #took(label: string, ms: number): void {
    const values = this.#delays.get(label) ?? [];
    values.push(ms * 1_000);
    this.#delays.set(label, values);
  }

  /** One piece: acknowledged when `send` resolves. */
  #attempt(flow: Flow, send: (piece: Piece) => Promise<unknown>): Promise<void> {
    const n = flow.produce();
    return this.#settle(flow.kind, async () => {
      await send(pieceOf(n));
      flow.acknowledge(n);
    });
  }

  async #settle(kind: Kind, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const { code, message } = CausewayError.from(thrown);
      const label = `${kind} ${code === "CAUSEWAY_INTERNAL" ? message : code}`;
      this.#failed[label] = (this.#failed[label] ?? 0) + 1;
    }
  }
}

const pieceOf = (n: number): Piece => ({ n, at: performance.now(), filling });

/** Subscribes as soon as the owner is known to the gateway of the subscriber. */
async function subscribe(agent: Agent, topic: string, heard: (piece: Piece) => void): Promise<void> {
  const deadline = performance.now() + setUpMs;
  for (;;) {
    try {
      await agent.subscribe(topic, ({ data }) => heard(data as unknown as Piece), { timeoutMs });
      return;
    } catch (thrown) {
      if (performance.now() > deadline) throw thrown;
      await pause(500);
    }
  }
}

/** The bytes of a stream, cut as they were written. */
async function* inPieces(stream: AgentStream): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  for await (const bytes of stream) {
    rest = Buffer.concat([rest, bytes]);
    for (; rest.length >= pieceBytes; rest = rest.subarray(pieceBytes)) yield rest.subarray(0, pieceBytes);
  }
}

/** Bounds a hang; nothing is measured by it. */
async function within<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** With number and time about 1 KiB. */
const filling = "x".repeat(960);
const pieceBytes = 16;
const timeoutMs = 60_000;
const setUpMs = 240_000;
const spreadOver = 97;
const samplesMax = 60;
const samplesMsMin = 250;
const progressMs = 60_000;
