/** Calls of one kind by each caller, as a token bucket that refills over a minute (ANA-47, ANA-48). */
import { type Instant, refuse, type TableSize } from "@causeway/core-base";

const minuteMs = 60_000;
/** Callers that are remembered. A full bucket is forgotten first, since it says the same as none. */
const callersMax = 100_000;

interface Bucket {
  tokens: number;
  at: Instant;
}

export class CallLimit {
  readonly #perMinute: () => number;
  readonly #what: string;
  readonly #name: string;
  readonly #buckets = new Map<string, Bucket>();

  /** `perMinute` is asked for each time, `what` are the calls in words, `name` the setting. */
  constructor(perMinute: () => number, what: string, name: string) {
    this.#perMinute = perMinute;
    this.#what = what;
    this.#name = name;
  }

  /** Callers that are remembered, of at most so many. */
  get size(): TableSize {
    return { entries: this.#buckets.size, entriesMax: callersMax };
  }

  /** Takes one call. Throws `CAUSEWAY_LIMIT_RATE` with the time to wait. */
  take(caller: string, now: Instant): void {
    const perMinute = this.#perMinute();
    const held = this.#buckets.get(caller);
    const bucket = held ?? { tokens: perMinute, at: now };
    bucket.tokens = Math.min(perMinute, bucket.tokens + ((now - bucket.at) / minuteMs) * perMinute);
    bucket.at = now;
    if (held === undefined) {
      if (this.#buckets.size >= callersMax) this.#forget(now);
      this.#buckets.set(caller, bucket);
    }
    if (bucket.tokens < 1) {
      const retryAfterMs = Math.ceil(((1 - bucket.tokens) / perMinute) * minuteMs);
      throw refuse(
        "CAUSEWAY_LIMIT_RATE",
        `expected at most ${perMinute} ${this.#what} a minute; retry in ${retryAfterMs} ms`,
        {
          retryAfterMs,
          details: { limit: this.#name, value: String(perMinute) },
        },
      );
    }
    bucket.tokens -= 1;
  }

  #forget(now: Instant): void {
    for (const [caller, bucket] of this.#buckets) {
      if (now - bucket.at >= minuteMs) this.#buckets.delete(caller);
    }
    const oldest = this.#buckets.keys().next().value;
    if (this.#buckets.size >= callersMax && oldest !== undefined) this.#buckets.delete(oldest);
  }
}
