import type { CryptoPort } from "@causeway/core-identity";

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** True when both hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Hex SHA-256 of bytes or of the UTF-8 form of a text. */
export function hashHex(crypto: CryptoPort, data: Uint8Array | string): string {
  return toHex(crypto.sha256(typeof data === "string" ? new TextEncoder().encode(data) : data));
}

/** Bytes of a hex text. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
