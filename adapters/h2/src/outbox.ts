import { grpcPrefixBytes as prefixBytes, writeGrpcPrefix } from "@causeway/core-wire";
import { ChunkPool } from "./chunk-pool.ts";
import type { SlabPool } from "./slab.ts";
import type { Flushable, Turn } from "./turn.ts";

/** Where an outbox writes, the headroom in front: `done` is called when the bytes may be reused; a failed write never calls it. */
export type Sink = (bytes: Uint8Array, done: () => void) => void;

/**
 * The bounded output of one link. Frames are queued by reference and framed at the end of the turn, or earlier when much
 * waits: into the shared slab while the connection takes them, into a backlog of this link's own otherwise, so that a
 * slow receiver holds on to neither slabs nor received buffers, and its memory is what it has queued.
 *
 * Frames that were received one behind the other and leave one behind the other, which is what a relay does, lie in
 * their buffer with the very prefixes that they need: they are one piece and one copy.
 */
export class Outbox implements Flushable {
  readonly #sink: Sink;
  readonly #turn: Turn;
  readonly #slabs: SlabPool;
  readonly #onProgress: () => void;
  readonly #headroom: number;
  readonly #backlog: Backlog;
  /** List of pieces in the turn. A piece starts with a prefix, or is a bare frame whose start is noted as `~start`. */
  #first = -1;
  #last = -1;
  /** Bytes of the list, prefixes included. */
  #listed = 0;
  #writesOpen = 0;
  #bytes = 0;
  #scheduled = false;
  #discarded = false;

  /**
   * `onProgress` is called after each write that the connection has taken. `headroom`: bytes that are left free in front
   * of each write, default 0.
   */
  constructor(options: {
    readonly sink: Sink;
    readonly headroom?: number;
    readonly turn: Turn;
    readonly slabs: SlabPool;
    readonly onProgress: () => void;
  }) {
    this.#sink = options.sink;
    this.#turn = options.turn;
    this.#slabs = options.slabs;
    this.#onProgress = options.onProgress;
    this.#headroom = options.headroom ?? 0;
    this.#backlog = new Backlog(this.#headroom);
  }

  /** Bytes queued and not yet taken by the connection, prefixes included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Queues bytes `start` to `end` of `frame`. */
  add(frame: Uint8Array, start: number, end: number): void {
    if (this.#discarded) return;
    const turn = this.#turn;
    const size = end - start + prefixBytes;
    const isPrefixed = hasPrefix(frame, start, end);
    const last = this.#last;
    if (
      isPrefixed &&
      last >= 0 &&
      turn.endOf(last) === start - prefixBytes &&
      turn.startOf(last) >= 0 &&
      turn.bufferOf(last) === frame
    ) {
      turn.extend(last, end);
    } else {
      this.#last = turn.note(last, frame, isPrefixed ? start - prefixBytes : ~start, end);
      if (last < 0) this.#first = this.#last;
    }
    this.#bytes += size;
    this.#listed += size;
    if (!this.#scheduled) {
      this.#scheduled = true;
      turn.add(this);
    }
    if (this.#listed >= listedBytesMax) this.#drain();
  }

  /** Writes or sets aside everything that was queued in this turn. */
  flush(): void {
    this.#scheduled = false;
    this.#drain();
  }

  /** Forgets what is queued and takes nothing more. */
  discard(): void {
    this.#discarded = true;
    this.#first = this.#last = -1;
    this.#listed = 0;
    this.#backlog.clear();
    this.#bytes = 0;
  }

  #drain(): void {
    if (this.#first < 0 || this.#discarded) return;
    let next = this.#first;
    this.#first = this.#last = -1;
    this.#listed = 0;
    while (next >= 0 && this.#writesOpen < writesOpenMax && this.#backlog.isEmpty) next = this.#writeFrom(next);
    for (; next >= 0; next = this.#turn.after(next)) {
      const start = this.#turn.startOf(next);
      this.#backlog.add(this.#turn.bufferOf(next), start, this.#turn.endOf(next));
      this.#turn.release(next);
    }
    this.#writeBacklog();
  }

  /** Writes as many pieces as one region holds, or one large piece by itself. Answers the next piece. */
  #writeFrom(first: number): number {
    const turn = this.#turn;
    let length = this.#headroom;
    let end = first;
    while (end >= 0) {
      const more = sizeOf(turn.startOf(end), turn.endOf(end));
      if (length + more > this.#slabs.regionBytesMax) break;
      length += more;
      end = turn.after(end);
    }
    if (end === first) {
      const bytes = Buffer.allocUnsafeSlow(length + sizeOf(turn.startOf(first), turn.endOf(first)));
      encodePiece(bytes, length, turn.bufferOf(first), turn.startOf(first), turn.endOf(first));
      turn.release(first);
      this.#write(bytes, undefined);
      return turn.after(first);
    }
    const region = this.#slabs.take(length);
    let at = this.#headroom;
    for (let piece = first; piece !== end; piece = turn.after(piece)) {
      at = encodePiece(region.bytes, at, turn.bufferOf(piece), turn.startOf(piece), turn.endOf(piece));
      turn.release(piece);
    }
    this.#write(region.bytes, region.release);
    return end;
  }

  #writeBacklog(): void {
    while (this.#writesOpen < writesOpenMax) {
      const chunk = this.#backlog.take();
      if (chunk === undefined) return;
      this.#write(chunk.memory.subarray(0, chunk.used), () => chunks.giveBack(chunk.memory));
    }
  }

  #write(bytes: Uint8Array, release: (() => void) | undefined): void {
    this.#writesOpen += 1;
    this.#sink(bytes, () => {
      release?.();
      if (this.#discarded) return;
      this.#writesOpen -= 1;
      this.#bytes -= bytes.length - this.#headroom;
      this.#writeBacklog();
      this.#onProgress();
    });
  }
}

/** Framed bytes that the connection does not take yet, in chunks that grow with the backlog. */
class Backlog {
  readonly #headroom: number;
  #chunks: { memory: Buffer; used: number }[] = [];
  #head = 0;

  constructor(headroom: number) {
    this.#headroom = headroom;
  }

  get isEmpty(): boolean {
    return this.#head === this.#chunks.length;
  }

  add(buffer: Uint8Array, start: number, end: number): void {
    const length = sizeOf(start, end);
    let tail = this.isEmpty ? undefined : this.#chunks.at(-1);
    if (tail === undefined || tail.used + length > tail.memory.length) {
      tail = { memory: chunks.take(this.#headroom + length, (tail?.memory.length ?? 0) * 2), used: this.#headroom };
      this.#chunks.push(tail);
    }
    tail.used = encodePiece(tail.memory, tail.used, buffer, start, end);
  }

  /** Removes the oldest chunk. Indexed rather than shifted: a shift of a long array moves all of it. */
  take(): { readonly memory: Buffer; readonly used: number } | undefined {
    const chunk = this.#chunks[this.#head];
    if (chunk === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#chunks.length || this.#head > compactAfter) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
    return chunk;
  }

  clear(): void {
    for (let i = this.#head; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i];
      if (chunk !== undefined) chunks.giveBack(chunk.memory);
    }
    this.#chunks = [];
    this.#head = 0;
  }
}

/** Bytes that a piece has on the wire. */
function sizeOf(start: number, end: number): number {
  return start >= 0 ? end - start : end - ~start + prefixBytes;
}

/** Copies a piece to `at`, with a prefix when it has none; answers the end. */
function encodePiece(into: Buffer, at: number, buffer: Uint8Array, start: number, end: number): number {
  let from = start;
  let to = at;
  if (start < 0) {
    from = ~start;
    writeGrpcPrefix(into, at, end - from);
    to += prefixBytes;
  }
  const length = end - from;
  if (length < copyByHandMax) for (let i = 0; i < length; i++) into[to + i] = buffer[from + i] ?? 0;
  else copyBytes.call(buffer, into, to, from, end);
  return to + length;
}

/** True when the frame lies behind its own prefix, as it was received. */
function hasPrefix(frame: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  return (
    start >= prefixBytes &&
    frame[start - 1] === (length & 0xff) &&
    frame[start - 2] === ((length >>> 8) & 0xff) &&
    frame[start - 3] === ((length >>> 16) & 0xff) &&
    frame[start - 4] === length >>> 24 &&
    frame[start - 5] === 0
  );
}

/** Copies without a view of the range, which would be garbage. */
const copyBytes = Buffer.prototype.copy;
/** Shared by all links: what was a backlog once becomes one again. */
const chunks = new ChunkPool();
/** What waits for one link is written before the end of the turn at this size: received buffers are free again soon. */
const listedBytesMax = 65_536;
/** One write on its way and one behind it keep the connection busy; more would only pin slabs. */
const writesOpenMax = 2;
const compactAfter = 64;
/** Below this a loop beats a call. */
const copyByHandMax = 24;
