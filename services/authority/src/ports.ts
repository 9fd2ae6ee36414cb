import type { AnyLimitTable, AuthorityStore, Log, ProcessUsage, Scheduler } from "@causeway/core-base";
import type { CryptoPort, SigningKey } from "@causeway/core-identity";
import type { AuthorityLimits } from "./config.ts";

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
  /** What the configuration says of limits now, for a reload. Throws when it cannot be read. Default: no reload. */
  readonly readLimits?: () => Partial<AuthorityLimits>;
  /** Limits of what carries it, listed beside its own and configured in the same place. */
  readonly limitsBeside?: AnyLimitTable;
  /** What the process uses now, for metrics. Default: not told. */
  readonly processUsage?: () => ProcessUsage;
}
