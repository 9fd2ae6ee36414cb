/** node:crypto behind the crypto port of core/identity. Everything is synchronous. */
import { createHash, createPublicKey, type KeyObject, randomBytes, verify } from "node:crypto";
import type { CryptoPort } from "@causeway/core-identity";

/** Options of `createNodeCrypto`. */
export interface NodeCryptoOptions {
  /** Imported public keys kept for verification; the least recently used one is dropped at the bound. Default 4,096. */
  readonly verifyKeysMax?: number;
}

const verifyKeysMaxDefault = 4_096;

/**
 * A CryptoPort on node:crypto. Importing a public key costs about as much as verifying with it, so imported keys are
 * kept in a bounded cache.
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
      key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    } catch {
      // Not a key that node:crypto can read, so no signature verifies under it.
      return undefined;
    }
    if (!isAcceptedKey(key)) return undefined;
    keys.set(name, key);
    if (keys.size > max) {
      const oldest = keys.keys().next();
      if (!oldest.done) keys.delete(oldest.value);
    }
    return key;
  };

  return {
    sha256: (data) => new Uint8Array(createHash("sha256").update(data).digest()),
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

/** True for P-256 and Ed25519, the two key types of the profile. */
export function isAcceptedKey(key: KeyObject): boolean {
  if (key.asymmetricKeyType === "ed25519") return true;
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}
