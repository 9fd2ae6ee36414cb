import { asInstant, asUnixMs, type Scheduler } from "@causeway/core-base";

/** A clock that stands still until a test moves it, with the real event loop between two timers. */
export class ManualScheduler implements Scheduler {
  #ms = 0;
  #startUnixMs: number;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  constructor(startUnixMs = Date.UTC(2026, 10, 21)) {
    this.#startUnixMs = startUnixMs;
  }

  now() {
    return { instant: asInstant(this.#ms), unix: asUnixMs(this.#startUnixMs + this.#ms) };
  }

  at(when: number, run: () => void): () => void {
    const timer = { at: when, run };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Moves time forward and fires what falls due, letting pending work finish before each timer. */
  async advance(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await settle();
    for (;;) {
      const next = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#ms = Math.max(this.#ms, next.at);
      this.#timers.delete(next);
      next.run();
      await settle();
    }
    this.#ms = end;
    await settle();
  }

  /** The wall clock goes on while the monotonic one stands still, as on a suspended machine. */
  suspend(ms: number): void {
    this.#startUnixMs += ms;
  }

  /** Moves time without firing anything, as a machine that was switched off. */
  skip(ms: number): void {
    this.#ms += ms;
  }
}

/** Lets promises, streams of the in-memory transport and file operations run. */
export async function settle(turns = 40): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}
