/** What is measured of an installation: pairs of agents that talk through its gateways, from SDK to SDK. */
import type { Agent } from "@causeway/agent";
import { CausewayError, type ErrorCode, refuse } from "@causeway/core-base";
import { type Distribution, distributionOf } from "./distribution.ts";

/** A sender and a receiver, both attached. */
export interface Pair {
  readonly sender: Agent;
  readonly receiver: Agent;
}

/** What to measure with. */
export interface Load {
  /** Bytes of each message. */
  readonly size: number;
  /** Length of each measurement, after a warm-up that is not counted. */
  readonly ms: number;
  /** Messages that each sender has under way where many are. */
  readonly outstanding: number;
}

/** Messages of all pairs in one measurement. */
export interface Rate {
  /** All that were sent, warm-up included. */
  readonly sent: number;
  /** Of `sent`, those that never arrived, or were never acknowledged. */
  readonly lost: number;
  /** Those that arrived, or were acknowledged, during the measurement. */
  readonly arrived: number;
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Messages that were refused, by code. */
  readonly refused: Readonly<Partial<Record<ErrorCode, number>>>;
}

/** Pairs whose receivers answer. Ends what it began with `Symbol.dispose`. */
export class Measurement implements Disposable {
  readonly #pairs: readonly Pair[];
  readonly #load: Load;
  readonly #payload: Uint8Array;
  readonly #ends: (() => void)[];
  #received = 0;

  constructor(pairs: readonly Pair[], load: Load) {
    this.#pairs = pairs;
    this.#load = load;
    this.#payload = new Uint8Array(load.size).fill(0x61);
    this.#ends = pairs.flatMap(({ receiver }) => [
      receiver.onRequest(echo, () => this.#payload),
      receiver.onMessage(() => {
        this.#received += 1;
      }),
    ]);
  }

  [Symbol.dispose](): void {
    for (const end of this.#ends) end();
  }

  /** Requests and their answers, one outstanding in each pair. Throws what the first request that fails says. */
  async roundTrips(): Promise<Distribution> {
    const micros: number[] = [];
    const ask = async ({ sender, receiver }: Pair): Promise<void> => {
      const from = performance.now();
      await sender.request(receiver.id, { method: echo, data: this.#payload }, { timeoutMs: answerMs });
      micros.push((performance.now() - from) * 1_000);
    };
    const whole = async (ms: number): Promise<void> => {
      const end = performance.now() + ms;
      await Promise.all(
        this.#pairs.map(async (pair) => {
          do await ask(pair);
          while (performance.now() < end);
        }),
      );
    };
    await whole(this.#warmUpMs);
    micros.length = 0;
    await whole(this.#load.ms);
    return distributionOf(micros);
  }

  /** Messages that nobody acknowledges, as many as leave; counted where they arrive. */
  async bestEffort(): Promise<Rate> {
    const received = this.#received;
    return await this.#flood("best-effort", () => this.#received - received);
  }

  /** Messages that the receiver's handler took and acknowledged end to end. */
  async acknowledged(): Promise<Rate> {
    return await this.#flood("reliable", (settled) => settled);
  }

  get #warmUpMs(): number {
    return Math.min(warmUpMsMax, this.#load.ms / 2);
  }

  async #flood(mode: "best-effort" | "reliable", arrivedOf: (settled: number) => number): Promise<Rate> {
    const refused: Partial<Record<ErrorCode, number>> = {};
    const [start, end] = [performance.now() + this.#warmUpMs, performance.now() + this.#warmUpMs + this.#load.ms];
    let [sent, settled] = [0, 0];
    let before: { readonly at: number; readonly arrived: number } | undefined;
    const lane = async ({ sender, receiver }: Pair): Promise<void> => {
      for (let now = performance.now(); now < end; now = performance.now()) {
        if (now >= start) before ??= { at: now, arrived: arrivedOf(settled) };
        sent += 1;
        try {
          await sender.send(receiver.id, this.#payload, { mode, timeoutMs: answerMs });
          settled += 1;
        } catch (thrown) {
          const { code } = CausewayError.from(thrown);
          refused[code] = (refused[code] ?? 0) + 1;
          if (refused[code] >= refusedMax) throw thrown;
        }
      }
    };
    const lanes = this.#pairs.flatMap((pair) => Array.from({ length: this.#load.outstanding }, () => lane(pair)));
    await Promise.all(lanes);
    const at = performance.now();
    const arrived = arrivedOf(settled) - (before?.arrived ?? 0);
    const ms = at - (before?.at ?? at);
    if (arrived === 0) {
      throw refuse("CAUSEWAY_TIMEOUT", `expected ${mode} messages to arrive within ${this.#load.ms} ms, none did`);
    }
    // What comes late is not lost.
    for (let quiet = 0, last = -1; arrivedOf(settled) < sent && quiet < quietTimesMax; ) {
      quiet = arrivedOf(settled) === last ? quiet + 1 : 0;
      last = arrivedOf(settled);
      await new Promise((resolve) => setTimeout(resolve, quietMs));
    }
    const lost = Math.max(0, sent - arrivedOf(settled));
    const messagesPerSecond = Math.round((arrived * 1_000) / ms);
    return { sent, lost, arrived, messagesPerSecond, bytesPerSecond: messagesPerSecond * this.#load.size, refused };
  }
}

const echo = "causeway-bench-echo";
const warmUpMsMax = 1_000;
const answerMs = 10_000;
const quietMs = 100;
const quietTimesMax = 5;
/** Of one code: who is refused so often measures refusals. */
const refusedMax = 100;
