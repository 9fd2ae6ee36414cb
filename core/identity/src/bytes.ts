/**
 * Byte operations that the identity room needs and that the language does not have without a platform: comparison,
 * concatenation, hexadecimal, ASCII. Nothing here is secret, so nothing is constant time.
 */

/** True when both have the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** One array of all parts in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += hexOf[byte];
  return out;
}

/** `toHex` for what is kept long: a text that was put together digit by digit keeps every step of it in memory. */
export function toKeptHex(bytes: Uint8Array): string {
  return Array.from(bytes, digitsOf).join("");
}

/** Bytes of an ASCII text; undefined when a character is outside of ASCII. */
export function asciiBytes(text: string): Uint8Array | undefined {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return undefined;
    out[i] = code;
  }
  return out;
}

/** Text of ASCII bytes; undefined when a byte is outside of ASCII. */
export function asciiText(bytes: Uint8Array): string | undefined {
  let out = "";
  for (const byte of bytes) {
    if (byte > 0x7f) return undefined;
    out += String.fromCharCode(byte);
  }
  return out;
}

const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const digitsOf = (byte: number): string => hexOf[byte] ?? "";
