/**
 * A ring of records in memory that two threads share: one writes, one reads, and neither ever waits for the other.
 * Records lie in one piece, so that what was written can be used where it lies until the reader frees it.
 */

/** The memory of one ring; it can be sent to the other thread. */
export interface RingMemory {
  readonly shared: SharedArrayBuffer;
}

/** Takes one record. `memory` from `start` to `end` is its payload, valid until the reader frees what it has read. */
export type RecordVisitor = (
  kind: number,
  connection: number,
  value: number,
  memory: Buffer,
  start: number,
  end: number,
) => void;

/** A ring for `bytes` of records, a power of two. */
export function createRing(bytes: number): RingMemory {
  return { shared: new SharedArrayBuffer(cellsBytes + bytes) };
}

/** Both ends see the memory like this. */
class RingView {
  /** Positions that only grow, modulo 2^32, and the two flags by which the ends ask to be woken. */
  readonly cells: Int32Array;
  readonly words: Int32Array;
  readonly data: Buffer;
  readonly size: number;

  constructor({ shared }: RingMemory) {
    this.size = shared.byteLength - cellsBytes;
    this.cells = new Int32Array(shared, 0, cellsBytes / 4);
    this.words = new Int32Array(shared, cellsBytes);
    this.data = Buffer.from(shared, cellsBytes);
  }
}

/** The writing end. */
export class RingWriter {
  readonly #ring: RingView;
  #written: number;
  #published: number;
  /** What is known of the reader's position; it may have moved on. */
  #freed: number;

  constructor(memory: RingMemory) {
    this.#ring = new RingView(memory);
    this.#written = this.#published = this.#freed = 0;
  }

  /** Bytes of records that the reader cannot see yet. */
  get unpublished(): number {
    return (this.#written - this.#published) | 0;
  }

  /** Writes a record with bytes `start` to `end` as payload. False when there is no room, now. */
  write(kind: number, connection: number, value: number, bytes: Uint8Array, start: number, end: number): boolean {
    const { words, data, size } = this.#ring;
    const length = end - start;
    const needed = (headerBytes + length + align - 1) & -align;
    let at = this.#written & (size - 1);
    // Records do not wrap: what is left at the end is passed over.
    const skipped = at + needed > size ? size - at : 0;
    if (!this.#hasRoom(needed + skipped)) return false;
    if (skipped > 0) {
      words[at >> 2] = skipKind;
      this.#written = (this.#written + skipped) | 0;
      at = 0;
    }
    const word = at >> 2;
    words[word] = kind;
    words[word + 1] = connection;
    words[word + 2] = value;
    words[word + 3] = length;
    if (length > 0) copyShared(bytes, start, end, data, at + headerBytes);
    this.#written = (this.#written + needed) | 0;
    return true;
  }

  /** Shows the reader what was written; true when it sleeps and has to be woken. */
  publish(): boolean {
    if (this.#published === this.#written) return false;
    this.#published = this.#written;
    Atomics.store(this.#ring.cells, Cell.written, this.#written);
    return Atomics.exchange(this.#ring.cells, Cell.readerSleeps, 0) === 1;
  }

  /** Asks to be woken when the reader has made room; false when it has meanwhile. */
  waitForRoom(): boolean {
    Atomics.store(this.#ring.cells, Cell.writerWaits, 1);
    return Atomics.load(this.#ring.cells, Cell.freed) === this.#freed;
  }

  #hasRoom(bytes: number): boolean {
    const { size, cells } = this.#ring;
    if (((this.#written - this.#freed) | 0) + bytes <= size) return true;
    this.#freed = Atomics.load(cells, Cell.freed);
    return ((this.#written - this.#freed) | 0) + bytes <= size;
  }
}

/** The reading end. */
export class RingReader {
  readonly #ring: RingView;
  #read = 0;
  #freed = 0;

  constructor(memory: RingMemory) {
    this.#ring = new RingView(memory);
  }

  /** Hands over records until there are none, or `bytesMax` were read; false when there are more. */
  read(visit: RecordVisitor, bytesMax: number): boolean {
    const { cells, words, data, size } = this.#ring;
    const written = Atomics.load(cells, Cell.written);
    const from = this.#read;
    while (this.#read !== written) {
      if (((this.#read - from) | 0) >= bytesMax) return false;
      const at = this.#read & (size - 1);
      const word = at >> 2;
      const kind = words[word] ?? skipKind;
      if (kind === skipKind) {
        this.#read = (this.#read + size - at) | 0;
        continue;
      }
      const length = words[word + 3] ?? 0;
      const start = at + headerBytes;
      this.#read = (this.#read + ((headerBytes + length + align - 1) & -align)) | 0;
      visit(kind, words[word + 1] ?? 0, words[word + 2] ?? 0, data, start, start + length);
    }
    return true;
  }

  /** Gives the writer back what was read; true when it waits for that and has to be woken. */
  free(): boolean {
    if (this.#freed === this.#read) return false;
    this.#freed = this.#read;
    Atomics.store(this.#ring.cells, Cell.freed, this.#read);
    return Atomics.exchange(this.#ring.cells, Cell.writerWaits, 0) === 1;
  }

  /** Asks to be woken for the next record; false when there is one already. */
  sleep(): boolean {
    const { cells } = this.#ring;
    Atomics.store(cells, Cell.readerSleeps, 1);
    if (Atomics.load(cells, Cell.written) === this.#read) return true;
    Atomics.store(cells, Cell.readerSleeps, 0);
    return false;
  }
}

/** A copy of bytes of a ring that is not shared. */
export function copyOf(memory: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  copyShared(memory, start, end, copy, 0);
  return copy;
}

/**
 * Copies from or to shared memory. A copy of a whole array Node leaves to V8, which moves shared memory in single words;
 * of a part of one it does itself, in one move. So it gets a part.
 */
function copyShared(from: Uint8Array, start: number, end: number, into: Buffer, at: number): void {
  into[at] = from[start] ?? 0;
  if (end - start > 1) copyBytes.call(from, into, at + 1, start + 1, end);
}

/** Largest payload of a record in a ring of `bytes`: an eighth, so that a long one does not need an empty ring. */
export const payloadBytesMax = (bytes: number): number => bytes / 8 - headerBytes;

/** Cells of their own cache line each. */
const Cell = { written: 0, freed: 32, readerSleeps: 64, writerWaits: 96 } as const;
const cellsBytes = 512;
const headerBytes = 16;
const align = 16;
const skipKind = 0;
const copyBytes = Buffer.prototype.copy;
