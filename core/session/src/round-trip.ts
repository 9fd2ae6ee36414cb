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
  #doublings = 0;

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

  /** Time after which what was not answered counts as lost: the measured one, doubled for each `backOff`. */
  get timeoutMs(): number {
    const { retryMsFirst, retryMsMin, retryMsMax } = this.#limits;
    const first =
      this.#smoothedMs === undefined
        ? retryMsFirst
        : Math.max(retryMsMin, this.#smoothedMs + Math.max(clockStepMs, 4 * this.#variationMs));
    return Math.min(retryMsMax, first * 2 ** this.#doublings);
  }

  /** The time-out passed without an answer. */
  backOff(): void {
    this.#doublings = Math.min(doublingsMax, this.#doublings + 1);
  }

  /** Something was answered. */
  reset(): void {
    this.#doublings = 0;
  }
}

/** Granularity of the clock (G in RFC 6298). */
const clockStepMs = 1;
const doublingsMax = 20;
