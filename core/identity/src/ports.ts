/**
 * What the identity room needs from outside: hashing, signature verification and randomness, all synchronous, and keys
 * that can sign. Private key bytes never appear here; a key is something that signs.
 */

/** The cryptography of the platform. Synchronous, so that the core stays synchronous. */
export interface CryptoPort {
  sha256(data: Uint8Array): Uint8Array;
  /** ECDSA P-256 with SHA-256 (ASN.1 signature) or Ed25519, by the key type in `spkiDer`. False for anything else. */
  verify(spkiDer: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  randomBytes(length: number): Uint8Array;
}

/** A private key that can sign and its public half. */
export interface SigningKey {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** ECDSA P-256 with SHA-256 (ASN.1 signature) or Ed25519. */
  sign(message: Uint8Array): Uint8Array;
}

/** A signing key with the certificates that say whose it is. */
export interface Signer extends SigningKey {
  /** DER, leaf first, root left out. */
  readonly chain: readonly Uint8Array[];
}

/** What a certified identity is. */
export type Role = "agent" | "gateway" | "registry" | "authority" | "operator" | "monitor";

/** What a certificate of an identity is for: connections, MLS leaves, or signed records. */
export type Purpose = "tls" | "mls" | "record";

/** Every role, in the order in which they are documented. */
export const roles = [
  "agent",
  "gateway",
  "registry",
  "authority",
  "operator",
  "monitor",
] as const satisfies readonly Role[];

/** Every purpose. */
export const purposes = ["tls", "mls", "record"] as const satisfies readonly Purpose[];
