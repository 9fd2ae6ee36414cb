import type { AgentId } from "@causeway/core-base";
import type { KeyKind } from "./public-key.ts";
import type { CryptoPort, SigningKey } from "./ports.ts";

/** A certificate request whose proof of possession was checked. */
export interface CertificateRequest {
  readonly spiffeId: AgentId;
  readonly spki: Uint8Array;
  readonly keyKind: KeyKind;
  /** Requested DNS names and IP addresses. */
  readonly hosts: readonly string[];
}
/** PKCS#10 request, DER. */
export function createCsr(_key: SigningKey, _options: { readonly spiffeId: AgentId; readonly hosts?: readonly string[] }): Uint8Array {
  throw new Error("not yet");
}
/** Parses, checks the key (KEY_REFUSED) and the proof of possession (CSR_INVALID). */
export function parseCsr(_crypto: CryptoPort, _der: Uint8Array): CertificateRequest {
  throw new Error("not yet");
}
