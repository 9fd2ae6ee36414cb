/**
 * Signatures over messages, with the chain that proves the signer. Every signature is made over a label as well, so that
 * one made for a record can never pass as an attachment proof or a lease; the type `LabelledBytes` keeps callers from
 * forgetting it.
 */
import { create } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
import { common } from "@causeway/core-wire";
import { asciiBytes, concatBytes } from "./bytes.ts";
import type { CryptoPort, Signer } from "./ports.ts";
import type { PeerVerifier, VerifyOptions } from "./trust-store.ts";
import type { VerifiedPeer } from "./verified-peer.ts";

declare const labelledBrand: unique symbol;

/** What a signature is about. */
export type SignatureLabel = "record" | "origin" | "receipt" | "attach" | "lease" | "offer" | "status";

/** `"causeway <label> v1\0" || bytes`, ready to be signed or verified. */
export type LabelledBytes = Uint8Array & { readonly [labelledBrand]: SignatureLabel };

/** Prepares bytes for signing or verification. Parts are put together as they are: give only the last a free length. */
export function labelled(label: SignatureLabel, ...parts: readonly Uint8Array[]): LabelledBytes {
  const prefix = asciiBytes(`causeway ${label} v1\0`) ?? new Uint8Array();
  return concatBytes(prefix, ...parts) as LabelledBytes;
}

/** Signs and adds the signer's chain. */
export function signBytes(signer: Signer, message: LabelledBytes): common.Signature {
  return create(common.SignatureSchema, { chain: [...signer.chain], value: signer.sign(message) });
}

/**
 * Verifies the chain and the signature, and returns the signer. Throws the codes of `verifyChain`, and
 * `CAUSEWAY_IDENTITY_SIGNATURE_INVALID`.
 */
export function verifySignature(
  trust: PeerVerifier,
  crypto: CryptoPort,
  signature: common.Signature | undefined,
  message: LabelledBytes,
  options: VerifyOptions,
): VerifiedPeer {
  if (signature === undefined || signature.value.length === 0) {
    throw refuse("CAUSEWAY_IDENTITY_SIGNATURE_INVALID", "expected a signature, got none");
  }
  const peer = trust.verifyChain(signature.chain, options);
  verifyByPeer(crypto, peer, message, signature.value);
  return peer;
}

/** Verifies a bare signature by a peer that is verified already. Throws `CAUSEWAY_IDENTITY_SIGNATURE_INVALID`. */
export function verifyByPeer(crypto: CryptoPort, peer: VerifiedPeer, message: LabelledBytes, value: Uint8Array): void {
  if (crypto.verify(peer.spki, message, value)) return;
  throw refuse("CAUSEWAY_IDENTITY_SIGNATURE_INVALID", `the signature is not one of ${peer.spiffeId} over these bytes`);
}
