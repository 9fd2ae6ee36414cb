/**
 * TLS options of servers and clients. A client is judged after the handshake, by `verifiedPeerOf` or `peerOrApplicant`:
 * OpenSSL's own judgement would neither know revocation, roles and domains nor give a reason, and it would keep
 * applicants out, so servers ask for the certificate and leave the verdict to the trust store. A client's verdict about
 * the server is part of the handshake: OpenSSL checks the path to the bundles, then the trust store checks the rest.
 */
import type { ConnectionOptions, SecureContextOptions, Server, TLSSocket, TlsOptions } from "node:tls";
import { CausewayError, type Domain, type GatewayUri, refuse, type SpiffeId, type UnixMs } from "@causeway/core-base";
import type { PeerVerifier, Role, VerifiedPeer } from "@causeway/core-identity";
import { chainOf, peerChainOf } from "./peer.ts";
import { contextOptions, type TlsIdentity } from "./tls-identity.ts";

/** Whom a client expects at the other end; every given field has to match. */
export interface ExpectedServer {
  readonly roles: readonly Role[];
  readonly domain?: Domain;
  readonly spiffeId?: SpiffeId;
  readonly gatewayUri?: GatewayUri;
}

/** What a client's connection is made from. */
export interface ClientTls {
  readonly identity: TlsIdentity;
  readonly trust: PeerVerifier;
  readonly expect: ExpectedServer;
  readonly now: () => UnixMs;
}

/**
 * Options for `tls.createServer` and `http2.createSecureServer`. Whoever uses them has to call `verifiedPeerOf` or
 * `peerOrApplicant` for each connection before anything of it is handled.
 */
export function serverOptions(identity: TlsIdentity): TlsOptions {
  return {
    ...serverContext(identity),
    ALPNProtocols: ["h2"],
    requestCert: true,
    // Not "unchecked": see the module comment. OpenSSL still proves that the client holds the key of its certificate.
    rejectUnauthorized: false,
  };
}

/** Gives new connections of a running server another identity, after a renewal. */
export function refreshServer(server: Server, identity: TlsIdentity): void {
  server.setSecureContext(serverContext(identity));
}

/**
 * Without roots: the verdict is the trust store's, while OpenSSL's own would cost a signature check for each certificate
 * and tell whoever connects which domains are trusted.
 */
const serverContext = (identity: TlsIdentity): SecureContextOptions => contextOptions(identity, []);

/**
 * Options for `tls.connect` and `http2.connect`, for one connection. The server is verified when `secureConnect` fires;
 * a refusal is the socket's error, which `tlsErrorOf` names.
 */
export function clientOptions({ identity, trust, expect, now }: ClientTls): ConnectionOptions {
  return {
    ...contextOptions(identity, trust.roots()),
    ALPNProtocols: ["h2"],
    rejectUnauthorized: true,
    // The host name says how the server was reached, not who it is: its SPIFFE ID, role and gateway URI do.
    checkServerIdentity(_host, certificate) {
      try {
        expectServer(
          trust.verifyChain(chainOf(certificate), { now: now(), purpose: "tls", roles: expect.roles }),
          expect,
        );
        return undefined;
      } catch (thrown) {
        return CausewayError.from(thrown);
      }
    },
  };
}

/** The verified server at the other end of a client's connection. Throws the `CAUSEWAY_IDENTITY_*` codes. */
export function verifiedServerOf(socket: TLSSocket, { trust, expect, now }: Omit<ClientTls, "identity">): VerifiedPeer {
  const peer = trust.verifyChain(peerChainOf(socket), { now: now(), purpose: "tls", roles: expect.roles });
  expectServer(peer, expect);
  return peer;
}

function expectServer(peer: VerifiedPeer, expect: ExpectedServer): void {
  const facts: readonly (readonly [string, string | undefined, string | undefined])[] = [
    ["domain", expect.domain, peer.domain],
    ["SPIFFE ID", expect.spiffeId, peer.spiffeId],
    ["gateway URI", expect.gatewayUri, peer.gateway?.uri],
  ];
  for (const [what, wanted, found] of facts) {
    if (wanted === undefined || wanted === found) continue;
    throw refuse(
      "CAUSEWAY_IDENTITY_MISMATCH",
      `expected a server with the ${what} ${wanted}, reached ${peer.spiffeId}${found === undefined ? "" : ` with ${found}`}; check the address`,
    );
  }
}
