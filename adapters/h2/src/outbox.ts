import { Lane, grpcPrefixBytes as prefixBytes } from "@causeway/core-wire";
import { Backlog, encodePiece, giveBackChunk, sizeOf } from "./backlog.ts";
import { BulkLane } from "./bulk-lane.ts";
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
 *
 * Bulk has a lane of its own (`BulkLane`), which gets what the urgent lane leaves over, and a share of its own when that
 * leaves nothing over. Order is kept within each lane.
 */
export class Outbox implements Flushable {
  readonly #sink: Sink;
  readonly #turn: Turn;
  readonly #slabs: SlabPool;
  readonly #onProgress: () => void;
  readonly #now: () => number;
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
  /** Made with the first bulk. */
  #bulk: BulkLane | undefined;

  /**
   * `onProgress` is called after each write that the connection has taken. `headroom`: bytes that are left free in front
   * of each write, default 0. `now`: milliseconds of a clock that never goes back, default that of the process.
   */
  constructor(options: {
    readonly sink: Sink;
    readonly headroom?: number;
    readonly turn: Turn;
    readonly slabs: SlabPool;
    readonly onProgress: () => void;
    readonly now?: () => number;
  }) {
    this.#sink = options.sink;
    this.#turn = options.turn;
    this.#slabs = options.slabs;
    this.#onProgress = options.onProgress;
    this.#now = options.now ?? systemNow;
    this.#headroom = options.headroom ?? 0;
    this.#backlog = new Backlog(this.#headroom);
  }

  /** Urgent bytes queued and not yet taken by the connection, prefixes included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The same of bulk. */
  get bulkBytes(): number {
    return this.#bulk === undefined ? 0 : this.#bulk.bytes;
  }

  /** The other side has taken so many bytes of bulk, prefixes included. */
  takenBulk(bytes: number): void {
    this.#lane().taken(bytes);
  }

  /** Queues bytes `start` to `end` of `frame`. */
  add(frame: Uint8Array, start: number, end: number, lane: Lane = Lane.urgent): void {
    if (this.#discarded) return;
    const turn = this.#turn;
    const size = end - start + prefixBytes;
    const isPrefixed = hasPrefix(frame, start, end);
    if (lane === Lane.bulk) {
      this.#lane().add(frame, isPrefixed ? start - prefixBytes : ~start, end);
      return;
    }
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

  /** The link is closing: what is queued leaves without acknowledgements. */
  finish(): void {
    this.#bulk?.finish();
  }

  /** Forgets what is queued and takes nothing more. */
  discard(): void {
    this.#discarded = true;
    this.#first = this.#last = -1;
    this.#listed = 0;
    this.#backlog.clear();
    this.#bytes = 0;
    this.#bulk?.discard();
  }

  #lane(): BulkLane {
    this.#bulk ??= new BulkLane({
      sink: this.#sink,
      headroom: this.#headroom,
      turn: this.#turn,
      hasPrecedence: () => this.#first >= 0 || !this.#backlog.isEmpty,
      onProgress: this.#onProgress,
      now: this.#now,
    });
    return this.#bulk;
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
      this.#write(chunk.memory.subarray(0, chunk.used), () => giveBackChunk(chunk.memory));
    }
  }

  #write(bytes: Uint8Array, release: (() => void) | undefined): void {
    this.#writesOpen += 1;
    this.#bulk?.passed(bytes.length - this.#headroom);
    this.#sink(bytes, () => {
      release?.();
      if (this.#discarded) return;
      this.#writesOpen -= 1;
      this.#bytes -= bytes.length - this.#headroom;
      this.#writeBacklog();
      this.#bulk?.pump();
      this.#onProgress();
    });
  }
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

const systemNow = (): number => performance.now();
/** What waits for one link is written before the end of the turn at this size: received buffers are free again soon. */
const listedBytesMax = 65_536;
/** One write on its way and one behind it keep the connection busy; more would only pin slabs. */
const writesOpenMax = 2;
