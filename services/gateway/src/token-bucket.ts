import type { Instant } from "@causeway/core-base";

/** Allows `perSecond` units each second, and `burst` at once after a pause. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: Instant;

  constructor(perSecond: number, burst: number, now: Instant) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Takes `amount` and answers true, or takes nothing and answers false. */
  take(amount: number, now: Instant): boolean {
    this.#refill(now);
    if (this.#tokens < amount) return false;
    this.#tokens -= amount;
    return true;
  }

  /** Milliseconds until `amount` will be there. */
  waitMs(amount: number): number {
    return Math.max(1, Math.ceil((amount - this.#tokens) / this.#perMs));
  }

  #refill(now: Instant): void {
    if (now <= this.#at) return;
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
}
