/**
 * The outer structure that certificates, requests and revocation lists share: the signed part, the algorithm, the
 * signature. Two algorithms exist: ECDSA with SHA-256 on P-256, and Ed25519. The key decides which one has to be used.
 */
import { type CausewayError, type ErrorCode, isCausewayError, refuse } from "@causeway/core-base";
import { equalBytes, toHex } from "./bytes.ts";
import { DerError, DerReader, readOnly, tags } from "./der-reader.ts";
import { bitString, sequence } from "./der-writer.ts";
import { type Oid, oids } from "./oids.ts";
import type { CryptoPort, SigningKey } from "./ports.ts";
import { type KeyKind, type PublicKey, parsePublicKey } from "./public-key.ts";

/** A signed structure whose content is not yet read. */
export interface Signed {
  /** The signed part with its header. */
  readonly toBeSigned: Uint8Array;
  /** AlgorithmIdentifier, encoded. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** Reads the outer structure, at most `bytesMax` long. */
export function readSigned(bytes: Uint8Array, bytesMax: number): Signed {
  if (bytes.length > bytesMax) throw new DerError(`it has ${bytes.length} bytes, at most ${bytesMax} are accepted`);
  return readOnly(bytes, tags.sequence, (v) => ({
    toBeSigned: v.whole(tags.sequence),
    algorithm: v.whole(tags.sequence),
    signature: v.bitStringBytes(),
  }));
}

/** Reader over the content of the signed part. */
export function contentOf(signed: Signed): DerReader {
  return new DerReader(signed.toBeSigned).enter(tags.sequence);
}

/** True when `key` made the signature, with the one algorithm that its kind has. */
export function isSignedBy(crypto: CryptoPort, signed: Signed, key: PublicKey): boolean {
  return (
    equalBytes(signed.algorithm, algorithmOf(key.kind)) && crypto.verify(key.spki, signed.toBeSigned, signed.signature)
  );
}

/** Signs a structure. `content` gets the AlgorithmIdentifier, which certificates and lists repeat inside. */
export function sign(key: SigningKey, content: (algorithm: Uint8Array) => Uint8Array): Uint8Array {
  const algorithm = algorithmOf(parsePublicKey(key.spki).kind);
  const toBeSigned = content(algorithm);
  return sequence(toBeSigned, algorithm, bitString(key.sign(toBeSigned)));
}

/** Throws `CAUSEWAY_IDENTITY_KEY_REFUSED` for an algorithm that is not accepted. */
export function acceptAlgorithm(algorithm: Uint8Array): void {
  if (Object.values(algorithms).some((accepted) => equalBytes(accepted, algorithm))) return;
  const id = readOnly(algorithm, tags.sequence, (v) => {
    const found = toHex(v.oid());
    v.rest();
    return found;
  });
  throw refuse(
    "CAUSEWAY_IDENTITY_KEY_REFUSED",
    `expected a signature by ECDSA with SHA-256 on P-256 or by Ed25519, found the algorithm ${id}`,
  );
}

/** Runs a parser and turns what is wrong with the input into an error of the table. */
export function parsing<T>(code: ErrorCode, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    if (isCausewayError(thrown) || !(thrown instanceof DerError)) throw thrown;
    throw malformed(code, what, thrown.message);
  }
}

/** An error about an input that breaks the profile. */
export const malformed = (code: ErrorCode, what: string, why: string): CausewayError =>
  refuse(code, `expected ${what} of the profile: ${why}`);

const algorithmOf = (kind: KeyKind): Uint8Array => algorithms[kind];

const algorithmIdentifier = (id: Oid): Uint8Array => sequence(id.der);

/** RFC 5758 and RFC 8410: both without parameters. */
const algorithms: Readonly<Record<KeyKind, Uint8Array>> = {
  "P-256": algorithmIdentifier(oids.ecdsaSha256),
  Ed25519: algorithmIdentifier(oids.ed25519),
};
