import type { TLSSocket } from "node:tls";

/** RFC 9266 tls-exporter: the same 32 bytes at both ends of one TLS connection, and at no other. */
export function channelBindingOf(socket: TLSSocket): Uint8Array {
  // Without and with an empty context are the same in TLS 1.3 (RFC 8446 section 7.5); the types want one.
  return socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
}
