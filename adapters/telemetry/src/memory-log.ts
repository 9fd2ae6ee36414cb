import type { Log, LogValue } from "@causeway/core-base";

/** One line kept by a `MemoryLog`. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly event: string;
  readonly fields: Readonly<Record<string, LogValue>>;
  readonly cause?: unknown;
}

/** A log for tests: keeps the newest lines. */
export class MemoryLog implements Log {
  readonly #lines: LogLine[] = [];
  readonly #linesMax: number;

  /** Keeps at most `linesMax` lines (default 10,000); the oldest go first. */
  constructor(linesMax = 10_000) {
    this.#linesMax = linesMax;
  }

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  /** The lines of one event. */
  of(event: string): readonly LogLine[] {
    return this.#lines.filter((line) => line.event === event);
  }

  clear(): void {
    this.#lines.length = 0;
  }

  debug(event: string, fields: LogLine["fields"] = {}): void {
    this.#keep({ level: "debug", event, fields });
  }

  info(event: string, fields: LogLine["fields"] = {}): void {
    this.#keep({ level: "info", event, fields });
  }

  warn(event: string, fields: LogLine["fields"] = {}): void {
    this.#keep({ level: "warn", event, fields });
  }

  error(event: string, fields: LogLine["fields"] = {}, cause?: unknown): void {
    this.#keep({ level: "error", event, fields, ...(cause !== undefined && { cause }) });
  }

  #keep(line: LogLine): void {
    if (this.#lines.length >= this.#linesMax) this.#lines.splice(0, Math.ceil(this.#linesMax / 10));
    this.#lines.push(line);
  }
}
