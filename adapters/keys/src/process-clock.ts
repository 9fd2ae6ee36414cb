import { randomBytes } from "node:crypto";
import { asInstant, asUnixMs, type Random, type Scheduler } from "@causeway/core-base";

/** The clocks and timers of this process. */
export const processScheduler: Scheduler = {
  now: () => ({ instant: asInstant(performance.now()), unix: asUnixMs(Date.now()) }),
  at: (when, run) => {
    const timer = setTimeout(run, Math.max(0, Math.min(when - performance.now(), timerMsMax)));
    return () => clearTimeout(timer);
  },
};

/** Randomness of this process. */
export const processRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
};

/** setTimeout takes at most this; the keeper never waits longer than a minute at once. */
const timerMsMax = 2 ** 31 - 1;
