import type { Log, LogValue, Scheduler } from "@causeway/core-base";
import { TokenBucket } from "./token-bucket.ts";

type Fields = Readonly<Record<string, LogValue>>;

/**
 * Log lines that a stranger can cause: at most `perSecond` of them, and the number of those left out with the next one
 * that is written. Without the bound, bad input would fill the disk.
 */
export class BoundedLog {
  readonly #log: Log;
  readonly #scheduler: Scheduler;
  readonly #bucket: TokenBucket;
  #leftOut = 0;

  constructor(log: Log, scheduler: Scheduler, perSecond = 20) {
    this.#log = log;
    this.#scheduler = scheduler;
    this.#bucket = new TokenBucket(perSecond, perSecond * 5, scheduler.now().instant);
  }

  info(event: string, fields: Fields): void {
    this.#write("info", event, fields);
  }

  warn(event: string, fields: Fields): void {
    this.#write("warn", event, fields);
  }

  #write(level: "info" | "warn", event: string, fields: Fields): void {
    if (!this.#bucket.take(1, this.#scheduler.now().instant)) {
      this.#leftOut++;
      return;
    }
    this.#log[level](event, this.#leftOut > 0 ? { ...fields, leftOut: this.#leftOut } : fields);
    this.#leftOut = 0;
  }
}
