import type { Log, LogValue } from "@causeway/core-base";
import { type DestinationStream, type Logger, pino } from "pino";

/** Severity below which lines are left out. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Facts of a log line. */
export type LogFields = Readonly<Record<string, LogValue>>;

/** A log that can bind facts to all lines of a part. */
export interface BoundLog extends Log {
  /** A log that adds `fields` to every line. */
  bind(fields: LogFields): BoundLog;
}

/** Options of `createLog`. */
export interface LogOptions {
  /** Default info. */
  readonly level?: LogLevel;
  /** Facts of every line, for example the service and its SPIFFE ID. */
  readonly fields?: LogFields;
  /** Where lines go. Default standard error, so that standard output stays for results. */
  readonly destination?: DestinationStream;
}

/** Logs JSON lines: `time`, `level`, `event`, the fields, and for errors `error` with code, message, cause and stack. */
export function createLog(options: LogOptions = {}): BoundLog {
  const logger = pino(
    {
      base: null,
      level: options.level ?? "info",
      messageKey: "event",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
    },
    options.destination ?? pino.destination({ fd: 2, sync: true }),
  );
  return new PinoLog(options.fields === undefined ? logger : logger.child(plain(options.fields)));
}

class PinoLog implements BoundLog {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled("debug")) this.#logger.debug(plain(fields), event);
  }

  info(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled("info")) this.#logger.info(plain(fields), event);
  }

  warn(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled("warn")) this.#logger.warn(plain(fields), event);
  }

  error(event: string, fields?: LogFields, cause?: unknown): void {
    if (!this.#logger.isLevelEnabled("error")) return;
    this.#logger.error(cause === undefined ? plain(fields) : { ...plain(fields), error: cause }, event);
  }

  bind(fields: LogFields): BoundLog {
    return new PinoLog(this.#logger.child(plain(fields)));
  }
}

/** JSON has no bigint: written as decimal text. Keys that pino writes itself get a trailing underscore. */
function plain(fields: LogFields | undefined): Record<string, string | number | boolean | undefined> {
  const out: Record<string, string | number | boolean | undefined> = {};
  if (fields === undefined) return out;
  for (const [key, value] of Object.entries(fields)) {
    out[reservedKeys.has(key) ? `${key}_` : key] = typeof value === "bigint" ? value.toString() : value;
  }
  return out;
}

/** What a line says of an error, causes included. */
function describeError(thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
  return {
    name: thrown.name,
    ...(code !== undefined && { code }),
    message: thrown.message,
    stack: thrown.stack,
    ...(thrown.cause !== undefined && depth < causeDepthMax && { cause: describeError(thrown.cause, depth + 1) }),
  };
}

const reservedKeys: ReadonlySet<string> = new Set(["time", "level", "event", "error"]);
const causeDepthMax = 4;
