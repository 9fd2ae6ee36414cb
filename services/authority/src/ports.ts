import type { AuthorityStore, Log, Scheduler } from "@causeway/core-base";
import type { CryptoPort, SigningKey } from "@causeway/core-identity";

/** The two CA keys. Both are P-256 and never leave their holder. */
export interface CaKeys {
  /** Fetched for each use: it signs the issuing certificate and the CRL above it, and rests sealed in between. */
  root(): Promise<SigningKey>;
  /** Signs leaves and their CRL. */
  readonly issuing: SigningKey;
}

/** Fetches the current CRLs (DER) of another domain's authority over mutual TLS. */
export type FetchForeignCrls = (
  domain: string,
  authorityUrl: string,
  signal: AbortSignal,
) => Promise<readonly Uint8Array[]>;

/** Everything that the authority needs of the outside. */
export interface AuthorityPorts {
  readonly store: AuthorityStore;
  readonly keys: CaKeys;
  readonly crypto: CryptoPort;
  readonly scheduler: Scheduler;
  readonly log?: Log;
  readonly fetchForeignCrls?: FetchForeignCrls;
}
