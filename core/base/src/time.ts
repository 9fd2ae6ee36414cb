/** Two kinds of time that never mix: a monotonic instant for timers, and Unix time for what crosses a wire. */
declare const kind: unique symbol;

/** Monotonic milliseconds since an arbitrary start. Drives every timer of a machine. */
export type Instant = number & { readonly [kind]: "Instant" };
/** Milliseconds since 1970-01-01T00:00:00Z. For certificates, expiry and record timestamps. */
export type UnixMs = number & { readonly [kind]: "UnixMs" };

/** Both clocks, read together at the edge and handed in. */
export interface Now {
  readonly instant: Instant;
  readonly unix: UnixMs;
}

/** Marks a number as monotonic milliseconds. */
export const asInstant = (ms: number): Instant => ms as Instant;
/** Marks a number as Unix milliseconds. */
export const asUnixMs = (ms: number): UnixMs => ms as UnixMs;
/** A later instant. */
export const later = (from: Instant, ms: number): Instant => (from + ms) as Instant;
/** The earlier of two optional deadlines. */
export function earliest(...deadlines: readonly (Instant | undefined)[]): Instant | undefined {
  let best: Instant | undefined;
  for (const d of deadlines) if (d !== undefined && (best === undefined || d < best)) best = d;
  return best;
}
