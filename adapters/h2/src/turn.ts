/** Something that has output to write when the current turn of the event loop is over. */
export interface Flushable {
  flush(): void;
}

/**
 * What leaves in the current turn of the event loop, of every link of the process together. The output of all links is
 * flushed in a `setImmediate`, after everything that the turn received was handled: this is what makes one write for each
 * connection and turn.
 *
 * Pieces of output are kept here as lists in shared columns, so that queueing a frame makes no object, an idle link has
 * no queue, and a burst to one link grows no array of its own.
 */
export class Turn {
  #waiting: Flushable[] = [];
  #last: Flushable[] = [];
  /** Columns of the pieces: the buffer, the range in it, and the next piece of the same list. */
  #buffers: (Uint8Array | undefined)[] = new Array<Uint8Array | undefined>(piecesMin).fill(undefined);
  #starts = new Int32Array(piecesMin);
  #ends = new Int32Array(piecesMin);
  #nexts = new Int32Array(piecesMin);
  #used = 0;
  #isScheduled = false;
  #isHurried = false;

  /** Flushes `target` at the end of the turn, or in one of the next when many links have output. The caller keeps it from being added twice. */
  add(target: Flushable): void {
    this.#waiting.push(target);
    this.#schedule();
  }

  /** Flushes `target` behind all that `add` got. */
  addLast(target: Flushable): void {
    this.#last.push(target);
    this.#schedule();
  }

  /** Memory is short: everything is flushed in one go, and the last ones with it. */
  hurry(): void {
    this.#isHurried = true;
  }

  /** Notes a piece behind `previous` of a list (-1 for a new list) and answers its number. Valid until the end of the turn. */
  note(previous: number, buffer: Uint8Array, start: number, end: number): number {
    if (this.#used === this.#starts.length) this.#grow();
    const piece = this.#used++;
    this.#buffers[piece] = buffer;
    this.#starts[piece] = start;
    this.#ends[piece] = end;
    this.#nexts[piece] = -1;
    if (previous >= 0) this.#nexts[previous] = piece;
    return piece;
  }

  bufferOf(piece: number): Uint8Array {
    return this.#buffers[piece] ?? nothing;
  }

  startOf(piece: number): number {
    return this.#starts[piece] ?? 0;
  }

  endOf(piece: number): number {
    return this.#ends[piece] ?? 0;
  }

  /** The next piece of the list, -1 at its end. */
  after(piece: number): number {
    return this.#nexts[piece] ?? -1;
  }

  /** Lengthens a piece. */
  extend(piece: number, end: number): void {
    this.#ends[piece] = end;
  }

  /** Lets go of the piece's buffer. */
  release(piece: number): void {
    this.#buffers[piece] = undefined;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#run());
  }

  #run(): void {
    const due = this.#waiting;
    this.#waiting = [];
    this.#flush(due, 0);
  }

  /**
   * Flushes a part of a large round and leaves the rest to the next turns. So what comes in between is read and goes out
   * before the rest, and what has been written is let go of: the output of ten thousand links at once is more than any
   * cache holds. Another large round that came meanwhile follows in one go, so that the last ones get their turn.
   */
  #flush(due: readonly Flushable[], from: number): void {
    if (from > 0 && this.#waiting.length <= flushedAtOnce) this.#flushWaiting();
    const end = this.#isHurried || this.#used > piecesKept ? due.length : Math.min(due.length, from + flushedAtOnce);
    for (let i = from; i < end; i++) due[i]?.flush();
    if (end < due.length) {
      setImmediate(() => this.#flush(due, end));
      return;
    }
    if (from > 0) this.#flushWaiting();
    // What a flush has queued may lie in memory that the last ones free: they go with it, in the next turn.
    if (this.#waiting.length > 0) setImmediate(() => this.#run());
    else this.#end();
  }

  #flushWaiting(): void {
    const due = this.#waiting;
    this.#waiting = [];
    for (const target of due) target.flush();
  }

  #end(): void {
    const last = this.#last;
    this.#last = [];
    for (const target of last) target.flush();
    // Those pieces keep their numbers.
    if (this.#waiting.length > 0 || this.#last.length > 0) {
      setImmediate(() => this.#run());
      return;
    }
    this.#isScheduled = this.#isHurried = false;
    // Links that were discarded have not let go of theirs.
    this.#buffers.fill(undefined, 0, this.#used);
    this.#used = 0;
    if (this.#starts.length > piecesKept) this.#resize(piecesMin);
  }

  #grow(): void {
    this.#resize(this.#starts.length * 2);
  }

  #resize(length: number): void {
    const { length: old } = this.#starts;
    const copy = (column: Int32Array): Int32Array<ArrayBuffer> => {
      const grown = new Int32Array(length);
      grown.set(length > old ? column : column.subarray(0, length));
      return grown;
    };
    this.#starts = copy(this.#starts);
    this.#ends = copy(this.#ends);
    this.#nexts = copy(this.#nexts);
    const buffers = new Array<Uint8Array | undefined>(length).fill(undefined);
    for (let i = 0; i < this.#used; i++) buffers[i] = this.#buffers[i];
    this.#buffers = buffers;
  }
}

const nothing = new Uint8Array(0);
/** Links whose output is on its way to the kernel at once. */
export const flushedAtOnce = 64;
const piecesMin = 1_024;
/** Columns that a burst made longer than this are given back. */
const piecesKept = 262_144;
