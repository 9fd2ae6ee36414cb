/**
 * Rows of numbers in place of objects, for what is kept in great number and for long: a garbage collector that has to
 * copy and to mark a million small objects costs more than what they are kept for. The memory is of the shared kind
 * though nobody shares it: V8 does not count that, and so does not collect the more often the more is held.
 */

/** Rows of a fixed number of 32-bit words, in chunks of memory that go when nothing in them is in use. */
export class Rows {
  readonly #words: number;
  readonly #chunks: (Chunk | undefined)[] = [];
  /** Chunks that have room; the last may be full by now. */
  readonly #roomy: Chunk[] = [];
  /** The chunk that stays when nothing in it is in use, so that one row coming and going makes no memory come and go. */
  #spare: Chunk | undefined;
  /** Numbers of chunks that have gone. */
  readonly #holes: number[] = [];
  #size = 0;

  /** `words` is even, so that numbers of two words are aligned. */
  constructor(words: number) {
    this.#words = words + (words & 1);
  }

  /** Rows in use. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory that are held. */
  get memory(): number {
    return this.#chunks.reduce((sum, chunk) => sum + (chunk?.ints.byteLength ?? 0), 0);
  }

  /** A free row, whose words are whatever they were. */
  take(): number {
    let chunk = this.#roomy.at(-1) ?? this.#open();
    while (chunk.used === chunkRows) {
      this.#leaveRoomy(chunk);
      chunk = this.#roomy.at(-1) ?? this.#open();
    }
    this.#size++;
    chunk.used++;
    const at = chunk.free < 0 ? chunk.touched++ : chunk.free;
    if (chunk.free >= 0) chunk.free = chunk.ints[at * this.#words] ?? -1;
    return chunk.number * chunkRows + at;
  }

  /** Nobody knows the row any more. */
  giveBack(row: number): void {
    const chunk = this.#chunks[row >>> chunkBits];
    if (chunk === undefined) return;
    this.#size--;
    chunk.used--;
    chunk.ints[(row & chunkMask) * this.#words] = chunk.free;
    chunk.free = row & chunkMask;
    if (chunk.roomyAt < 0) this.#enterRoomy(chunk);
    if (chunk.used > 0 || this.#spare === chunk) return;
    if (this.#spare?.used === 0) this.#drop(chunk);
    else this.#spare = chunk;
  }

  int(row: number, word: number): number {
    return this.#chunks[row >>> chunkBits]?.ints[(row & chunkMask) * this.#words + word] ?? 0;
  }

  setInt(row: number, word: number, value: number): void {
    const chunk = this.#chunks[row >>> chunkBits];
    if (chunk !== undefined) chunk.ints[(row & chunkMask) * this.#words + word] = value;
  }

  /** The number in `word` and the one after; `word` is even. */
  double(row: number, word: number): number {
    return this.#chunks[row >>> chunkBits]?.doubles[((row & chunkMask) * this.#words + word) >>> 1] ?? 0;
  }

  setDouble(row: number, word: number, value: number): void {
    const chunk = this.#chunks[row >>> chunkBits];
    if (chunk !== undefined) chunk.doubles[((row & chunkMask) * this.#words + word) >>> 1] = value;
  }

  #open(): Chunk {
    const number = this.#holes.pop() ?? this.#chunks.length;
    const chunk = new Chunk(number, this.#words);
    this.#chunks[number] = chunk;
    this.#enterRoomy(chunk);
    return chunk;
  }

  #drop(chunk: Chunk): void {
    this.#leaveRoomy(chunk);
    this.#chunks[chunk.number] = undefined;
    this.#holes.push(chunk.number);
  }

  #enterRoomy(chunk: Chunk): void {
    chunk.roomyAt = this.#roomy.length;
    this.#roomy.push(chunk);
  }

  /** The last takes its place. */
  #leaveRoomy(chunk: Chunk): void {
    const last = this.#roomy.pop();
    if (last !== undefined && last !== chunk) {
      this.#roomy[chunk.roomyAt] = last;
      last.roomyAt = chunk.roomyAt;
    }
    chunk.roomyAt = -1;
  }
}

class Chunk {
  readonly ints: Int32Array;
  readonly doubles: Float64Array;
  /** Rows in use. */
  used = 0;
  /** Rows that were ever in use. */
  touched = 0;
  /** The first free row of those; its first word is the next. -1 for none. */
  free = -1;
  /** Where it is among those that have room, -1 when it is not. */
  roomyAt = -1;
  readonly number: number;

  constructor(number: number, words: number) {
    this.number = number;
    const memory = new SharedArrayBuffer(chunkRows * words * 4);
    this.ints = new Int32Array(memory);
    this.doubles = new Float64Array(memory);
  }
}

/**
 * Finds rows by a hash that their owner makes and mixes well, in open addressing. Looking for what is not there touches
 * neither rows nor hashes, which lie in slower memory, but a column of some bits of each hash.
 */
export class RowIndex {
  /** For each slot 0 when it is free, and otherwise some bits of the hash. */
  #tags = new Uint8Array(new SharedArrayBuffer(slotsMin));
  /** Two words for each slot: the hash and the row. */
  #entries = new Int32Array(new SharedArrayBuffer(slotsMin * 8));
  #mask = slotsMin - 1;
  #size = 0;
  /** The slot that was answered last. */
  #at = 0;

  /** The first row with the hash, -1 for none; `next` answers further ones. */
  first(hash: number): number {
    return this.#from(hash & this.#mask, hash);
  }

  /** The next row with that hash after the one that was answered last. */
  next(hash: number): number {
    return this.#from((this.#at + 1) & this.#mask, hash);
  }

  add(row: number, hash: number): void {
    if ((this.#size + 1) * 2 > this.#mask + 1) this.#resize((this.#mask + 1) * 2);
    this.#size++;
    this.#place(row, hash);
  }

  /** Takes a row out that is there with the hash. */
  remove(row: number, hash: number): void {
    const mask = this.#mask;
    const tags = this.#tags;
    const entries = this.#entries;
    let free = hash & mask;
    while (tags[free] !== 0 && entries[free * 2 + 1] !== row) free = (free + 1) & mask;
    if (tags[free] === 0) return;
    // What stands behind moves up, unless it would come before where it is looked for first.
    for (let at = (free + 1) & mask; tags[at] !== 0; at = (at + 1) & mask) {
      const home = (entries[at * 2] ?? 0) & mask;
      if (((at - home) & mask) < ((at - free) & mask)) continue;
      tags[free] = tags[at] ?? 0;
      entries[free * 2] = entries[at * 2] ?? 0;
      entries[free * 2 + 1] = entries[at * 2 + 1] ?? 0;
      free = at;
    }
    tags[free] = 0;
    this.#size--;
    if (mask >= slotsMin && this.#size * 8 < mask) this.#resize((mask + 1) / 2);
  }

  #from(from: number, hash: number): number {
    const tags = this.#tags;
    const tag = tagOf(hash);
    for (let at = from; tags[at] !== 0; at = (at + 1) & this.#mask) {
      if (tags[at] !== tag || this.#entries[at * 2] !== hash) continue;
      this.#at = at;
      return this.#entries[at * 2 + 1] ?? -1;
    }
    return -1;
  }

  #place(row: number, hash: number): void {
    let at = hash & this.#mask;
    while (this.#tags[at] !== 0) at = (at + 1) & this.#mask;
    this.#tags[at] = tagOf(hash);
    this.#entries[at * 2] = hash;
    this.#entries[at * 2 + 1] = row;
  }

  #resize(length: number): void {
    const tags = this.#tags;
    const entries = this.#entries;
    this.#tags = new Uint8Array(new SharedArrayBuffer(length));
    this.#entries = new Int32Array(new SharedArrayBuffer(length * 8));
    this.#mask = length - 1;
    for (let at = 0; at < tags.length; at++) {
      if (tags[at] !== 0) this.#place(entries[at * 2 + 1] ?? 0, entries[at * 2] ?? 0);
    }
  }
}

/** Of the end that says least of the slot. */
const tagOf = (hash: number): number => (hash >>> 25) | 0x80;
const chunkBits = 10;
const chunkRows = 1 << chunkBits;
const chunkMask = chunkRows - 1;
const slotsMin = 16;
