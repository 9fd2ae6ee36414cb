export { applicantKeyOf, type Certificate, fingerprintOf, parseCertificate } from "./certificate.ts";
export type { Validity } from "./certificate-builder.ts";
export {
  type Crl,
  type CrlContent,
  createCrl,
  isCrlIssuedBy,
  parseCrl,
  type RevocationReasonCode,
  type RevokedEntry,
} from "./crl.ts";
export { type CertificateRequest, createCsr, parseCsr } from "./csr.ts";
export { requireMetricsReaderOf, requireOperatorOf } from "./duties.ts";
export {
  createApplicantCertificate,
  createIssuing,
  createRoot,
  type IssuedLeaf,
  type Issuer,
  issueLeaf,
  type LeafProfile,
} from "./issue.ts";
export { encodeJoinToken, type JoinToken, parseJoinToken } from "./join-token.ts";
export { decodePem, encodePem } from "./pem.ts";
export { type CryptoPort, type Purpose, purposes, type Role, roles, type Signer, type SigningKey } from "./ports.ts";
export { acceptKey, type KeyKind, parsePublicKey } from "./public-key.ts";
export { crlGraceMs } from "./revocation.ts";
export { purposesOf, roleOfName, rolesFor } from "./role-purposes.ts";
export {
  type LabelledBytes,
  labelled,
  type SignatureLabel,
  signBytes,
  verifyByPeer,
  verifySignature,
} from "./signature.ts";
export { type PeerVerifier, pinnedTrust, type TrustProblem, TrustStore, type VerifyOptions } from "./trust-store.ts";
export { type CertifiedGateway, isVerifiedPeer, type VerifiedPeer } from "./verified-peer.ts";
