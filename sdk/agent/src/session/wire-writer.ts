/** Writes protobuf's wire format into one growing buffer: for the few messages that are written for every packet. */
export class WireWriter {
  #buffer: Uint8Array;
  #at = 0;

  /** `sizeHint`: about how many bytes are to come. */
  constructor(sizeHint: number) {
    this.#buffer = new Uint8Array(sizeHint);
  }

  /** What was written. The writer is of no use afterwards. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }

  /** An unsigned integer; 0 is left out, as proto3 has it. */
  uint(field: number, value: number): void {
    if (value === 0) return;
    this.#room(20);
    this.#varint(field * 8);
    this.#varint(value);
  }

  /** A 64-bit integer of fixed length, up to 2^53; 0 is left out. */
  fixed64(field: number, value: number): void {
    if (value === 0) return;
    this.#room(18);
    this.#varint(field * 8 + 1);
    let rest = value;
    for (let i = 0; i < 8; i++) {
      this.#buffer[this.#at++] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }

  /** Bytes; none are left out. */
  bytes(field: number, value: Uint8Array): void {
    if (value.length === 0) return;
    this.#room(20 + value.length);
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  /** What was serialised elsewhere, as it is. */
  raw(value: Uint8Array): void {
    this.#room(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  /** The bytes of lower-case hex. */
  hex(field: number, text: string): void {
    const length = text.length / 2;
    if (length === 0) return;
    this.#room(20 + length);
    this.#varint(field * 8 + 2);
    this.#varint(length);
    for (let i = 0; i < text.length; i += 2) {
      this.#buffer[this.#at++] =
        (nibbles[text.charCodeAt(i)] as number) * 16 + (nibbles[text.charCodeAt(i + 1)] as number);
    }
  }

  /** A text; an empty one is left out. Names and media types mostly: ASCII is copied without an encoder. */
  text(field: number, value: string): void {
    if (value.length === 0) return;
    if (!isAscii(value)) {
      this.bytes(field, encoder.encode(value));
      return;
    }
    this.#room(20 + value.length);
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    for (let i = 0; i < value.length; i++) this.#buffer[this.#at++] = value.charCodeAt(i);
  }

  /** A message whose fields `write` writes. Its length comes first, so it is moved once it is known. */
  message(field: number, write: () => void): void {
    this.#room(20);
    this.#varint(field * 8 + 2);
    const start = this.#at;
    // Room for a length below 128; larger ones move what follows.
    this.#at++;
    write();
    const length = this.#at - start - 1;
    const more = varintBytes(length) - 1;
    if (more > 0) {
      this.#room(more);
      this.#buffer.copyWithin(start + 1 + more, start + 1, this.#at);
      this.#at += more;
    }
    const end = this.#at;
    this.#at = start;
    this.#varint(length);
    this.#at = end;
  }

  /** Unsigned integers, packed. */
  packed(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    this.message(field, () => {
      this.#room(10 * values.length);
      for (const value of values) this.#varint(value);
    });
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#buffer[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#at++] = rest;
  }

  #room(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
    larger.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = larger;
  }
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

const encoder = new TextEncoder();
/** Values of the characters of lower-case hex, by code. */
const nibbles = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = "0123456789abcdef".indexOf(String.fromCharCode(code));
  return value < 0 ? 0 : value;
});
