/**
 * Writer of DER (X.690): functions that return the bytes of one value. What they write, the strict reader reads.
 * Arguments come from our own code, so a wrong one is a defect and throws a plain error.
 */
import { asciiBytes, concatBytes } from "./bytes.ts";
import { contextConstructed, contextPrimitive, tags } from "./der-reader.ts";

/** One value: tag, length, content. */
export function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content);
  const length = body.length;
  if (length < 0x80) return concatBytes(Uint8Array.of(tag, length), body);
  const lengthBytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) lengthBytes.unshift(rest % 256);
  return concatBytes(Uint8Array.of(tag, 0x80 | lengthBytes.length, ...lengthBytes), body);
}

/** SEQUENCE of the given values. */
export const sequence = (...values: readonly Uint8Array[]): Uint8Array => der(tags.sequence, ...values);

/** SET OF in the order of DER: sorted by encoding. */
export const setOf = (...values: readonly Uint8Array[]): Uint8Array => der(tags.set, ...values.toSorted(compareBytes));

/** `[number] EXPLICIT` or IMPLICIT around constructed content. */
export const tagged = (number: number, ...content: readonly Uint8Array[]): Uint8Array =>
  der(contextConstructed(number), ...content);

/** `[number] IMPLICIT` around primitive content. */
export const taggedPrimitive = (number: number, content: Uint8Array): Uint8Array =>
  der(contextPrimitive(number), content);

/** BOOLEAN. */
export const boolean = (value: boolean): Uint8Array => Uint8Array.of(tags.boolean, 1, value ? 0xff : 0);

/** Non-negative INTEGER from big-endian bytes. */
export function unsigned(magnitude: Uint8Array, tag: number = tags.integer): Uint8Array {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++;
  const trimmed = magnitude.length === 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  return (trimmed[0] ?? 0) >= 0x80 ? der(tag, Uint8Array.of(0), trimmed) : der(tag, trimmed);
}

/** Non-negative INTEGER. */
export function integer(value: number | bigint, tag: number = tags.integer): Uint8Array {
  if (value < 0) throw new Error("negative INTEGER");
  const bytes: number[] = [];
  for (let rest = BigInt(value); rest > 0n; rest >>= 8n) bytes.unshift(Number(rest & 0xffn));
  return unsigned(Uint8Array.from(bytes), tag);
}

/** OBJECT IDENTIFIER from its dotted form. Arcs may be as large as a UUID. */
export function oid(dotted: string): Uint8Array {
  const [first, second, ...rest] = dotted.split(".").map(BigInt);
  if (first === undefined || second === undefined) throw new Error(`not an OBJECT IDENTIFIER: ${dotted}`);
  const out: number[] = [];
  for (const arc of [first * 40n + second, ...rest]) {
    const group = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) group.unshift(Number(left & 0x7fn) | 0x80);
    out.push(...group);
  }
  return der(tags.oid, Uint8Array.from(out));
}

/** OCTET STRING. */
export const octetString = (content: Uint8Array): Uint8Array => der(tags.octetString, content);

/** BIT STRING of whole bytes. */
export const bitString = (content: Uint8Array): Uint8Array => der(tags.bitString, Uint8Array.of(0), content);

/** BIT STRING of named bits, without trailing zero bits. */
export function namedBits(...bits: readonly number[]): Uint8Array {
  if (bits.length === 0) return der(tags.bitString, Uint8Array.of(0));
  const top = Math.max(...bits);
  const bytes = new Uint8Array(Math.floor(top / 8) + 1);
  for (const bit of bits) {
    const index = Math.floor(bit / 8);
    bytes[index] = (bytes[index] ?? 0) | (0x80 >> (bit % 8));
  }
  return der(tags.bitString, Uint8Array.of(7 - (top % 8)), bytes);
}

/** A string type with ASCII content. */
export function ascii(tag: number, text: string): Uint8Array {
  const bytes = asciiBytes(text);
  if (bytes === undefined) throw new Error(`not ASCII: ${JSON.stringify(text)}`);
  return der(tag, bytes);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
