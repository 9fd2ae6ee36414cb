import type { KeyObject } from "node:crypto";
import type { SecureContextOptions, Server, TLSSocket, TlsOptions, ConnectionOptions } from "node:tls";
import type { Domain, GatewayUri, SpiffeId, UnixMs } from "@causeway/core-base";
import type { CryptoPort, PeerVerifier, Role, VerifiedPeer } from "@causeway/core-identity";

/** Key and certificates of one end of a connection. */
export interface TlsIdentity {
  /** PKCS#8 PEM, or the key object. */
  readonly key: string | KeyObject;
  /** PEM, leaf first. The root is left out, except by the authority (see `fetchPinnedRoot`). */
  readonly chainPem: string;
}
/** Whom a client expects at the other end; every given field has to match. */
export interface ExpectedServer {
  readonly roles: readonly Role[];
  readonly domain?: Domain;
  readonly spiffeId?: SpiffeId;
  readonly gatewayUri?: GatewayUri;
}
/** node:tls (and http2.createSecureServer) options. The caller MUST call `verifiedPeerOf` on every socket before using it. */
export function serverOptions(_o: { readonly identity: () => TlsIdentity; readonly trust: PeerVerifier }): TlsOptions {
  throw new Error("not yet");
}
/** Gives new connections of a running server the current identity and roots; call after a renewal or a trust change. */
export function refreshServer(_server: Server, _o: { readonly identity: () => TlsIdentity; readonly trust: PeerVerifier }): void {
  throw new Error("not yet");
}
/** node:tls.connect (and http2.connect) options. The server is verified before `secureConnect`; make them anew for each connection. */
export function clientOptions(_o: {
  readonly identity: TlsIdentity;
  readonly trust: PeerVerifier;
  readonly expect: ExpectedServer;
  readonly now: () => UnixMs;
}): ConnectionOptions & SecureContextOptions {
  throw new Error("not yet");
}
/** The verified identity at the other end. Throws the CAUSEWAY_IDENTITY_* codes; then destroy the socket. */
export function verifiedPeerOf(_socket: TLSSocket, _trust: PeerVerifier, _now: UnixMs): VerifiedPeer {
  throw new Error("not yet");
}
/** Someone who holds a key and has no certificate yet. */
export interface Applicant {
  readonly kind: "applicant";
  /** Key of the connection: the tls CSR has to be over this key. */
  readonly spki: Uint8Array;
}
/** For the authority's port: a verified peer, or an applicant with a self-signed certificate. */
export function peerOrApplicant(
  _socket: TLSSocket,
  _trust: PeerVerifier,
  _crypto: CryptoPort,
  _now: UnixMs,
): Applicant | { readonly kind: "peer"; readonly peer: VerifiedPeer } {
  throw new Error("not yet");
}
/** RFC 9266 tls-exporter, 32 bytes; equal at both ends of one connection. */
export function channelBinding(_socket: TLSSocket): Uint8Array {
  throw new Error("not yet");
}
/** Names any error of a TLS connection in our table (client side: OpenSSL's refusals get their CAUSEWAY_IDENTITY_* code). */
export function tlsErrorOf(_thrown: unknown): Error {
  throw new Error("not yet");
}
/** Opens a connection that sends nothing, and returns the root (DER) whose SHA-256 is the join token's fingerprint. Give it to `pinnedTrust`. */
export function fetchPinnedRoot(_o: { readonly url: string; readonly fingerprint: string; readonly identity: TlsIdentity; readonly signal?: AbortSignal }): Promise<Uint8Array> {
  throw new Error("not yet");
}
