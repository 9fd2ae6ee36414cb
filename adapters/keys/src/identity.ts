import { type Domain, refuse, type SpiffeId } from "@causeway/core-base";
import type { Purpose, Signer } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import type { KeyPair } from "./key-pair.ts";
import type { KeyVault } from "./key-vault.ts";

/** What node:tls needs of an identity. Both are PEM and stay in memory. */
export interface TlsIdentity {
  /** PKCS#8 PEM. */
  readonly key: string;
  /** Leaf first, then the issuing certificate; the root is left out (kept at the end only by the authority itself). */
  readonly chainPem: string;
}

/** Validity of one certificate of an identity. */
export interface IdentityValidity {
  readonly purpose: Purpose;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  readonly serial: Uint8Array;
}

/** Keys and chains of one SPIFFE ID: an immutable snapshot; renewal makes a new one. */
export interface Identity {
  readonly spiffeId: SpiffeId;
  readonly domain: Domain;
  /** URL of the authority that issued it. */
  readonly authorityUrl: string;
  /** Chain and signing for a purpose; keys never leave. */
  signer(purpose: Purpose): Signer;
  tls(): TlsIdentity;
  /** Raw Ed25519 seed of the MLS leaf key, for the MLS library in this process. */
  mlsPrivateKey(): Uint8Array;
  validity(): readonly IdentityValidity[];
}

/** The keys of an identity that is about to be certified. */
export type PurposeKeys = Readonly<Record<Purpose, KeyPair>>;

/** Fresh keys for all purposes. */
export function generatePurposeKeys(): PurposeKeys {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}

/** The CSRs for `keys`, each signed by its own key (ANA-61). */
export function certificateRequests(
  _spiffeId: SpiffeId,
  _keys: PurposeKeys,
): readonly { readonly purpose: Purpose; readonly csr: Uint8Array }[] {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}

/** Makes keys and an identity in `directory`, certified by `issue` (used by an authority for its own identities). */
export async function createIdentity(_options: {
  readonly vault: KeyVault;
  readonly spiffeId: SpiffeId;
  readonly authorityUrl: string;
  readonly issue: (requests: readonly aca.CertificateRequest[]) => Promise<aca.CertificateSet> | aca.CertificateSet;
}): Promise<Identity> {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}

/** Reads an identity from a vault; undefined when there is none. */
export async function loadIdentity(_vault: KeyVault): Promise<Identity | undefined> {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
