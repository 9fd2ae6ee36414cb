import type { AuthorityStore, Log, Scheduler } from "@causeway/core-base";
import type { CryptoPort } from "@causeway/core-identity";


/** A CA key: signs, never leaves its holder. */
export interface CaKey {
  /** SubjectPublicKeyInfo, DER. P-256. */
  readonly spki: Uint8Array;
  /** ECDSA over SHA-256, ASN.1. */
  sign(message: Uint8Array): Uint8Array;
}

/** The two CA keys. The root key signs only the issuing certificate and its CRL, so it is fetched per use. */
export interface CaKeys {
  root(): CaKey;
  issuing(): CaKey;
}

/** Fetches the current CRLs of another domain's authority over mutual TLS. */
export type FetchForeignCrls = (domain: string, authorityUrl: string, signal: AbortSignal) => Promise<readonly Uint8Array[]>;

/** Everything that the authority needs of the outside. */
export interface AuthorityPorts {
  readonly store: AuthorityStore;
  readonly keys: CaKeys;
  readonly crypto: CryptoPort;
  readonly scheduler: Scheduler;
  readonly log?: Log;
  readonly fetchForeignCrls?: FetchForeignCrls;
}
