import { Backlog, giveBackChunk, sizeOf } from "./backlog.ts";
import { BulkWindow } from "./bulk-window.ts";
import type { Sink } from "./outbox.ts";
import type { Flushable, Turn } from "./turn.ts";

/** What a bulk lane works with. */
export interface BulkLaneParts {
  readonly sink: Sink;
  readonly headroom: number;
  readonly turn: Turn;
  /** True while something urgent waits for the connection. */
  readonly hasPrecedence: () => boolean;
  readonly onProgress: () => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

/**
 * The bulk of one link. It is copied when it is queued and leaves behind everything urgent; when urgent output leaves
 * nothing over, one byte in `shareOfBulk` is bulk all the same. What cannot be overtaken any more is bounded: what the
 * connection has been handed and has not taken by `openBytesMax`, and what the other side has not acknowledged by a
 * `BulkWindow`.
 */
export class BulkLane implements Flushable {
  readonly #parts: BulkLaneParts;
  readonly #backlog: Backlog;
  readonly #window = new BulkWindow();
  #bytes = 0;
  /** Handed to the connection and not taken. */
  #open = 0;
  /** Urgent bytes that passed while bulk waited. */
  #passed = 0;
  #isScheduled = false;
  #isDiscarded = false;
  #isFinishing = false;

  constructor(parts: BulkLaneParts) {
    this.#parts = parts;
    this.#backlog = new Backlog(parts.headroom, chunkBytesMin, chunkBytesMax);
  }

  /** Bytes queued and not yet taken by the connection, prefixes included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Queues a copy of a piece; a negative start is the start of a bare frame, as `~start`. */
  add(buffer: Uint8Array, start: number, end: number): void {
    this.#bytes += sizeOf(start, end);
    this.#backlog.add(buffer, start, end);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Behind what is urgent on every other link.
    this.#parts.turn.addLast(this);
  }

  flush(): void {
    this.#isScheduled = false;
    this.pump();
  }

  /** Urgent bytes have been handed to the connection. */
  passed(bytes: number): void {
    if (!this.#backlog.isEmpty) this.#passed += bytes;
  }

  /** The other side has taken bulk. */
  taken(bytes: number): void {
    this.#window.taken(bytes, this.#parts.now());
    this.pump();
  }

  /** Hands over what may go now. */
  pump(): void {
    while (!this.#isDiscarded) {
      const next = this.#backlog.nextBytes;
      if (next === 0 || (this.#open > 0 && this.#open + next > openBytesMax)) return;
      if (!this.#isFinishing && !this.#window.admits(next)) return;
      if (this.#parts.hasPrecedence() && this.#passed < next * (shareOfBulk - 1)) return;
      const chunk = this.#backlog.take();
      if (chunk === undefined) return;
      this.#passed = 0;
      this.#open += next;
      this.#window.sent(next, !this.#backlog.isEmpty, this.#parts.now());
      this.#parts.sink(chunk.memory.subarray(0, chunk.used), () => this.#done(chunk.memory, next));
    }
  }

  /** Nothing more is acknowledged: what is queued leaves as the connection takes it. */
  finish(): void {
    this.#isFinishing = true;
    this.pump();
  }

  /** Forgets what is queued. */
  discard(): void {
    this.#isDiscarded = true;
    this.#backlog.clear();
    this.#bytes = 0;
  }

  #done(memory: Buffer, bytes: number): void {
    giveBackChunk(memory);
    if (this.#isDiscarded) return;
    this.#open -= bytes;
    this.#bytes -= bytes;
    this.pump();
    this.#parts.onProgress();
  }
}

/** One byte of so many is bulk while urgent output would use up the connection. */
export const shareOfBulk = 16;
/** Bulk that the connection has been handed and not taken: urgent output waits for no more than this in this process. */
export const openBytesMax = 65_536;
/** One TLS record; and two of them, so that the smallest window has more than one write on its way. */
const chunkBytesMin = 16_384;
const chunkBytesMax = 32_768;
