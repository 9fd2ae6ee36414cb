/** Reads protobuf's wire format: the other half of `WireWriter`. Throws `CAUSEWAY_FRAME_MALFORMED` at a fault. */
import { type CausewayError, refuse } from "@causeway/core-base";

export class WireReader {
  /** Number of the field whose tag was read last. */
  field = 0;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  #wire = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Reads the next tag. False at the end. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.#wire = tag % 8;
    if (this.field === 0) throw malformed();
    return true;
  }

  /** An unsigned integer up to 2^53. */
  uint(): number {
    this.#expect(0);
    return this.#varint();
  }

  fixed64(): number {
    this.#expect(1);
    if (this.#end - this.#at < 8) throw malformed();
    let value = 0;
    for (let i = 7; i >= 0; i--) value = value * 256 + (this.#bytes[this.#at + i] as number);
    this.#at += 8;
    if (!Number.isSafeInteger(value)) throw malformed();
    return value;
  }

  /** A view of the bytes. */
  bytes(): Uint8Array {
    const [start, end] = this.#range();
    return this.#bytes.subarray(start, end);
  }

  text(): string {
    return decoder.decode(this.bytes());
  }

  hex(): string {
    const [start, end] = this.#range();
    let text = "";
    for (let i = start; i < end; i++) text += hexOf[this.#bytes[i] as number];
    return text;
  }

  /** A reader of the fields of a message inside. */
  message(): WireReader {
    const [start, end] = this.#range();
    return new WireReader(this.#bytes, start, end);
  }

  /** Unsigned integers, packed or single. */
  uintsInto(values: number[]): void {
    if (this.#wire === 0) {
      values.push(this.#varint());
      return;
    }
    const [start, end] = this.#range();
    const inner = new WireReader(this.#bytes, start, end);
    while (inner.#at < end) values.push(inner.#varint());
  }

  /** Passes over a field that is not known. */
  skip(): void {
    if (this.#wire === 0) this.#varint();
    else if (this.#wire === 1) this.#pass(8);
    else if (this.#wire === 2) this.#range();
    else if (this.#wire === 5) this.#pass(4);
    else throw malformed();
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) throw malformed();
  }

  #pass(count: number): void {
    if (this.#end - this.#at < count) throw malformed();
    this.#at += count;
  }

  #range(): readonly [start: number, end: number] {
    this.#expect(2);
    const length = this.#varint();
    const start = this.#at;
    this.#pass(length);
    return [start, start + length];
  }

  #varint(): number {
    const first = this.#bytes[this.#at];
    // Most are one byte.
    if (first !== undefined && first < 0x80 && this.#at < this.#end) {
      this.#at++;
      return first;
    }
    let [value, scale] = [0, 1];
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) throw malformed();
      const byte = this.#bytes[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) throw malformed();
        return value;
      }
    }
    throw malformed();
  }
}

function malformed(): CausewayError {
  return refuse("CAUSEWAY_FRAME_MALFORMED", "expected a SessionPacket inside MLS, got bytes that do not parse");
}

const decoder = new TextDecoder();
const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
