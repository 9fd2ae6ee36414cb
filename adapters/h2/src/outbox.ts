import { grpcPrefixBytes as prefixBytes, writeGrpcPrefix } from "@causeway/core-wire";
import type { SlabPool } from "./slab.ts";
import type { Flushable, Turn } from "./turn.ts";

/** Where an outbox writes: `done` is called when the bytes may be reused; a failed write never calls it. */
export type Sink = (bytes: Uint8Array, done: () => void) => void;

/**
 * The bounded output of one link. Frames are queued by reference and framed at the end of the turn: into the shared
 * slab while the connection takes them, into a backlog of this link's own otherwise, so that a slow receiver holds on
 * to neither slabs nor received buffers, and its memory is what it has queued.
 */
export class Outbox implements Flushable {
  readonly #sink: Sink;
  readonly #turn: Turn;
  readonly #slabs: SlabPool;
  readonly #onProgress: () => void;
  #frames: Uint8Array[] = [];
  #starts: number[] = [];
  #ends: number[] = [];
  readonly #backlog = new Backlog();
  #writesOpen = 0;
  #bytes = 0;
  #scheduled = false;
  #discarded = false;

  /** `onProgress` is called after each write that the connection has taken. */
  constructor(options: {
    readonly sink: Sink;
    readonly turn: Turn;
    readonly slabs: SlabPool;
    readonly onProgress: () => void;
  }) {
    this.#sink = options.sink;
    this.#turn = options.turn;
    this.#slabs = options.slabs;
    this.#onProgress = options.onProgress;
  }

  /** Bytes queued and not yet taken by the connection, prefixes included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Queues bytes `start` to `end` of `frame`. */
  add(frame: Uint8Array, start: number, end: number): void {
    if (this.#discarded) return;
    this.#frames.push(frame);
    this.#starts.push(start);
    this.#ends.push(end);
    this.#bytes += end - start + prefixBytes;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#turn.add(this);
    }
  }

  /** Writes or sets aside everything that was queued in this turn. */
  flush(): void {
    this.#scheduled = false;
    const count = this.#frames.length;
    if (count === 0 || this.#discarded) return;
    let next = 0;
    while (next < count && this.#writesOpen < writesOpenMax && this.#backlog.isEmpty) next = this.#writeFrom(next);
    for (; next < count; next++) this.#backlog.add(this.#at(next), this.#startOf(next), this.#endOf(next));
    this.#frames = [];
    this.#starts = [];
    this.#ends = [];
    this.#writeBacklog();
  }

  /** Forgets what is queued and takes nothing more. */
  discard(): void {
    this.#discarded = true;
    this.#frames = [];
    this.#starts = [];
    this.#ends = [];
    this.#backlog.clear();
    this.#bytes = 0;
  }

  /** Writes as many frames as one region holds, or one large frame by itself. Answers the next frame's index. */
  #writeFrom(first: number): number {
    const count = this.#frames.length;
    let length = 0;
    let last = first;
    while (last < count) {
      const more = this.#endOf(last) - this.#startOf(last) + prefixBytes;
      if (length + more > this.#slabs.regionBytesMax) break;
      length += more;
      last++;
    }
    if (last === first) {
      const frame = this.#at(first);
      const bytes = Buffer.allocUnsafeSlow(this.#endOf(first) - this.#startOf(first) + prefixBytes);
      encodeFrame(bytes, 0, frame, this.#startOf(first), this.#endOf(first));
      this.#write(bytes, undefined);
      return first + 1;
    }
    const region = this.#slabs.take(length);
    let at = 0;
    for (let i = first; i < last; i++)
      at = encodeFrame(region.bytes, at, this.#at(i), this.#startOf(i), this.#endOf(i));
    this.#write(region.bytes, region.release);
    return last;
  }

  #writeBacklog(): void {
    while (this.#writesOpen < writesOpenMax) {
      const bytes = this.#backlog.take();
      if (bytes === undefined) return;
      this.#write(bytes, undefined);
    }
  }

  #write(bytes: Uint8Array, release: (() => void) | undefined): void {
    this.#writesOpen += 1;
    this.#sink(bytes, () => {
      release?.();
      if (this.#discarded) return;
      this.#writesOpen -= 1;
      this.#bytes -= bytes.length;
      this.#writeBacklog();
      this.#onProgress();
    });
  }

  #at(index: number): Uint8Array {
    return this.#frames[index] ?? nothing;
  }

  #startOf(index: number): number {
    return this.#starts[index] ?? 0;
  }

  #endOf(index: number): number {
    return this.#ends[index] ?? 0;
  }
}

/** Framed bytes that the connection does not take yet, in chunks that grow with the backlog. */
class Backlog {
  #chunks: { bytes: Buffer; used: number }[] = [];
  #head = 0;

  get isEmpty(): boolean {
    return this.#head === this.#chunks.length;
  }

  add(frame: Uint8Array, start: number, end: number): void {
    const length = end - start + prefixBytes;
    let tail = this.isEmpty ? undefined : this.#chunks.at(-1);
    if (tail === undefined || tail.used + length > tail.bytes.length) {
      const size = Math.min(chunkBytesMax, Math.max(chunkBytesMin, (tail?.bytes.length ?? 0) * 2));
      tail = { bytes: Buffer.allocUnsafeSlow(Math.max(size, length)), used: 0 };
      this.#chunks.push(tail);
    }
    tail.used = encodeFrame(tail.bytes, tail.used, frame, start, end);
  }

  /** Removes the oldest chunk. Indexed rather than shifted: a shift of a long array moves all of it. */
  take(): Uint8Array | undefined {
    const chunk = this.#chunks[this.#head];
    if (chunk === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#chunks.length || this.#head > compactAfter) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
    return chunk.bytes.subarray(0, chunk.used);
  }

  clear(): void {
    this.#chunks = [];
    this.#head = 0;
  }
}

/** Writes prefix and frame at `at`; answers the end. */
function encodeFrame(into: Buffer, at: number, frame: Uint8Array, start: number, end: number): number {
  const length = end - start;
  writeGrpcPrefix(into, at, length);
  const body = at + prefixBytes;
  if (length < copyByHandMax) for (let i = 0; i < length; i++) into[body + i] = frame[start + i] ?? 0;
  else into.set(start === 0 && end === frame.length ? frame : frame.subarray(start, end), body);
  return body + length;
}

const nothing = new Uint8Array(0);
/** One write on its way and one behind it keep the connection busy; more would only pin slabs. */
const writesOpenMax = 2;
const chunkBytesMin = 4_096;
const chunkBytesMax = 65_536;
const compactAfter = 64;
/** Below this a loop beats the call into `set`. */
const copyByHandMax = 24;
