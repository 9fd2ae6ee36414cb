import { type Instant, refuse } from "@causeway/core-base";

/** Allows `perSecond` units each second, and `burst` at once after a pause. */
export class TokenBucket {
  #perMs: number;
  #burst: number;
  #tokens: number;
  #at: Instant;

  constructor(perSecond: number, burst: number, now: Instant) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /**
   * Takes `amount` and answers true, or takes nothing and answers false. `isWhole`: what is larger than the burst passes
   * when the bucket is full, and is owed; it could never pass otherwise.
   */
  take(amount: number, now: Instant, isWhole = false): boolean {
    this.#refill(now);
    const needed = isWhole ? Math.min(amount, this.#burst) : amount;
    if (this.#tokens < needed) return false;
    this.#tokens -= amount;
    return true;
  }

  /** Milliseconds until `amount` will be there, or the bucket full when it holds less than that. */
  waitMs(amount: number): number {
    return Math.max(1, Math.ceil((Math.min(amount, this.#burst) - this.#tokens) / this.#perMs));
  }

  /** Another rate from now on. What was saved up stays, as far as the new burst allows. */
  setRate(perSecond: number, burst: number): void {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#tokens = Math.min(this.#tokens, burst);
  }

  #refill(now: Instant): void {
    if (now <= this.#at) return;
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
}

/** An allowance for each caller. Beyond `keysMax` callers the one that was heard of longest ago starts anew. */
export class CallerRates {
  readonly #limit: string;
  readonly #amount: () => number;
  readonly #perMs: number;
  readonly #keysMax: () => number;
  readonly #buckets = new Map<string, TokenBucket>();

  /** `amount` for each `perMs`, and at once after a pause, asked for each time. `limit` is the name in refusals. */
  constructor(limit: string, amount: () => number, perMs: number, keysMax: () => number = () => 10_000) {
    this.#limit = limit;
    this.#amount = amount;
    this.#perMs = perMs;
    this.#keysMax = keysMax;
  }

  /** Counts a request of `caller`, or what it weighs. Throws CAUSEWAY_LIMIT_RATE with the time to wait. */
  check(caller: string, now: Instant, weight = 1): void {
    const amount = this.#amount();
    const held = this.#buckets.get(caller);
    const perSecond = (amount * 1_000) / this.#perMs;
    const bucket = held ?? new TokenBucket(perSecond, amount, now);
    bucket.setRate(perSecond, amount);
    // A map keeps the order of insertion: the first is the one that was heard of longest ago.
    if (held !== undefined) this.#buckets.delete(caller);
    else if (this.#buckets.size >= this.#keysMax()) this.#forgetOldest();
    this.#buckets.set(caller, bucket);
    if (bucket.take(weight, now)) return;
    throw refuse("CAUSEWAY_LIMIT_RATE", `${caller} is over ${this.#limit}: at most ${amount}`, {
      retryAfterMs: bucket.waitMs(weight),
      details: { limit: this.#limit },
    });
  }

  #forgetOldest(): void {
    for (const caller of this.#buckets.keys()) {
      this.#buckets.delete(caller);
      return;
    }
  }
}
