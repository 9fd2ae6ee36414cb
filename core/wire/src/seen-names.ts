/**
 * Names of frames that passed the grammar before. Senders write many messages under few names, and checking, hashing and
 * comparing a name byte by byte costs more than the rest of a scan; a name that is known is recognised by words, and
 * what others keep for a name they find by its identity. A name is entered when it comes a second time, so that traffic
 * under ever new names costs no memory. Bounded: a place holds one name, the newest.
 *
 * A hit compares all bytes with a private copy. Whether a name is known changes no outcome.
 */

/** One name, for good. */
export class SeenName {
  readonly hash: number;
  /** Target kind whose grammar it passed. */
  readonly kind: number;
  /** The name as text. */
  readonly text: string;
  /** True when its last segment names an instance. */
  readonly hasInstance: boolean;
  readonly #bytes: DataView;

  /** Copies the bytes. */
  constructor(kind: number, hash: number, name: Uint8Array) {
    const bytes = new Uint8Array(name);
    this.kind = kind;
    this.hash = hash;
    this.text = String.fromCharCode(...bytes);
    this.hasInstance = this.text.includes("/@");
    this.#bytes = new DataView(bytes.buffer);
  }

  /** True when the range holds exactly this name. */
  is(view: DataView, start: number, end: number): boolean {
    const own = this.#bytes;
    const length = own.byteLength;
    if (end - start !== length) return false;
    let i = 0;
    for (; i + 4 <= length; i += 4) if (own.getInt32(i, true) !== view.getInt32(start + i, true)) return false;
    for (; i < length; i++) if (own.getUint8(i) !== view.getUint8(start + i)) return false;
    return true;
  }
}

/** The names seen lately. */
export class SeenNames {
  readonly #mask: number;
  readonly #names: (SeenName | undefined)[];
  /** Hash of the name that came last and is not entered, by place. */
  readonly #once: Int32Array;

  /** `places`: a power of two, default 4,096. */
  constructor(places = 4_096) {
    this.#mask = places - 1;
    this.#names = new Array<SeenName | undefined>(places).fill(undefined);
    this.#once = new Int32Array(places);
  }

  /** The name in the range when it passed the grammar of `kind` before. */
  find(view: DataView, kind: number, start: number, end: number): SeenName | undefined {
    const hash = sampleOf(view, start, end, kind);
    const seen = this.#names[hash & this.#mask];
    return seen !== undefined && seen.hash === hash && seen.kind === kind && seen.is(view, start, end)
      ? seen
      : undefined;
  }

  /** Notes that a name which is not entered has passed the grammar of `kind`; itself when it came before. */
  note(view: DataView, kind: number, start: number, end: number): SeenName | undefined {
    const hash = sampleOf(view, start, end, kind);
    const place = hash & this.#mask;
    if (this.#once[place] !== hash) {
      this.#once[place] = hash;
      return undefined;
    }
    const name = new SeenName(kind, hash, new Uint8Array(view.buffer, view.byteOffset + start, end - start));
    this.#names[place] = name;
    return name;
  }
}

/** A hash of some of the bytes: names that share it take each other's place, which costs time and nothing else. */
function sampleOf(view: DataView, start: number, end: number, seed: number): number {
  const length = end - start;
  if (length < sampleBytesMin) return 0;
  const tail = view.getInt32(end - 4, true);
  const before = view.getInt32(end - 8, true);
  const middle = view.getInt32(start + (length >> 1), true);
  const hash =
    Math.imul(tail ^ (length + seed), 0x85ebca6b) ^ Math.imul(before, 0xc2b2ae35) ^ Math.imul(middle, 0x27d4eb2f);
  return hash ^ (hash >>> 15);
}

const sampleBytesMin = 8;
