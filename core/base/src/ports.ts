/**
 * Ports that every long-running service takes as arguments: the clocks with one way to be woken, and the log. They are
 * types only; adapters implement them, tests pass manual ones.
 */
import type { Instant, Now } from "./time.ts";

/** Both clocks, and a wake-up call. A manual implementation lets a test own time. */
export interface Scheduler {
  now(): Now;
  /** Calls `run` once at or after `when`, never synchronously. The returned function cancels it. */
  at(when: Instant, run: () => void): () => void;
}

/** A serialisable fact of a log line. */
export type LogValue = string | number | bigint | boolean | undefined;

/**
 * Structured log. An event is `area.noun_verbed`; values are identifiers, sizes and codes, never a payload, a key or a
 * token.
 */
export interface Log {
  debug(event: string, fields?: Readonly<Record<string, LogValue>>): void;
  info(event: string, fields?: Readonly<Record<string, LogValue>>): void;
  warn(event: string, fields?: Readonly<Record<string, LogValue>>): void;
  error(event: string, fields?: Readonly<Record<string, LogValue>>, cause?: unknown): void;
}

/** A log that keeps nothing. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
