import type { RunningGateway } from "../system.ts";
import { type CrowdContext, counted, instancesEach, sleep, warmUpMsMin, who } from "./context.ts";
import { answers, Crowd } from "./crowd.ts";
import type { EndSpec } from "./end.ts";

/** How many hear a topic, how many of them do not read, and how long the publications are. */
export interface AudienceSpec {
  readonly subscribers: number;
  readonly stopped: number;
  readonly size: number;
}

/** What came of publishing for a while: deliveries a second to all that read and to each, and CPU-seconds for each. */
export interface Heard {
  readonly rate: number;
  readonly rateOfEach: number;
  readonly cpu: number;
}

/** One publisher and those who hear it. */
export class Audience implements AsyncDisposable {
  readonly #context: CrowdContext;
  readonly #gateway: RunningGateway;
  readonly #spec: AudienceSpec;
  readonly #hearing: Crowd;
  readonly #publishing: Crowd;
  /** Publications that are under way at most, for each that reads. */
  #ahead = 0;

  private constructor(
    context: CrowdContext,
    gateway: RunningGateway,
    spec: AudienceSpec,
    hearing: Crowd,
    publishing: Crowd,
  ) {
    this.#context = context;
    this.#gateway = gateway;
    this.#spec = spec;
    this.#hearing = hearing;
    this.#publishing = publishing;
    hearing.child.on("message", (message: unknown) => {
      if (!answers("progress")(message)) return;
      publishing.tell({ do: "allow", until: Math.floor(message.total / this.#reading) + this.#ahead });
    });
  }

  static async open(context: CrowdContext, gateway: RunningGateway, spec: AudienceSpec): Promise<Audience> {
    const topic = `${context.domain.name}/bench/publisher/news`;
    const subscribed = Array.from({ length: spec.subscribers }, (_, i): EndSpec => {
      const name = `bench/subscriber${Math.floor(i / instancesEach)}`;
      return { ...who(context, name), name, instance: `i${i % instancesEach}`, subscribe: topic };
    });
    const hearing = await Crowd.open(context.processes, gateway, subscribed);
    const publishing = await Crowd.open(context.processes, gateway, [
      { ...who(context, "bench/publisher"), target: { topic } },
    ]);
    return new Audience(context, gateway, spec, hearing, publishing);
  }

  /**
   * Publishes for a while with at most `ahead` publications under way: by default as many as keep every connection busy,
   * and few enough for every system's queues.
   */
  async publish(ahead?: number): Promise<Heard> {
    const { size, subscribers, stopped } = this.#spec;
    const { options } = this.#context;
    const reading = this.#reading;
    this.#ahead = ahead ?? Math.max(64, Math.floor(aheadBytes / (size * subscribers)));
    const reportEvery = Math.max(this.#ahead === 1 ? reading : 1, Math.floor((this.#ahead * reading) / 8));
    await this.#publishing.ask({ do: "prepare", size, isEchoing: false }, "prepare");
    await this.#hearing.ask({ do: "prepare", size, isEchoing: false, reportEvery }, "prepare");
    await this.#hearing.ask({ do: "halt", ends: Array.from({ length: stopped }, (_, i) => i) }, "halt");
    this.#publishing.tell({ do: "flood", ahead: this.#ahead });
    await sleep(Math.max(warmUpMsMin, options.warmUpMs));
    const before = await counted(this.#hearing, this.#gateway);
    await sleep(options.floodMs);
    const after = await counted(this.#hearing, this.#gateway);
    await this.#publishing.ask({ do: "stop" }, "stop");
    await this.#settle();
    const deliveries = after.total - before.total;
    if (deliveries === 0) throw new Error(`no publication arrived at ${reading} of ${subscribers} subscribers`);
    const rate = (deliveries * 1_000) / (after.at - before.at);
    return { rate, rateOfEach: rate / reading, cpu: (after.cpu - before.cpu) / deliveries };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#hearing.end(), this.#publishing.end()]);
  }

  get #reading(): number {
    return this.#spec.subscribers - this.#spec.stopped;
  }

  /** Until nothing more arrives: what is under way would be counted with the next. */
  async #settle(): Promise<void> {
    for (let last = -1; ; await sleep(settleMs)) {
      const { total } = await counted(this.#hearing, this.#gateway);
      if (total === last) return;
      last = total;
    }
  }
}

/** Of all subscribers together. */
const aheadBytes = 8_388_608;
const settleMs = 300;
