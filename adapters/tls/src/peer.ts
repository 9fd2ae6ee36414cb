/** Who is at the other end of a connection, judged by the trust store and by nothing else. */
import { isCausewayError, refuse, type UnixMs } from "@causeway/core-base";
import { applicantKeyOf, type CryptoPort, type PeerVerifier, type VerifiedPeer } from "@causeway/core-identity";

/** A certificate and who issued it; without properties when there is none, as Node has it. */
export interface ShownCertificate {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: ShownCertificate;
}

/** What is looked at of a TLS connection: a socket of node:tls, or the like of one that another thread terminates. */
export interface PeerSocket {
  getProtocol(): string | null;
  isSessionReused(): boolean;
  getPeerCertificate(detailed: true): ShownCertificate;
}

/** Someone who holds a key and has no certificate yet. */
export interface Applicant {
  readonly kind: "applicant";
  /** Key of the connection, SubjectPublicKeyInfo DER: the request for the tls certificate has to be over this key. */
  readonly spki: Uint8Array;
}

/**
 * The verified identity at the other end. Judged anew at every call, so it also tells whether a connection that is open
 * is still acceptable. Throws the `CAUSEWAY_IDENTITY_*` codes; the socket must not be used then.
 */
export function verifiedPeerOf(socket: PeerSocket, trust: PeerVerifier, now: UnixMs): VerifiedPeer {
  return trust.verifyChain(peerChainOf(socket), { now, purpose: "tls" });
}

/** For the authority's port: a verified peer, or an applicant with a self-signed certificate. Throws for all others. */
export function peerOrApplicant(
  socket: PeerSocket,
  trust: PeerVerifier,
  crypto: CryptoPort,
  now: UnixMs,
): Applicant | { readonly kind: "peer"; readonly peer: VerifiedPeer } {
  const chain = peerChainOf(socket);
  try {
    return { kind: "peer", peer: trust.verifyChain(chain, { now, purpose: "tls" }) };
  } catch (thrown) {
    const [leaf] = chain;
    if (!isCausewayError(thrown) || thrown.code !== "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED" || leaf === undefined)
      throw thrown;
    return { kind: "applicant", spki: applicantKeyOf(crypto, leaf) };
  }
}

/** The certificates that the other end sent (DER, leaf first), as far as each is issued by the next one. */
export function peerChainOf(socket: PeerSocket): readonly Uint8Array[] {
  if (socket.getProtocol() !== "TLSv1.3") {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
      `expected a connection of TLS 1.3, got ${socket.getProtocol() ?? "one without TLS"}`,
    );
  }
  if (socket.isSessionReused()) {
    throw refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
      "expected a full handshake with certificates, got a resumed session; connect anew",
    );
  }
  // NOTE: `getPeerX509Certificate` takes the leaf out of OpenSSL's own list each time, so a second call finds nothing.
  return chainOf(socket.getPeerCertificate(true));
}

/** DER of a certificate and of its issuers, as far as they are there. A root is its own issuer and ends the chain. */
export function chainOf(leaf: ShownCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: ShownCertificate | undefined = leaf;
  while (certificate?.raw !== undefined && chain.length < certificatesMax) {
    const der = new Uint8Array(certificate.raw);
    if (chain.some((other) => Buffer.compare(other, der) === 0)) break;
    chain.push(chain.length === 0 ? der : shared(der));
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** The one copy of an issuer's certificate: ten thousand connections show the same. */
function shared(issuer: Uint8Array): Uint8Array {
  const known = issuers.find((other) => Buffer.compare(other, issuer) === 0);
  if (known !== undefined) return known;
  issuers.unshift(issuer);
  issuers.length = Math.min(issuers.length, issuersMax);
  return issuer;
}

const issuers: Uint8Array[] = [];
const issuersMax = 64;

/** More than the verifier accepts, so that it is the one to refuse. */
const certificatesMax = 8;
