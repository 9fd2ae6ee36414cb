/** The clocks, timers and randomness of this process. The only place outside tests that reads them for the services. */
import { randomBytes, randomFillSync } from "node:crypto";
import { asInstant, asUnixMs, type Random, type Scheduler } from "@causeway/core-base";

/** Longest delay of one setTimeout; longer waits are made of several. */
const delayMsMax = 2_147_483_647;

/** Wakes at monotonic instants; a pending wake-up does not keep the process alive. */
export function createScheduler(): Scheduler {
  return {
    now: () => ({ instant: asInstant(performance.now()), unix: asUnixMs(Date.now()) }),
    at(when, run) {
      let timer: NodeJS.Timeout;
      const arm = () => {
        const left = when - performance.now();
        // A timer may fire a fraction of a millisecond early.
        const wake = () => (performance.now() < when ? arm() : run());
        timer = setTimeout(wake, Math.min(delayMsMax, Math.max(0, Math.ceil(left))));
        timer.unref();
      };
      arm();
      return () => clearTimeout(timer);
    },
  };
}

/** Cryptographic randomness. */
export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  fraction: () => (randomFillSync(new Uint32Array(1))[0] ?? 0) / 2 ** 32,
};
