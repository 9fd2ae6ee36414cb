/** Time that a test owns: nothing happens until it is moved. */
import { asInstant, asUnixMs, type Instant, type Now, type Scheduler } from "@causeway/core-base";

interface Timer {
  readonly when: Instant;
  readonly order: number;
  readonly run: () => void;
}

export class ManualClock implements Scheduler {
  #ms = 1_000;
  readonly #startUnixMs: number;
  readonly #timers = new Set<Timer>();
  #order = 0;

  /** `startUnixMs` is the wall clock at the beginning; today by default, since the MLS library reads the real one. */
  constructor(startUnixMs = Date.now()) {
    this.#startUnixMs = startUnixMs;
  }

  now(): Now {
    return { instant: asInstant(this.#ms), unix: asUnixMs(this.#startUnixMs + this.#ms) };
  }

  at(when: Instant, run: () => void): () => void {
    const timer = { when, order: this.#order++, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves time on, running what becomes due, in order, and letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await turns();
    for (let timer = this.#next(end); timer; timer = this.#next(end)) {
      this.#fire(timer);
      await turns();
    }
    this.#ms = end;
  }

  /** Waits for `work`, moving time on whenever nothing else can happen. Fails when that would go on for `limitMs`. */
  async until<T>(work: Promise<T>, limitMs = 3_600_000): Promise<T> {
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    work.then(done, done);
    const end = this.#ms + limitMs;
    for (;;) {
      await turns();
      if (isDone) return work;
      const timer = this.#next(end);
      if (!timer)
        throw new Error(`expected the work to end within ${limitMs} ms of virtual time, and nothing more is due`);
      this.#fire(timer);
    }
  }

  /** Timers that wait. */
  get waiting(): number {
    return this.#timers.size;
  }

  #next(end: number): Timer | undefined {
    let best: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.when > end) continue;
      if (!best || timer.when < best.when || (timer.when === best.when && timer.order < best.order)) best = timer;
    }
    return best;
  }

  #fire(timer: Timer): void {
    this.#timers.delete(timer);
    this.#ms = Math.max(this.#ms, timer.when);
    timer.run();
  }
}

/** Lets everything that is ready run, including what it makes ready. */
async function turns(): Promise<void> {
  for (let i = 0; i < turnsPerStep; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

const turnsPerStep = 4;
