import { createHash } from "node:crypto";
import type { PortSocket } from "./port-socket.ts";

/** RFC 9266 tls-exporter: the same 32 bytes at both ends of one TLS connection, and at no other. */
export function channelBindingOf(socket: Pick<PortSocket, "exportKeyingMaterial">): Uint8Array {
  // Without and with an empty context are the same in TLS 1.3 (RFC 8446 section 7.5); the types want one.
  return socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
}

/** RFC 5929 tls-server-end-point: the hash of the certificate that this server showed on the connection. */
export function serverEndPointOf(socket: Pick<PortSocket, "getCertificate">): Uint8Array | undefined {
  const certificate = certificateOf(socket);
  // Every certificate of an authority is signed with SHA-256, which is the hash that the RFC then asks for.
  return certificate && createHash("sha256").update(certificate).digest();
}

/** DER of the certificate that this end showed. */
export function certificateOf(socket: Pick<PortSocket, "getCertificate">): Uint8Array | undefined {
  const certificate = socket.getCertificate();
  return certificate !== null && "raw" in certificate ? certificate.raw : undefined;
}
