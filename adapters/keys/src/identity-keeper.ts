import { type CausewayError, type Domain, type Log, type Random, refuse, type Scheduler, type SpiffeId } from "@causeway/core-base";
import type { CryptoPort, Role, TrustStore } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import type { Client, Transport } from "@connectrpc/connect";
import type { Identity, TlsIdentity } from "./identity.ts";
import type { KeyVault } from "./key-vault.ts";

/** A connection to an authority that the keeper asks for. */
export interface AuthorityConnection {
  readonly url: string;
  /** Own certificate; a self-signed one during enrolment. Read again for each new TLS connection. */
  readonly identity: () => TlsIdentity;
  /** Judges the server. Empty when `expect.rootFingerprint` has to be used. */
  readonly trust: TrustStore;
  readonly expect: {
    readonly role: Extract<Role, "authority">;
    readonly domain?: Domain;
    /** Hex SHA-256 of the root (DER) that has to end the server's chain; only while nothing else is trusted yet. */
    readonly rootFingerprint?: string;
  };
}

/** Makes a Connect transport to an authority. Injected: the composition root takes it from adapters/h2 and adapters/tls. */
export type ConnectAuthority = (connection: AuthorityConnection) => Transport;

/** How to get an identity when there is none on disk. */
export type Enrolment =
  | {
      /** One string from the operator: authority, fingerprint of its root, secret. */
      readonly token: string;
      readonly spiffeId: SpiffeId;
      readonly material?: EnrolmentMaterial;
    }
  | {
      /** Open application: an operator decides; the keeper polls. */
      readonly authorityUrl: string;
      readonly rootFingerprint: string;
      readonly spiffeId: SpiffeId;
      readonly material: EnrolmentMaterial;
    };

/** Supporting material (ANA-57 to ANA-60). */
export interface EnrolmentMaterial {
  readonly organisation: string;
  readonly developer: string;
  readonly functionType: string;
  readonly scopes: readonly string[];
}

/** What went wrong without ending the keeper. */
export interface KeeperAlarm {
  readonly kind: "renewal-failed" | "expires-soon" | "expired" | "watch-lost" | "revoked";
  readonly error?: CausewayError;
  readonly expiresUnixMs: number;
}

/** Options of `openIdentityKeeper`. */
export interface IdentityKeeperOptions {
  readonly vault: KeyVault;
  readonly connect: ConnectAuthority;
  /** Used when the vault holds no identity; without it that is an error. */
  readonly enrolment?: Enrolment;
  readonly crypto?: CryptoPort;
  /** Default: the clocks and timers of this process. */
  readonly scheduler?: Scheduler;
  readonly random?: Random;
  /** Purposes whose key is replaced at renewal. Default tls and record; the MLS leaf key stays the same. */
  readonly rotate?: readonly ("tls" | "mls" | "record")[];
  /** How often an open application is polled. Default 2,000. */
  readonly pollMs?: number;
  readonly log?: Log;
  readonly signal?: AbortSignal;
}

/** Keeps one identity alive: renews it at 2/3 of its lifetime and follows the authority's trust state. */
export interface IdentityKeeper extends AsyncDisposable {
  readonly spiffeId: SpiffeId;
  /** The current keys and chains. */
  readonly identity: Identity;
  /** Bundles and revocations, updated in place at each push. */
  readonly trust: TrustStore;
  /** Fires after `trust` changed. Returns the function that ends it. */
  onTrust(listener: (state: aca.TrustState) => void): () => void;
  /** Fires after `identity` changed. */
  onRenewed(listener: (identity: Identity) => void): () => void;
  onAlarm(listener: (alarm: KeeperAlarm) => void): () => void;
  /** The authority, called with the current certificate. */
  readonly authority: Client<typeof aca.AuthorityService>;
  /** Renews now instead of at 2/3 of the lifetime. */
  renew(signal?: AbortSignal): Promise<void>;
  /** Resolves when the trust state is at least this new. */
  trusted(sequence: bigint, signal?: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Opens the identity in the vault, or enrols when there is none. Resolves when certificate and trust state are at hand:
 * with both on disk it does not need the authority.
 */
export async function openIdentityKeeper(_options: IdentityKeeperOptions): Promise<IdentityKeeper> {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
