/** PEM (RFC 7468): the text form of DER. Strict in the base64, tolerant of text between blocks. */
import { refuse } from "@causeway/core-base";

/** PEM text of DER blocks in order, all with the same label, for example `CERTIFICATE`. */
export function encodePem(label: string, ...ders: readonly Uint8Array[]): string {
  return ders
    .map((bytes) => {
      const lines = encodeBase64(bytes).match(/.{1,64}/g) ?? [];
      return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
    })
    .join("");
}

/** DER blocks with the given label, in order; empty when there is none. Throws on a block that is not base64. */
export function decodePem(label: string, text: string): readonly Uint8Array[] {
  const blocks: Uint8Array[] = [];
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at)) {
    const close = text.indexOf(end, at);
    const body = close < 0 ? undefined : decodeBase64(text.slice(at + begin.length, close).replace(/\s+/g, ""));
    if (body === undefined)
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED",
        `expected a PEM block ${label}, found one that is cut off or not base64`,
      );
    blocks.push(body);
    at = close + end.length;
  }
  return blocks;
}

function encodeBase64(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const chars = [18, 12, 6, 0].map((shift) => alphabet[(group >> shift) & 63]);
    out += chars
      .slice(0, Math.min(3, bytes.length - i) + 1)
      .join("")
      .padEnd(4, "=");
  }
  return out;
}

function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  for (let i = 0, at = 0; i < text.length; i += 4) {
    let group = 0;
    for (let j = 0; j < 4; j++) group = (group << 6) | Math.max(0, alphabet.indexOf(text[i + j] ?? "A"));
    for (const shift of [16, 8, 0]) if (at < out.length) out[at++] = (group >> shift) & 0xff;
  }
  return out;
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
