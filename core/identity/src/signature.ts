import type { common } from "@causeway/core-wire";
import type { CryptoPort, Signer } from "./ports.ts";
import type { PeerVerifier, VerifyOptions } from "./trust-store.ts";
import type { VerifiedPeer } from "./verified-peer.ts";

/** What a signature is about; keeps a signature of one kind from passing as another. */
export type SignatureLabel = "record" | "origin" | "receipt" | "attach" | "lease" | "offer" | "status";
declare const labelledBrand: unique symbol;
/** `"causeway <label> v1\0" || bytes`. */
export type LabelledBytes = Uint8Array & { readonly [labelledBrand]: SignatureLabel };

/** Prepares bytes for signing or verification: `"causeway <label> v1\0" || parts`. */
export function labelled(_label: SignatureLabel, ..._parts: readonly Uint8Array[]): LabelledBytes {
  throw new Error("not yet");
}
/** Signs and attaches the chain. */
export function signBytes(_signer: Signer, _message: LabelledBytes): common.Signature {
  throw new Error("not yet");
}
/** Verifies chain and signature; the signer on success. Throws the CAUSEWAY_IDENTITY_* codes. */
export function verifySignature(
  _trust: PeerVerifier,
  _crypto: CryptoPort,
  _signature: common.Signature | undefined,
  _message: LabelledBytes,
  _options: VerifyOptions,
): VerifiedPeer {
  throw new Error("not yet");
}
/** Verifies a bare signature by a peer that is verified already. Throws CAUSEWAY_IDENTITY_SIGNATURE_INVALID. */
export function verifyByPeer(_crypto: CryptoPort, _peer: VerifiedPeer, _message: LabelledBytes, _value: Uint8Array): void {
  throw new Error("not yet");
}
