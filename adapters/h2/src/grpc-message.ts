import type { OutgoingHttpHeaders } from "node:http2";

/**
 * Encodes `grpc-message` again, as gRPC wants it: only what is not printable ASCII, and '%'. Connect escapes commas and
 * quotes as well, and clients like grpc-js show those escapes to their users.
 */
export function readableStatus(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const message = headers["grpc-message"];
  return typeof message === "string" ? { ...headers, "grpc-message": encodeMessage(decodeMessage(message)) } : headers;
}

/** Percent-encodes the UTF-8 of what is not printable ASCII, and '%'. */
export function encodeMessage(text: string): string {
  let out = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    out += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not percent-encoded after all: it is the text itself.
    return text;
  }
}
