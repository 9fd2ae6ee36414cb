/**
 * The measured round trip to one peer and the time-out for retransmissions that follows from it (RFC 6298). Only what
 * was transmitted once is measured (Karn): of a repetition nobody knows which copy was answered.
 */
export interface RoundTripLimits {
  readonly retryMsFirst: number;
  readonly retryMsMin: number;
  readonly retryMsMax: number;
}

export class RoundTrip {
  readonly #limits: RoundTripLimits;
  #smoothedMs: number | undefined;
  #variationMs = 0;

  constructor(limits: RoundTripLimits) {
    this.#limits = limits;
  }

  /** Smoothed round trip; undefined before the first measurement. */
  get smoothedMs(): number | undefined {
    return this.#smoothedMs;
  }

  /** RFC 6298 section 2. */
  measure(ms: number): void {
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = ms;
      this.#variationMs = ms / 2;
      return;
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - ms) - this.#variationMs) / 4;
    this.#smoothedMs += (ms - this.#smoothedMs) / 8;
  }

  /** Wait before the next repetition of what was transmitted `attempts` times: doubled each time, within the bounds. */
  timeoutMs(attempts: number): number {
    const { retryMsFirst, retryMsMin, retryMsMax } = this.#limits;
    const first =
      this.#smoothedMs === undefined
        ? retryMsFirst
        : Math.max(retryMsMin, this.#smoothedMs + Math.max(clockStepMs, 4 * this.#variationMs));
    return Math.min(retryMsMax, first * 2 ** Math.min(Math.max(0, attempts - 1), 20));
  }
}

/** Granularity of the clock (G in RFC 6298). */
const clockStepMs = 1;
