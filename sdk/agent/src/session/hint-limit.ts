/** How often this agent tells others that it lacks a security context: a forged flood must not become an answer flood. */
import type { Scheduler } from "@causeway/core-base";

export class HintLimit {
  readonly #scheduler: Scheduler;
  readonly #windows = new Map<string, { startedAt: number; count: number }>();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Counts one hint to `peer`; false when it has had enough of them in this window. */
  allows(peer: string): boolean {
    const now = this.#scheduler.now().instant;
    const window = this.#windows.get(peer);
    if (window && now - window.startedAt < windowMs) return ++window.count <= hintsPerWindow;
    this.#windows.delete(peer);
    this.#windows.set(peer, { startedAt: now, count: 1 });
    if (this.#windows.size > peersMax) {
      const oldest = this.#windows.keys().next();
      if (!oldest.done) this.#windows.delete(oldest.value);
    }
    return true;
  }
}

const windowMs = 10_000;
const hintsPerWindow = 100;
const peersMax = 4_096;
