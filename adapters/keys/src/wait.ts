import { later, type Random, refuse, type Scheduler } from "@causeway/core-base";

/** Resolves after `ms` on the given clock. Throws `CAUSEWAY_CANCELLED` when aborted. */
export function wait(scheduler: Scheduler, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancelled = () => refuse("CAUSEWAY_CANCELLED", "waiting was cancelled by the caller");
    if (signal.aborted) {
      reject(cancelled());
      return;
    }
    const onAbort = () => {
      cancel();
      reject(cancelled());
    };
    const cancel = scheduler.at(later(scheduler.now().instant, ms), () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** Growing pauses between tries: doubled each time between the bounds, with up to half of it left to chance. */
export class Backoff {
  readonly #random: Random;
  readonly #msMin: number;
  readonly #msMax: number;
  #next: number;

  constructor(random: Random, msMin: number, msMax: number) {
    this.#random = random;
    this.#msMin = msMin;
    this.#msMax = msMax;
    this.#next = msMin;
  }

  /** The next pause in milliseconds. */
  pause(): number {
    const ms = this.#next;
    this.#next = Math.min(this.#msMax, this.#next * 2);
    return Math.max(this.#msMin, ms * (0.5 + 0.5 * this.#random.fraction()));
  }

  /** After success. */
  reset(): void {
    this.#next = this.#msMin;
  }
}
