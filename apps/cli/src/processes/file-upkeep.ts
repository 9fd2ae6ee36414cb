/** Files that follow something which changes: one write at a time, and one that failed is repeated until one succeeds. */
import { defaults, type Log, later, type Scheduler } from "@causeway/core-base";

export interface FileUpkeepOptions {
  /** Writes what is to be there now. */
  readonly write: () => Promise<void>;
  /** Calls the listener after each change; returns the function that ends it. */
  readonly onChange: (listener: () => void) => () => void;
  readonly scheduler: Scheduler;
  readonly log: Log;
  /** Where the files are, for the log. */
  readonly directory: string;
}

/** Writes the files anew after each change, from now until `stop`; `renew` writes them the first time. */
export class FileUpkeep {
  readonly #options: FileUpkeepOptions;
  #latest: Promise<void> = Promise.resolve();
  #pauseMs: number = defaults.reconnectMsMin;
  #cancelRepeat: (() => void) | undefined;
  #isStopped = false;
  readonly #endChanges: () => void;

  constructor(options: FileUpkeepOptions) {
    this.#options = options;
    this.#endChanges = options.onChange(() => void this.renew());
  }

  /**
   * Writes after what is under way. Rejects when that fails; it is repeated by itself then, after
   * `defaults.reconnectMsMin` at first and twice as long each time, up to `defaults.reconnectMsMax`.
   */
  renew(): Promise<void> {
    const attempt = () => this.#attempt();
    const written = this.#latest.then(attempt, attempt);
    this.#latest = written;
    // Nobody may wait for this one; the log has the failure.
    written.catch(() => undefined);
    return written;
  }

  /** The outcome of the latest write. */
  get latest(): Promise<void> {
    return this.#latest;
  }

  /** Repeats nothing any more; resolves when no write is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#endChanges();
    this.#cancelRepeat?.();
    await this.#latest.catch(() => undefined);
  }

  async #attempt(): Promise<void> {
    const { write, log, directory } = this.#options;
    this.#cancelRepeat?.();
    try {
      await write();
      this.#pauseMs = defaults.reconnectMsMin;
    } catch (thrown) {
      log.error("monitor.files_not_written", { directory, againInMs: this.#pauseMs }, thrown);
      this.#repeatLater();
      throw thrown;
    }
  }

  #repeatLater(): void {
    if (this.#isStopped) return;
    const { scheduler } = this.#options;
    this.#cancelRepeat = scheduler.at(later(scheduler.now().instant, this.#pauseMs), () => void this.renew());
    this.#pauseMs = Math.min(defaults.reconnectMsMax, this.#pauseMs * 2);
  }
}
