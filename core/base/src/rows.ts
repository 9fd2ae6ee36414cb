/**
 * Rows of numbers in place of objects, for what is kept in great number and for long: a garbage collector that has to
 * copy and to mark a million small objects costs more than what they are kept for.
 */

/** Rows of a fixed number of 32-bit words, in chunks of memory that go when nothing in them is in use. */
export class Rows {
  readonly #words: number;
  readonly #chunks: (Chunk | undefined)[] = [];
  /** Numbers of chunks that have room; the last may be full by now. */
  #roomy: number[] = [];
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
    let number = this.#roomy.at(-1) ?? this.#open();
    let chunk = this.#chunks[number] as Chunk;
    while (chunk.used === chunkRows) {
      chunk.isRoomy = false;
      this.#roomy.pop();
      number = this.#roomy.at(-1) ?? this.#open();
      chunk = this.#chunks[number] as Chunk;
    }
    this.#size++;
    chunk.used++;
    const at = chunk.free < 0 ? chunk.touched++ : chunk.free;
    if (chunk.free >= 0) chunk.free = chunk.ints[at * this.#words] ?? -1;
    return number * chunkRows + at;
  }

  /** Nobody knows the row any more. */
  giveBack(row: number): void {
    const number = row >>> chunkBits;
    const chunk = this.#chunks[number];
    if (chunk === undefined) return;
    this.#size--;
    chunk.used--;
    chunk.ints[(row & chunkMask) * this.#words] = chunk.free;
    chunk.free = row & chunkMask;
    if (!chunk.isRoomy) {
      chunk.isRoomy = true;
      this.#roomy.push(number);
    }
    // The one that rows are taken from stays, so that one row coming and going makes no memory come and go.
    if (chunk.used > 0 || this.#roomy.at(-1) === number) return;
    this.#chunks[number] = undefined;
    this.#holes.push(number);
    this.#roomy = this.#roomy.filter((each) => each !== number);
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

  #open(): number {
    const number = this.#holes.pop() ?? this.#chunks.length;
    this.#chunks[number] = new Chunk(this.#words);
    this.#roomy.push(number);
    return number;
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
  /** True while it is among those that have room. */
  isRoomy = true;

  constructor(words: number) {
    const memory = new ArrayBuffer(chunkRows * words * 4);
    this.ints = new Int32Array(memory);
    this.doubles = new Float64Array(memory);
  }
}

/**
 * Finds rows by a hash that their owner makes. Rows of the same slot are chained through a word of their own. It grows
 * and shrinks by one slot at a time, so that no addition pays for all that are there.
 */
export class RowIndex {
  readonly #rows: Rows;
  readonly #hashWord: number;
  readonly #nextWord: number;
  /** The first row of each slot, plus one. */
  #heads = new Int32Array(slotsMin);
  #slots = slotsMin;
  /** The slots are more than half of `#mask + 1`, and at most as many. */
  #mask = slotsMin - 1;
  #size = 0;

  /** The words of a row that hold its hash and the next row of its slot. */
  constructor(rows: Rows, hashWord: number, nextWord: number) {
    this.#rows = rows;
    this.#hashWord = hashWord;
    this.#nextWord = nextWord;
  }

  /** The first row with the hash, -1 for none; `next` answers further ones. */
  first(hash: number): number {
    return this.#wanted((this.#heads[this.#slotOf(hash)] ?? 0) - 1, hash);
  }

  /** The next row with the same hash. */
  next(row: number): number {
    return this.#wanted(this.#rows.int(row, this.#nextWord) - 1, this.#rows.int(row, this.#hashWord));
  }

  add(row: number, hash: number): void {
    this.#rows.setInt(row, this.#hashWord, hash);
    this.#push(this.#slotOf(hash), row);
    if (++this.#size > this.#slots) this.#split();
  }

  remove(row: number): void {
    const rows = this.#rows;
    const slot = this.#slotOf(rows.int(row, this.#hashWord));
    const after = rows.int(row, this.#nextWord);
    let at = (this.#heads[slot] ?? 0) - 1;
    if (at === row) this.#heads[slot] = after;
    else {
      let next = rows.int(at, this.#nextWord) - 1;
      while (next !== row) {
        if (next < 0) return;
        at = next;
        next = rows.int(at, this.#nextWord) - 1;
      }
      rows.setInt(at, this.#nextWord, after);
    }
    this.#size--;
    if (this.#slots > slotsMin && this.#size * 4 < this.#slots) this.#merge();
  }

  #wanted(from: number, hash: number): number {
    let row = from;
    while (row >= 0 && this.#rows.int(row, this.#hashWord) !== hash) row = this.#rows.int(row, this.#nextWord) - 1;
    return row;
  }

  #slotOf(hash: number): number {
    const slot = hash & this.#mask;
    return slot < this.#slots ? slot : slot & (this.#mask >>> 1);
  }

  #push(slot: number, row: number): void {
    this.#rows.setInt(row, this.#nextWord, this.#heads[slot] ?? 0);
    this.#heads[slot] = row + 1;
  }

  /** One more slot: it gets its part of the one that had it so far. */
  #split(): void {
    if (this.#slots > this.#mask) {
      this.#mask = this.#mask * 2 + 1;
      if (this.#heads.length <= this.#mask) this.#resize();
    }
    const from = this.#slots & (this.#mask >>> 1);
    this.#slots++;
    let row = (this.#heads[from] ?? 0) - 1;
    this.#heads[from] = 0;
    while (row >= 0) {
      const next = this.#rows.int(row, this.#nextWord) - 1;
      this.#push(this.#slotOf(this.#rows.int(row, this.#hashWord)), row);
      row = next;
    }
  }

  /** One slot less: its rows go where they came from. */
  #merge(): void {
    this.#slots--;
    let row = (this.#heads[this.#slots] ?? 0) - 1;
    this.#heads[this.#slots] = 0;
    const into = this.#slots & (this.#mask >>> 1);
    while (row >= 0) {
      const next = this.#rows.int(row, this.#nextWord) - 1;
      this.#push(into, row);
      row = next;
    }
    if (this.#slots > (this.#mask >>> 1) + 1) return;
    this.#mask >>>= 1;
    if (this.#heads.length > (this.#mask + 1) * 4) this.#resize();
  }

  #resize(): void {
    const heads = new Int32Array(this.#mask + 1);
    heads.set(this.#heads.subarray(0, Math.min(heads.length, this.#slots)));
    this.#heads = heads;
  }
}

const chunkBits = 10;
const chunkRows = 1 << chunkBits;
const chunkMask = chunkRows - 1;
const slotsMin = 16;
