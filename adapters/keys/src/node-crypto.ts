/** node:crypto behind the crypto port of core/identity. Everything is synchronous. */
import { createPublicKey, hash, type KeyObject, randomBytes, verify } from "node:crypto";
import { type CryptoPort, parsePublicKey } from "@causeway/core-identity";

/** Options of `createNodeCrypto`. */
export interface NodeCryptoOptions {
  /** Imported public keys kept for verification; the least recently used one is dropped at the bound. Default 256. */
  readonly verifyKeysMax?: number;
}

const verifyKeysMaxDefault = 256;

/**
 * A CryptoPort on node:crypto. Importing a public key costs a quarter of verifying with it, so those of authorities and
 * neighbours are kept. More are not worth it: a key takes 3.5 KB, and most of the others verify once in an attachment.
 */
export function createNodeCrypto(options: NodeCryptoOptions = {}): CryptoPort {
  const max = options.verifyKeysMax ?? verifyKeysMaxDefault;
  const keys = new Map<string, KeyObject>();

  const publicKey = (spki: Uint8Array): KeyObject | undefined => {
    const name = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength).toString("latin1");
    const known = keys.get(name);
    if (known) {
      keys.delete(name);
      keys.set(name, known);
      return known;
    }
    let key: KeyObject;
    try {
      // By its encoding: `asymmetricKeyDetails` costs as much as the import itself.
      parsePublicKey(spki);
      // NOTE: As PEM it costs half as much as with options, for which Node makes and catches four exceptions.
      key = createPublicKey(pemOf(spki));
    } catch {
      // Not a key that is accepted or that node:crypto can read, so no signature verifies under it.
      return undefined;
    }
    keys.set(name, key);
    if (keys.size > max) {
      const oldest = keys.keys().next();
      if (!oldest.done) keys.delete(oldest.value);
    }
    return key;
  };

  return {
    sha256: (data) => new Uint8Array(hash("sha256", data, "buffer")),
    verify: (spki, message, signature) => {
      const key = publicKey(spki);
      if (!key) return false;
      try {
        return verify(key.asymmetricKeyType === "ed25519" ? null : "sha256", message, key, signature);
      } catch {
        // A signature that is not even well formed is a wrong signature.
        return false;
      }
    },
    randomBytes: (n) => new Uint8Array(randomBytes(n)),
  };
}

/** The crypto port of this process. */
export const nodeCrypto: CryptoPort = createNodeCrypto();

/** In one line, which OpenSSL reads up to 254 characters; an accepted key has 124. */
const pemOf = (spki: Uint8Array): string =>
  `-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength).toString("base64")}\n-----END PUBLIC KEY-----\n`;

/** True for P-256 and Ed25519, the two key types of the profile. */
export function isAcceptedKey(key: KeyObject): boolean {
  if (key.asymmetricKeyType === "ed25519") return true;
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}
