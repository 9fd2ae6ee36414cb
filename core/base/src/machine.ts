/**
 * The contract of every protocol machine: synchronous, without clock, randomness, sockets or promises. Inputs
 * (`handle…`) and commands change state and queue effects; the driver drains until empty before the next one, performs
 * the effects in order, and calls `handleTimeout` at `deadline()`.
 */
import type { Instant, Now } from "./time.ts";

/** What a machine offers its driver. */
export interface Machine<Effect> {
  /** Effects queued by the last input or command, in the order in which they have to be performed. Empties the queue. */
  drain(): readonly Effect[];
  /** When `handleTimeout` is due; undefined when no timer runs. */
  deadline(): Instant | undefined;
  /** Fires every timer that is due at `now`. */
  handleTimeout(now: Now): void;
}

/** Injected randomness. A simulator seeds it. */
export interface Random {
  /** Fresh random bytes. */
  bytes(length: number): Uint8Array;
  /** In [0, 1). */
  fraction(): number;
}

/** Named timers with one deadline to the outside. */
export class Timers<Name extends string> {
  readonly #due = new Map<Name, Instant>();

  set(name: Name, at: Instant): void {
    this.#due.set(name, at);
  }

  clear(name: Name): void {
    this.#due.delete(name);
  }

  clearAll(): void {
    this.#due.clear();
  }

  at(name: Name): Instant | undefined {
    return this.#due.get(name);
  }

  deadline(): Instant | undefined {
    let best: Instant | undefined;
    for (const at of this.#due.values()) if (best === undefined || at < best) best = at;
    return best;
  }

  /** Removes and returns the timers due at `now`, earliest first. */
  takeDue(now: Instant): readonly Name[] {
    const due = [...this.#due].filter(([, at]) => at <= now).sort((a, b) => a[1] - b[1]);
    for (const [name] of due) this.#due.delete(name);
    return due.map(([name]) => name);
  }
}
