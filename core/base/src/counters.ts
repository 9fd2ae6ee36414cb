/**
 * The port for counters. Counters only grow; whoever reads them computes rates. A counter is looked up once, where its
 * owner is made, and added to on the hot path.
 */

/** One monotonic counter. */
export interface Counter {
  /** Adds `amount` (default 1), which is never negative. */
  add(amount?: number): void;
}

/** Where counters come from. */
export interface Counters {
  /** The counter with this name, `causeway_<area>_<noun>_<unit>`; the same one for the same name. */
  counter(name: string): Counter;
}

const nothing: Counter = { add: () => undefined };

/** Counters that keep nothing. */
export const silentCounters: Counters = { counter: () => nothing };
