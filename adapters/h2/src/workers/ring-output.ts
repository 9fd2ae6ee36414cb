import { type RingMemory, RingWriter } from "./ring.ts";

/** How much waits outside the ring, and whether the other end has to be woken, is for the owner to act on. */
export interface RingOutputEvents {
  /** The other end sleeps and there is something for it. */
  wake(): void;
  /** All that had to wait for room is in the ring. */
  onRoom?(): void;
}

/**
 * What one thread says to the other, in order: records in the ring, and behind them those that found no room, as copies.
 * How many of these there can be is bounded by who writes: see `isFull`.
 */
export class RingOutput {
  readonly #ring: RingWriter;
  readonly #events: RingOutputEvents;
  readonly #payloadMax: number;
  #waiting: Waiting[] = [];

  constructor(memory: RingMemory, payloadMax: number, events: RingOutputEvents) {
    this.#ring = new RingWriter(memory);
    this.#payloadMax = payloadMax;
    this.#events = events;
  }

  /** True while records wait outside the ring: whoever reads for it stops reading. */
  get isFull(): boolean {
    return this.#waiting.length > 0;
  }

  /** Says something without bytes. */
  tell(kind: number, connection: number, value = 0): void {
    this.#put(kind, connection, value, nothing, 0, 0);
  }

  /** Sends bytes, in as many records as they need. They are copied. */
  send(kind: number, connection: number, bytes: Uint8Array, start = 0, end = bytes.length): void {
    for (let at = start; at < end; at += this.#payloadMax)
      this.#put(kind, connection, 0, bytes, at, Math.min(end, at + this.#payloadMax));
  }

  /** Shows the other end what was said, and puts into the ring what had to wait. */
  flush(): void {
    if (this.#waiting.length > 0) this.#retry();
    if (this.#ring.publish()) this.#events.wake();
  }

  #put(kind: number, connection: number, value: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#waiting.length === 0 && this.#ring.write(kind, connection, value, bytes, start, end)) {
      if (this.#ring.unpublished >= publishBytes && this.#ring.publish()) this.#events.wake();
      return;
    }
    this.#waiting.push({ kind, connection, value, bytes: Buffer.from(bytes.subarray(start, end)) });
    if (this.#waiting.length === 1) this.flush();
  }

  #retry(): void {
    let next = 0;
    for (;;) {
      for (; next < this.#waiting.length; next++) {
        const w = this.#waiting[next];
        if (w !== undefined && !this.#ring.write(w.kind, w.connection, w.value, w.bytes, 0, w.bytes.length)) break;
      }
      if (next === this.#waiting.length || this.#ring.waitForRoom()) break;
    }
    if (next === 0) return;
    this.#waiting = this.#waiting.slice(next);
    if (this.#waiting.length === 0) this.#events.onRoom?.();
  }
}

interface Waiting {
  readonly kind: number;
  readonly connection: number;
  readonly value: number;
  readonly bytes: Buffer;
}

const nothing = new Uint8Array(0);
/** Shown before the end of the turn at this size, so that the other end can begin. */
const publishBytes = 131_072;
