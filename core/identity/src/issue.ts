import type { AgentId, Domain, UnixMs } from "@causeway/core-base";
import type { CryptoPort, Purpose, Role, SigningKey } from "./ports.ts";
import type { CertifiedGateway } from "./verified-peer.ts";

/** A certificate that may issue, with its key. */
export interface Issuer {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly key: SigningKey;
}
export interface Validity {
  readonly notBefore: UnixMs;
  readonly notAfter: UnixMs;
}
/** What a leaf certificate certifies. */
export interface LeafProfile extends Validity {
  readonly spki: Uint8Array;
  readonly spiffeId: AgentId;
  readonly role: Role;
  readonly purpose: Purpose;
  /** Needed exactly when the role is gateway. */
  readonly gateway?: CertifiedGateway;
  /** DNS names and IP addresses; purpose tls only. */
  readonly hosts?: readonly string[];
}
export interface IssuedLeaf {
  readonly certificate: Uint8Array;
  readonly serial: Uint8Array;
}
/** Self-signed root of a domain, DER. */
export function createRoot(_crypto: CryptoPort, _options: Validity & { readonly domain: Domain; readonly key: SigningKey }): Uint8Array {
  throw new Error("not yet");
}
/** Issuing certificate: path length 0, URI names of the domain only. DER. */
export function createIssuing(
  _crypto: CryptoPort,
  _root: Issuer,
  _options: Validity & { readonly domain: Domain; readonly spki: Uint8Array },
): Uint8Array {
  throw new Error("not yet");
}
/** Leaf certificate. `notAfter` is cut to that of the issuer. */
export function issueLeaf(_crypto: CryptoPort, _issuer: Issuer, _profile: LeafProfile): IssuedLeaf {
  throw new Error("not yet");
}
/** Self-signed certificate with which an applicant connects to the authority; proves nothing but the key. DER. */
export function createApplicantCertificate(_crypto: CryptoPort, _key: SigningKey, _validity: Validity): Uint8Array {
  throw new Error("not yet");
}
