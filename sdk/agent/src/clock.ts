/** Waiting on an injected clock, so that tests own time. */
import { type Instant, later, refuse, type Scheduler } from "@causeway/core-base";

/** Resolves after `ms`; rejects with `CAUSEWAY_CANCELLED` when aborted. */
export function sleep(scheduler: Scheduler, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(cancelled(signal));
      return;
    }
    const onAbort = (): void => {
      stop();
      reject(signal ? cancelled(signal) : undefined);
    };
    const stop = scheduler.at(later(scheduler.now().instant, ms), () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Runs `run` in a later turn of the process, when it has read what there is to read. */
export function inNextTurn(
  ports: { readonly scheduler: Scheduler; nextTurn?(run: () => void): void },
  run: () => void,
): void {
  if (ports.nextTurn) ports.nextTurn(run);
  else ports.scheduler.at(ports.scheduler.now().instant, run);
}

/** Bounds of a wait. */
export interface Wait {
  readonly scheduler: Scheduler;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Completes "expected …" in the time-out's message. */
  readonly expected: string;
}

/** Waits for `work`; rejects with `CAUSEWAY_TIMEOUT` or `CAUSEWAY_CANCELLED` when that comes first. */
export async function within<T>(work: Promise<T>, wait: Wait): Promise<T> {
  const { scheduler, timeoutMs, signal, expected } = wait;
  let end: () => void = () => undefined;
  const limit = new Promise<never>((_, reject) => {
    if (signal?.aborted) {
      reject(cancelled(signal));
      return;
    }
    const onAbort = (): void => reject(signal ? cancelled(signal) : undefined);
    signal?.addEventListener("abort", onAbort, { once: true });
    const stop = scheduler.at(later(scheduler.now().instant, timeoutMs), () =>
      reject(
        refuse("CAUSEWAY_TIMEOUT", `expected ${expected} within ${timeoutMs} ms, got nothing; the outcome is unknown`),
      ),
    );
    end = () => {
      stop();
      signal?.removeEventListener("abort", onAbort);
    };
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    end();
    // The loser of the race may still reject; its reason is of no interest any more.
    work.catch(() => undefined);
    limit.catch(() => undefined);
  }
}

/** The error of an aborted call; the reason of the signal stays its cause. */
export function cancelled(signal: AbortSignal): Error {
  return refuse("CAUSEWAY_CANCELLED", "the caller cancelled the operation", { cause: signal.reason });
}

/**
 * Keeps one wake-up armed for whatever is due next. When that is put off, the armed one stays and looks again: what
 * changes with every message would make and cancel a timer for each otherwise.
 */
export class WakeUp {
  readonly #scheduler: Scheduler;
  readonly #run: () => void;
  #at: Instant | undefined;
  #armedAt: Instant | undefined;
  #cancel: () => void = () => undefined;

  constructor(scheduler: Scheduler, run: () => void) {
    this.#scheduler = scheduler;
    this.#run = run;
  }

  /** Arms for `at`, or disarms. */
  set(at: Instant | undefined): void {
    this.#at = at;
    if (at === undefined) {
      this.#cancel();
      this.#armedAt = undefined;
    } else if (this.#armedAt === undefined || at < this.#armedAt) this.#arm(at);
  }

  #arm(at: Instant): void {
    this.#cancel();
    this.#armedAt = at;
    this.#cancel = this.#scheduler.at(at, () => {
      this.#armedAt = undefined;
      const due = this.#at;
      if (due === undefined) return;
      if (due > this.#scheduler.now().instant) this.#arm(due);
      else {
        this.#at = undefined;
        this.#run();
      }
    });
  }
}
