/**
 * Hold-down for records whose status flaps (AMSP-29). Each change of status adds a penalty that halves with time; above
 * one threshold changes stay here, below another the latest goes out. Only what others are told is damped: the local
 * table follows at once, and changes of content and withdrawals always pass.
 */
import { type Instant, later } from "@causeway/core-base";

export class StatusDamper {
  readonly #penalties = new Map<string, { value: number; at: Instant }>();
  readonly #releases = new Map<string, Instant>();

  /** Counts a change of status. Returns when it may go out, or undefined when it may go out now. */
  note(key: string, now: Instant): Instant | undefined {
    const value = Math.min(this.#decayed(key, now) + penaltyPerChange, penaltyMax);
    this.#penalties.set(key, { value, at: now });
    if (value <= suppressAbove && !this.#releases.has(key)) return undefined;
    const release = later(now, Math.ceil(halfLifeMs * Math.log2(value / reuseBelow)));
    this.#releases.set(key, release);
    return release;
  }

  isSuppressed(key: string): boolean {
    return this.#releases.has(key);
  }

  /** Keys whose hold-down has ended; they are no longer suppressed. */
  takeReleased(now: Instant): readonly string[] {
    const released = [...this.#releases].filter(([, at]) => at <= now).map(([key]) => key);
    for (const key of released) this.#releases.delete(key);
    for (const [key] of this.#penalties) if (this.#decayed(key, now) < penaltyForgotten) this.#penalties.delete(key);
    return released;
  }

  forget(key: string): void {
    this.#penalties.delete(key);
    this.#releases.delete(key);
  }

  /** When `takeReleased` is due. */
  deadline(): Instant | undefined {
    let due: Instant | undefined;
    for (const at of this.#releases.values()) if (due === undefined || at < due) due = at;
    return due;
  }

  #decayed(key: string, now: Instant): number {
    const penalty = this.#penalties.get(key);
    return penalty === undefined ? 0 : penalty.value * 2 ** ((penalty.at - now) / halfLifeMs);
  }
}

const penaltyPerChange = 1_000;
const suppressAbove = 3_500;
const reuseBelow = 1_500;
/** Bounds the hold-down to two half-lives after the last change. */
const penaltyMax = 6_000;
const penaltyForgotten = 100;
const halfLifeMs = 15_000;
