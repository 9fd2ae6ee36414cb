/**
 * Reads protobuf's wire format (tags, varints, lengths) from a byte range, for the scanners of this room. Strict: an
 * integer has to be in its shortest form. Every method returns false at a fault and never reads outside the range;
 * `fault` says which.
 */
export type ByteFault = "truncated" | "overlong" | "wire-type";

/** A position in a byte range, with registers for what was read last. Reusable. */
export class ByteCursor {
  at = 0;
  /** Number of the field whose tag was read last. */
  field = 0;
  /** Its wire type. */
  wire = 0;
  /** Integer read last. */
  value = 0;
  /** Range read last. */
  from = 0;
  to = 0;
  fault: ByteFault = "truncated";
  #buf: Uint8Array = new Uint8Array(0);
  #end = 0;

  /** Starts over at another range, which has to lie inside `buf`. */
  over(buf: Uint8Array, start: number, end: number): this {
    if (this.#buf !== buf) this.#buf = buf;
    this.#end = end;
    this.at = start;
    return this;
  }

  /** Reads a tag into `field` and `wire`. */
  readTag(): boolean {
    if (!this.readUint32()) return false;
    this.field = this.value >>> 3;
    this.wire = this.value & 7;
    return this.field > 0 || this.#fail("wire-type");
  }

  /** Reads a varint of at most 32 bits into `value`. */
  readUint32(): boolean {
    // Nearly every tag, length and number of a header is one byte.
    if (this.at < this.#end) {
      const byte = this.#buf[this.at] as number;
      if (byte < 0x80) {
        this.at++;
        this.value = byte;
        return true;
      }
    }
    return this.#readLongUint32();
  }

  #readLongUint32(): boolean {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5; i++) {
      if (this.at >= this.#end) return this.#fail("truncated");
      const byte = this.#buf[this.at++] as number;
      // The fifth byte holds the top four bits only.
      if (i === 4 && byte > 0x0f) return this.#fail("overlong");
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) return this.#fail("overlong");
        this.value = value;
        return true;
      }
    }
    return this.#fail("overlong");
  }

  /** Reads a little-endian 64-bit integer into `value`; above 2^53 it is only approximate. */
  readFixed64(): boolean {
    if (this.#end - this.at < 8) return this.#fail("truncated");
    let value = 0;
    for (let i = 7; i >= 0; i--) value = value * 256 + (this.#buf[this.at + i] as number);
    this.at += 8;
    this.value = value;
    return true;
  }

  /** Reads a length and passes over the bytes that it announces: `[from, to)`. */
  readRange(): boolean {
    if (!this.readUint32()) return false;
    if (this.value > this.#end - this.at) return this.#fail("truncated");
    this.from = this.at;
    this.at += this.value;
    this.to = this.at;
    return true;
  }

  /** Passes over the value of an unknown field. Groups, which proto3 doesn't have, are a fault. */
  skip(): boolean {
    switch (this.wire) {
      case 0:
        return this.#skipVarint();
      case 1:
        return this.#skipBytes(8);
      case 2:
        return this.readRange();
      case 5:
        return this.#skipBytes(4);
      default:
        return this.#fail("wire-type");
    }
  }

  #skipVarint(): boolean {
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.#end) return this.#fail("truncated");
      const byte = this.#buf[this.at++] as number;
      if (i === 9 && byte > 1) return this.#fail("overlong");
      if (byte < 0x80) return byte !== 0 || i === 0 || this.#fail("overlong");
    }
    return this.#fail("overlong");
  }

  #skipBytes(count: number): boolean {
    if (this.#end - this.at < count) return this.#fail("truncated");
    this.at += count;
    return true;
  }

  #fail(fault: ByteFault): false {
    this.fault = fault;
    return false;
  }
}
