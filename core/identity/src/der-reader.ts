/**
 * Strict reader of DER (X.690). It accepts one encoding for each value and nothing else: no indefinite lengths, no
 * length or integer that has a shorter form, no tag numbers above 30, no bytes left over. It allocates nothing that its
 * input does not contain and does not recurse, so that hostile input costs at most its own length.
 * It knows ASN.1 only; what a structure means is for its callers.
 */
import { asciiText } from "./bytes.ts";

/** Tag bytes of the universal types and the constructors of context tags. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** `[number]` around a primitive value. */
export const contextPrimitive = (number: number): number => 0x80 | number;
/** `[number]` around a constructed value. */
export const contextConstructed = (number: number): number => 0xa0 | number;

/** The input is not the DER that was expected. Parsers turn it into an error of the table. */
export class DerError extends Error {
  override readonly name = "DerError";
}

/** Reads the values of one constructed value in order. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** True when nothing is left. */
  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** Throws unless everything was read. */
  end(): void {
    if (this.#at !== this.#end) throw new DerError(`${this.#end - this.#at} bytes left over at ${this.#at}`);
  }

  /** The next tag byte, or undefined at the end. */
  peek(): number | undefined {
    return this.#at < this.#end ? this.#bytes[this.#at] : undefined;
  }

  /** Reads the header of the next value of `tag` and returns a reader over its content. */
  enter(tag: number): DerReader {
    const { start, end } = this.#next(tag);
    return new DerReader(this.#bytes, start, end);
  }

  /** Like `enter` when the next tag is `tag`, else undefined. */
  enterOptional(tag: number): DerReader | undefined {
    return this.peek() === tag ? this.enter(tag) : undefined;
  }

  /** Content of the next value of `tag`, as a view. */
  content(tag: number): Uint8Array {
    const { start, end } = this.#next(tag);
    return this.#bytes.subarray(start, end);
  }

  /** The next value of `tag` with its header, as a view. */
  whole(tag: number): Uint8Array {
    const from = this.#at;
    const { end } = this.#next(tag);
    return this.#bytes.subarray(from, end);
  }

  /** The next value, whatever it is: its tag and its content. */
  any(): { readonly tag: number; readonly content: Uint8Array } {
    const tag = this.peek();
    if (tag === undefined) throw new DerError(`unexpected end at ${this.#at}`);
    return { tag, content: this.content(tag) };
  }

  /** What is left, as a view. */
  rest(): Uint8Array {
    const out = this.#bytes.subarray(this.#at, this.#end);
    this.#at = this.#end;
    return out;
  }

  /** BOOLEAN. */
  boolean(): boolean {
    const content = this.content(tags.boolean);
    const value = content[0];
    if (content.length !== 1 || (value !== 0 && value !== 0xff)) throw new DerError("BOOLEAN is neither 00 nor FF");
    return value === 0xff;
  }

  /** Content of a non-negative INTEGER without the sign byte. */
  unsigned(tag: number = tags.integer): Uint8Array {
    const content = this.content(tag);
    const [first, second] = content;
    if (first === undefined) throw new DerError("INTEGER is empty");
    if (first >= 0x80) throw new DerError("INTEGER is negative");
    if (first === 0 && second !== undefined) {
      if (second < 0x80) throw new DerError("INTEGER is not minimal");
      return content.subarray(1);
    }
    return content;
  }

  /** A non-negative INTEGER up to 2^31 - 1. */
  small(tag: number = tags.integer): number {
    const content = this.unsigned(tag);
    if (content.length > 4) throw new DerError("INTEGER is too large");
    let value = 0;
    for (const byte of content) value = value * 256 + byte;
    if (value > 0x7fff_ffff) throw new DerError("INTEGER is too large");
    return value;
  }

  /** OBJECT IDENTIFIER as its content in lower-case hexadecimal is compared by callers; here the raw content. */
  oid(tag: number = tags.oid): Uint8Array {
    const content = this.content(tag);
    if (content.length === 0 || content.length > oidBytesMax) throw new DerError("OBJECT IDENTIFIER has a bad length");
    let first = true;
    for (const byte of content) {
      if (first && byte === 0x80) throw new DerError("OBJECT IDENTIFIER is not minimal");
      first = byte < 0x80;
    }
    if (!first) throw new DerError("OBJECT IDENTIFIER is cut off");
    return content;
  }

  /** BIT STRING of whole bytes. */
  bitStringBytes(tag: number = tags.bitString): Uint8Array {
    const content = this.content(tag);
    if (content[0] !== 0) throw new DerError("BIT STRING has unused bits");
    return content.subarray(1);
  }

  /** BIT STRING of named bits: without trailing zero bits, at most `bitsMax`; the numbers of the bits that are set. */
  namedBits(bitsMax: number): ReadonlySet<number> {
    const content = this.content(tags.bitString);
    const unused = content[0];
    const last = content.at(-1);
    if (unused === undefined || unused > 7 || (content.length === 1 && unused !== 0))
      throw new DerError("BIT STRING is malformed");
    const bits = new Set<number>();
    if (content.length === 1 || last === undefined) return bits;
    if ((last & ((1 << (unused + 1)) - 1)) !== 1 << unused)
      throw new DerError("BIT STRING of named bits is not minimal");
    if ((content.length - 1) * 8 - unused > bitsMax) throw new DerError("BIT STRING has unknown bits");
    for (let i = 1; i < content.length; i++) {
      for (let bit = 0; bit < 8; bit++) if (((content[i] ?? 0) >> (7 - bit)) & 1) bits.add((i - 1) * 8 + bit);
    }
    return bits;
  }

  /** A string type whose content is ASCII. */
  ascii(tag: number): string {
    const text = asciiText(this.content(tag));
    if (text === undefined) throw new DerError("string has characters outside of ASCII");
    return text;
  }

  #next(tag: number): { readonly start: number; readonly end: number } {
    const bytes = this.#bytes;
    const found = this.peek();
    if (found === undefined) throw new DerError(`expected tag ${tagText(tag)} at ${this.#at}, found the end`);
    if ((found & 0x1f) === 0x1f) throw new DerError(`tag numbers above 30 are not used, found one at ${this.#at}`);
    if (found !== tag) throw new DerError(`expected tag ${tagText(tag)} at ${this.#at}, found ${tagText(found)}`);
    const first = this.#at + 1 < this.#end ? bytes[this.#at + 1] : undefined;
    if (first === undefined) throw new DerError(`unexpected end at ${this.#at + 1}`);
    let start = this.#at + 2;
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0 || count > 4) throw new DerError(`length of ${count} bytes at ${this.#at} is not accepted`);
      if (start + count > this.#end) throw new DerError(`unexpected end at ${start}`);
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? 0);
      if (bytes[start] === 0 || length < 0x80) throw new DerError(`length at ${this.#at} is not minimal`);
      start += count;
    }
    const end = start + length;
    if (end > this.#end) throw new DerError(`value at ${this.#at} is longer than what holds it`);
    this.#at = end;
    return { start, end };
  }
}

/** Reads exactly one value of `tag` from `bytes` with nothing behind it. */
export function readOnly<T>(bytes: Uint8Array, tag: number, read: (content: DerReader) => T): T {
  const outer = new DerReader(bytes);
  const content = outer.enter(tag);
  outer.end();
  const value = read(content);
  content.end();
  return value;
}

const tagText = (tag: number): string => `0x${tag.toString(16).padStart(2, "0")}`;

/** Longest OBJECT IDENTIFIER content in bytes; ours, under a UUID arc, have 22. */
const oidBytesMax = 39;
