/**
 * What both sides sign (AAP-62, AAP-63, AGP-54). The transcript is a hash over the exact bytes of hello and challenge
 * (and, for the lease, the proof), each with its length before it, so that nobody can move a byte from one to the other
 * or take a feature out of a list. Together with the TLS channel binding it is good for one connection only.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type CryptoPort, type LabelledBytes, labelled } from "@causeway/core-identity";
import { aap } from "@causeway/core-wire";

/** Bytes of a channel binding (RFC 9266), of nonces and of hashes. */
export const bindingBytes = 32;
export const nonceBytes = 32;

/** Hash of the parts, in order. */
export function transcriptHash(crypto: CryptoPort, ...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0));
  const view = new DataView(whole.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.length);
    whole.set(part, at + 4);
    at += 4 + part.length;
  }
  return crypto.sha256(whole);
}

/** What the agent's TLS key signs. */
export function proofMessage(
  crypto: CryptoPort,
  binding: Uint8Array,
  hello: Uint8Array,
  challenge: Uint8Array,
): LabelledBytes {
  return labelled("attach", binding, transcriptHash(crypto, hello, challenge));
}

/** What the gateway's TLS key signs: the transcript with the proof, and the lease without its signature. */
export function leaseMessage(
  crypto: CryptoPort,
  binding: Uint8Array,
  transcript: { readonly hello: Uint8Array; readonly challenge: Uint8Array; readonly proof: Uint8Array },
  lease: Uint8Array,
): LabelledBytes {
  const unsigned = fromBinary(aap.AttachmentLeaseSchema, lease);
  unsigned.signature = new Uint8Array(0);
  const hash = transcriptHash(crypto, transcript.hello, transcript.challenge, transcript.proof);
  return labelled("lease", binding, hash, toBinary(aap.AttachmentLeaseSchema, unsigned));
}

/** Serialises a lease and signs it. */
export function signLease(
  lease: MessageInitShape<typeof aap.AttachmentLeaseSchema>,
  sign: (unsigned: Uint8Array) => Uint8Array,
): Uint8Array {
  const message = create(aap.AttachmentLeaseSchema, lease);
  message.signature = sign(toBinary(aap.AttachmentLeaseSchema, message));
  return toBinary(aap.AttachmentLeaseSchema, message);
}
