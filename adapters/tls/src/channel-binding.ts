import type { TLSSocket } from "node:tls";

/** Channel binding `tls-exporter` (RFC 9266), 32 bytes: equal at both ends of a connection, different for every other. */
export function channelBinding(socket: TLSSocket): Uint8Array {
  return new Uint8Array(socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0)));
}
