/**
 * The pace of what comes in: a process that cannot keep up holds its gateway back. Not while an answer is awaited over
 * the same link, since processing may be what waits for it. Bulk waits here while anything else that was read is
 * processed, and lets the process read on after each part of it (BEY-1).
 */

import type { SessionLimits } from "@causeway/core-session";
import { agp } from "@causeway/core-wire";

/** `From` is where messages come from, when there are several such places. */
export interface IntakePorts<From = undefined> {
  readonly limits: Pick<SessionLimits, "receivingMax" | "receivingBytesMax">;
  readonly process: (envelope: agp.Envelope, from: From | undefined) => Promise<void>;
  readonly pause: () => void;
  readonly resume: () => void;
  /** A message was dropped because nothing else was left; its sender repeats it. */
  readonly onDrop: () => void;
  /** Calls `run` when the process has read what there is to read. */
  readonly nextTurn: (run: () => void) => void;
  /** Bulk was taken, by the bytes that it was told to have. */
  readonly onBulkTaken?: (bytes: number, from: From | undefined) => void;
}

interface Waiting<From> {
  readonly envelope: agp.Envelope;
  readonly frameBytes: number;
  readonly from: From | undefined;
}

export class Intake<From = undefined> {
  readonly #ports: IntakePorts<From>;
  #count = 0;
  #bytes = 0;
  #awaited = 0;
  #isPaused = false;
  #bulk: Waiting<From>[] = [];
  /** Of `#bulk`, those that were begun. */
  #begun = 0;
  #bulkBytes = 0;
  /** Bulk is being processed, or will be in the next turn. */
  #isBusy = false;

  constructor(ports: IntakePorts<From>) {
    this.#ports = ports;
  }

  /** `frameBytes`: what the sender counts of it. */
  take(envelope: agp.Envelope, frameBytes = 0, from?: From): void {
    const { limits, onDrop } = this.#ports;
    const { receivingMax, receivingBytesMax } = limits;
    const isBeyond = this.#count >= hardFactor * receivingMax || this.#bytes >= hardFactor * receivingBytesMax;
    if (isBeyond || this.#bulkCount >= hardFactor * bulkCountFactor * receivingMax) {
      onDrop();
      // It is not on its way any more, whatever became of it.
      if (isBulk(envelope)) this.#ports.onBulkTaken?.(frameBytes, from);
      return;
    }
    this.#bytes += envelope.payload.length;
    if (!isBulk(envelope)) {
      this.#count++;
      this.#regulate();
      void this.#process(envelope, from).finally(() => {
        this.#count--;
        this.#regulate();
      });
      return;
    }
    this.#bulkBytes += envelope.payload.length;
    this.#bulk.push({ envelope, frameBytes, from });
    this.#regulate();
    if (this.#isBusy) return;
    this.#isBusy = true;
    // What was read along with it, and is not bulk, comes first.
    this.#ports.nextTurn(() => void this.#takeBulk());
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

  /** A link has gone: reading goes on, until the next message shows that it may not. */
  reset(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#ports.resume();
  }

  /** A part of what waits, all begun at once; the next one in a later turn. */
  async #takeBulk(): Promise<void> {
    const part: Promise<void>[] = [];
    for (let bytes = 0; bytes < bulkPartBytes && part.length < bulkPartMax; ) {
      const next = this.#bulk[this.#begun];
      if (next === undefined) break;
      this.#begun++;
      const { length } = next.envelope.payload;
      bytes += length;
      part.push(
        this.#process(next.envelope, next.from).finally(() => {
          this.#bulkBytes -= length;
          this.#ports.onBulkTaken?.(next.frameBytes, next.from);
        }),
      );
    }
    if (this.#begun === this.#bulk.length || this.#begun > tidyAt) {
      this.#bulk = this.#bulk.slice(this.#begun);
      this.#begun = 0;
    }
    await Promise.allSettled(part);
    this.#regulate();
    if (this.#bulk.length > 0) this.#ports.nextTurn(() => void this.#takeBulk());
    else this.#isBusy = false;
  }

  async #process(envelope: agp.Envelope, from: From | undefined): Promise<void> {
    try {
      await this.#ports.process(envelope, from);
    } finally {
      this.#bytes -= envelope.payload.length;
    }
  }

  get #bulkCount(): number {
    return this.#bulk.length - this.#begun;
  }

  #regulate(): void {
    const { limits, pause, resume } = this.#ports;
    const { receivingMax, receivingBytesMax } = limits;
    // A gateway that knows classes sends far less bulk than this ahead of what was taken.
    const bulkMax = receivingBytesMax / bulkFactor;
    const bulkCountMax = bulkCountFactor * receivingMax;
    const isAbove = (part: number): boolean =>
      this.#count >= receivingMax * part ||
      this.#bytes >= receivingBytesMax * part ||
      this.#bulkBytes >= bulkMax * part ||
      this.#bulkCount >= bulkCountMax * part;
    const isFull = isAbove(1);
    const isLow = !isAbove(0.5);
    if (isFull && !this.#isPaused && this.#awaited === 0) {
      this.#isPaused = true;
      pause();
    } else if (this.#isPaused && (isLow || this.#awaited > 0)) {
      this.#isPaused = false;
      resume();
    }
  }
}

const isBulk = ({ header }: agp.Envelope): boolean => header?.trafficClass === agp.TrafficClass.BULK;

/** How far above the bounds messages are taken while reading may not pause. */
const hardFactor = 8;
/** The part of the bytes that may wait as bulk before reading pauses. */
const bulkFactor = 4;
/** How many times as much bulk may wait, by number, as may be processed of the rest. */
const bulkCountFactor = 32;
/** Bulk that is begun in one turn. */
const bulkPartBytes = 131_072;
const bulkPartMax = 64;
/** Begun messages that stay in the queue before it is shortened. */
const tidyAt = 1_024;
