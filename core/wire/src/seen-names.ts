/**
 * Names of frames that passed the grammar before. Senders write many messages under few names, and checking, hashing and
 * comparing a name byte by byte costs more than the rest of a scan; a name that is known is recognised by words, and
 * what others keep for a name they find by its identity. A name is entered when it comes a second time, so that traffic
 * under ever new names costs no memory. Bounded: a name has four places, and where all are taken only one in eight that
 * come again takes one, so that more names than places do not push each other out all the time.
 *
 * A hit compares all bytes with a private copy. Whether a name is known changes no outcome.
 */

/** Names that are known at the same time, at most. */
export const seenNamesMax = 16_384;

/** One name, for good. */
export class SeenName {
  /** A number below `seenNamesMax` that no other name has at the same time. */
  readonly place: number;
  /** Target kind whose grammar it passed. */
  readonly kind: number;
  /** The name as text. */
  readonly text: string;
  /** True when its last segment names an instance. */
  readonly hasInstance: boolean;

  constructor(place: number, kind: number, text: string) {
    this.place = place;
    this.kind = kind;
    this.text = text;
    this.hasInstance = text.includes("/@");
  }
}

/**
 * The names seen lately. What is compared stands side by side in memory: with a thousand targets at once, each object on
 * the way to a name would be a wait for memory.
 */
export class SeenNames {
  /** Places of one name; `#mask` gives the first. */
  readonly #ways: number;
  readonly #mask: number;
  readonly #names: (SeenName | undefined)[];
  /** For each place the hash of its name, and its row. */
  readonly #slots: Int32Array;
  /** Length and kind of a name, and its bytes. Rows are taken one behind the other, so that few names are near each other. */
  readonly #rows: DataView;
  #rowsUsed = 0;
  /** Hashes of names that came and are not entered. */
  readonly #once: Int32Array;
  /** Says which of those that find their places taken gets one: at random, since traffic has rhythms of its own. */
  #thrown = 1;

  /** `places`: a power of two, at most and by default `seenNamesMax`. */
  constructor(places = seenNamesMax) {
    this.#ways = Math.min(places, waysMax);
    this.#mask = (places - 1) & ~(this.#ways - 1);
    this.#names = new Array<SeenName | undefined>(places).fill(undefined);
    this.#slots = new Int32Array(places * 2);
    this.#rows = new DataView(new ArrayBuffer(places * rowBytes));
    this.#once = new Int32Array(places);
  }

  /** The name in the range when it passed the grammar of `kind` before. */
  find(view: DataView, kind: number, start: number, end: number): SeenName | undefined {
    const hash = sampleOf(view, start, end, kind);
    const first = hash & this.#mask;
    for (let place = first; place < first + this.#ways; place++)
      if (this.#slots[place * 2] === hash && this.#isAt(place, view, kind, start, end)) return this.#names[place];
    return undefined;
  }

  /** Notes that a name which is not entered has passed the grammar of `kind`; itself when it came before. */
  note(view: DataView, kind: number, start: number, end: number): SeenName | undefined {
    const length = end - start;
    if (length > nameBytesMax) return undefined;
    const hash = sampleOf(view, start, end, kind);
    const at = (hash >>> 8) & (this.#once.length - 1);
    const before = this.#once[at];
    if (before !== hash) {
      // Names that take turns at one place would never come a second time if each took it.
      if (before === 0 || this.#dice(4) === 0) this.#once[at] = hash;
      return undefined;
    }
    const place = this.#placeFor(hash & this.#mask);
    if (place < 0) return undefined;
    this.#once[at] = 0;
    return this.#enter(place, hash, kind, new Uint8Array(view.buffer, view.byteOffset + start, length));
  }

  /** A place for one more name, -1 when there is none this time. */
  #placeFor(first: number): number {
    for (let place = first; place < first + this.#ways; place++) if (this.#names[place] === undefined) return place;
    return this.#dice(8) === 0 ? first + this.#dice(this.#ways) : -1;
  }

  #isAt(place: number, view: DataView, kind: number, start: number, end: number): boolean {
    const rows = this.#rows;
    const row = (this.#slots[place * 2 + 1] ?? 0) * rowBytes;
    const length = end - start;
    if (rows.getInt32(row, true) !== length || rows.getInt32(row + 4, true) !== (kind | 0)) return false;
    const from = row + rowHeadBytes;
    if (length < 4) {
      for (let i = 0; i < length; i++) if (rows.getUint8(from + i) !== view.getUint8(start + i)) return false;
      return true;
    }
    // The last word may overlap the one before. Names differ at their end.
    const last = length - 4;
    if (rows.getInt32(from + last, true) !== view.getInt32(start + last, true)) return false;
    for (let i = 0; i < last; i += 4)
      if (rows.getInt32(from + i, true) !== view.getInt32(start + i, true)) return false;
    return true;
  }

  /** A number below `sides`, a power of two. */
  #dice(sides: number): number {
    this.#thrown = (Math.imul(this.#thrown, 1_664_525) + 1_013_904_223) | 0;
    return (this.#thrown >>> 16) & (sides - 1);
  }

  #enter(place: number, hash: number, kind: number, bytes: Uint8Array): SeenName {
    // A place that has a name has a row.
    if (this.#names[place] === undefined) this.#slots[place * 2 + 1] = this.#rowsUsed++;
    const row = (this.#slots[place * 2 + 1] ?? 0) * rowBytes;
    this.#rows.setInt32(row, bytes.length, true);
    this.#rows.setInt32(row + 4, kind, true);
    let text = "";
    for (const [i, byte] of bytes.entries()) {
      this.#rows.setUint8(row + rowHeadBytes + i, byte);
      text += String.fromCharCode(byte);
    }
    const name = new SeenName(place, kind, text);
    this.#names[place] = name;
    this.#slots[place * 2] = hash;
    return name;
  }
}

/** A hash of some of the bytes: names that share it take each other's place, which costs time and nothing else. */
export function sampleOf(view: DataView, start: number, end: number, seed: number): number {
  const length = end - start;
  if (length < sampleBytesMin) {
    let short = seed;
    for (let i = start; i < end; i++) short = Math.imul(short ^ view.getUint8(i), 0x01000193);
    return short;
  }
  const tail = view.getInt32(end - 4, true);
  const before = view.getInt32(end - 8, true);
  const middle = view.getInt32(start + (length >> 1), true);
  let hash =
    Math.imul(tail ^ (length + seed), 0x85ebca6b) ^ Math.imul(before, 0xc2b2ae35) ^ Math.imul(middle, 0x27d4eb2f);
  // Names that end in numbers differ in the high bits only so far, and places are told by the low ones.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

const waysMax = 4;
const sampleBytesMin = 8;
const rowBytes = 256;
const rowHeadBytes = 8;
/** Frames with a longer name are read field by field each time, and decided on anew. */
const nameBytesMax = rowBytes - rowHeadBytes;
