/**
 * The pace of what comes in: a process that cannot keep up holds its gateway back. Not while an answer is awaited over
 * the same link, since processing may be what waits for it.
 */

import type { SessionLimits } from "@causeway/core-session";
import type { agp } from "@causeway/core-wire";

export interface IntakePorts {
  readonly limits: Pick<SessionLimits, "receivingMax" | "receivingBytesMax">;
  readonly process: (envelope: agp.Envelope) => Promise<void>;
  readonly pause: () => void;
  readonly resume: () => void;
  /** A message was dropped because nothing else was left; its sender repeats it. */
  readonly onDrop: () => void;
}

export class Intake {
  readonly #ports: IntakePorts;
  #count = 0;
  #bytes = 0;
  #awaited = 0;
  #isPaused = false;

  constructor(ports: IntakePorts) {
    this.#ports = ports;
  }

  take(envelope: agp.Envelope): void {
    const { limits, process, onDrop } = this.#ports;
    const bytes = envelope.payload.length;
    if (this.#count >= hardFactor * limits.receivingMax || this.#bytes >= hardFactor * limits.receivingBytesMax) {
      onDrop();
      return;
    }
    this.#count++;
    this.#bytes += bytes;
    this.#regulate();
    void process(envelope).finally(() => {
      this.#count--;
      this.#bytes -= bytes;
      this.#regulate();
    });
  }

  /** Keeps reading while `work` waits for something that comes over the link. */
  async awaiting<T>(work: () => Promise<T>): Promise<T> {
    this.#awaited++;
    this.#regulate();
    try {
      return await work();
    } finally {
      this.#awaited--;
      this.#regulate();
    }
  }

  /** There is another link, which is not paused. */
  reset(): void {
    this.#isPaused = false;
  }

  #regulate(): void {
    const { limits, pause, resume } = this.#ports;
    const isFull = this.#count >= limits.receivingMax || this.#bytes >= limits.receivingBytesMax;
    const isLow = this.#count <= limits.receivingMax / 2 && this.#bytes <= limits.receivingBytesMax / 2;
    if (isFull && !this.#isPaused && this.#awaited === 0) {
      this.#isPaused = true;
      pause();
    } else if (this.#isPaused && (isLow || this.#awaited > 0)) {
      this.#isPaused = false;
      resume();
    }
  }
}

/** How far above the bounds messages are taken while reading may not pause. */
const hardFactor = 8;
