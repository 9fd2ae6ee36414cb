/** A log for lines that strangers can cause at will: without a bound, bad input would fill the disk. */
import type { Log, LogValue } from "./ports.ts";
import type { Instant } from "./time.ts";

type Fields = Readonly<Record<string, LogValue>>;

/** Lines that a bounded log writes each second. */
export const boundedLogPerSecond = 20;
/** Seconds' worth of lines that may be written at once after a pause. */
const burstSeconds = 5;

/**
 * Passes at most `perSecond` lines on to `log`, and five times as many at once after a pause. The next line that is
 * passed on after some were left out says how many in `leftOut`. Debug lines pass freely: who asks for them wants all.
 */
export function boundLog(log: Log, clock: () => Instant, perSecond: number = boundedLogPerSecond): Log {
  let room = perSecond * burstSeconds;
  let at = clock();
  let leftOut = 0;
  const pass = (fields: Fields | undefined): Fields | undefined => {
    const now = clock();
    room = Math.min(perSecond * burstSeconds, room + ((now - at) / 1_000) * perSecond);
    at = now;
    if (room < 1) {
      leftOut += 1;
      return undefined;
    }
    room -= 1;
    const passed = leftOut > 0 ? { ...fields, leftOut } : (fields ?? {});
    leftOut = 0;
    return passed;
  };
  const line =
    (level: "info" | "warn") =>
    (event: string, fields?: Fields): void => {
      const passed = pass(fields);
      if (passed !== undefined) log[level](event, passed);
    };
  return {
    debug: (event, fields) => log.debug(event, fields),
    info: line("info"),
    warn: line("warn"),
    error(event, fields, cause) {
      const passed = pass(fields);
      if (passed !== undefined) log.error(event, passed, cause);
    },
  };
}
