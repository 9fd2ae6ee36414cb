/** How often something may be done because of one other agent: a forged flood must not become a flood of reactions. */
import type { Scheduler } from "@causeway/core-base";

export class Rate {
  readonly #scheduler: Scheduler;
  readonly #countMax: number;
  readonly #windowMs: number;
  readonly #windows = new Map<string, { startedAt: number; count: number }>();

  /** At most `countMax` times for each agent in `windowMs`. */
  constructor(scheduler: Scheduler, countMax: number, windowMs: number) {
    this.#scheduler = scheduler;
    this.#countMax = countMax;
    this.#windowMs = windowMs;
  }

  /** Counts once for `peer`; false when it has had enough in this window. */
  allows(peer: string): boolean {
    const now = this.#scheduler.now().instant;
    const window = this.#windows.get(peer);
    if (window && now - window.startedAt < this.#windowMs) return ++window.count <= this.#countMax;
    this.#windows.delete(peer);
    this.#windows.set(peer, { startedAt: now, count: 1 });
    if (this.#windows.size > peersMax) {
      const oldest = this.#windows.keys().next();
      if (!oldest.done) this.#windows.delete(oldest.value);
    }
    return true;
  }
}

const peersMax = 4_096;
