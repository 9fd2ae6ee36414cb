/** The two clocks of one process, each wrong in its own way, and the timer that wakes a machine by them. */
import { asInstant, asUnixMs, type Instant, type Now } from "@causeway/core-base";
import { testNow } from "@causeway/core-identity/testing";
import type { EventQueue, SimEvent } from "./event-queue.ts";

/** How wrong a node's clocks are. */
export interface ClockFault {
  /** Both clocks run faster by this fraction. */
  readonly drift: number;
  /** Unix time is ahead by so much. */
  readonly skewMs: number;
}

/** Clocks from the start of a process on; the monotonic one begins at an arbitrary point. */
export class LocalClock {
  readonly #bootAt: number;
  readonly #start: number;
  readonly #rate: number;
  readonly #skewMs: number;

  constructor(bootAt: number, start: number, fault: ClockFault) {
    this.#bootAt = bootAt;
    this.#start = start;
    this.#rate = 1 + fault.drift;
    this.#skewMs = fault.skewMs;
  }

  at(worldMs: number): Now {
    const instant = Math.floor(this.#start + (worldMs - this.#bootAt) * this.#rate);
    const unix = testNow + this.#skewMs + Math.floor(worldMs * this.#rate);
    return { instant: asInstant(instant), unix: asUnixMs(unix) };
  }

  /** The first millisecond of the world at which the local deadline is reached. */
  worldTimeOf(deadline: Instant): number {
    const at = Math.ceil(this.#bootAt + (deadline - this.#start) / this.#rate);
    return this.at(at).instant >= deadline ? at : at + 1;
  }
}

/** Wakes one machine at its deadline. */
export class Alarm {
  readonly #queue: EventQueue;
  readonly #label: string;
  readonly #ring: () => void;
  #event: SimEvent | undefined;

  constructor(queue: EventQueue, label: string, ring: () => void) {
    this.#queue = queue;
    this.#label = label;
    this.#ring = ring;
  }

  /** `at` in time of the world; undefined for never. */
  arm(at: number | undefined): void {
    if (this.#event !== undefined) {
      if (this.#event.at === at) return;
      this.#event.isCancelled = true;
      this.#event = undefined;
    }
    if (at === undefined) return;
    this.#event = this.#queue.push(at, this.#label, () => {
      this.#event = undefined;
      this.#ring();
    });
  }
}
