/** The crypto port and key generation on node:crypto, for tests. */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { type CryptoPort, type KeyKind, parsePublicKey, type SigningKey } from "../src/index.ts";

/** A fresh key. */
export interface TestKey extends SigningKey {
  readonly privateKey: KeyObject;
  /** PKCS#8 PEM. */
  readonly pem: string;
}

/** Crypto port of tests. */
export const testCrypto: CryptoPort = {
  sha256: (data) => new Uint8Array(createHash("sha256").update(data).digest()),
  verify(spkiDer, message, signature) {
    try {
      const { kind } = parsePublicKey(spkiDer);
      const key = createPublicKey({ key: Buffer.from(spkiDer), format: "der", type: "spki" });
      return verify(kind === "P-256" ? "sha256" : null, message, key, signature);
    } catch {
      // Bytes that are no key verify nothing.
      return false;
    }
  },
  randomBytes: (length) => new Uint8Array(randomBytes(length)),
};

/** Makes a key. */
export function testKey(kind: KeyKind): TestKey {
  const { privateKey, publicKey } =
    kind === "P-256" ? generateKeyPairSync("ec", { namedCurve: "prime256v1" }) : generateKeyPairSync("ed25519");
  return keyOf(privateKey, publicKey, kind);
}

function keyOf(privateKey: KeyObject, publicKey: KeyObject, kind: KeyKind): TestKey {
  const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  return {
    privateKey,
    spki,
    pem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    sign: (message) => new Uint8Array(sign(kind === "P-256" ? "sha256" : null, message, privateKey)),
  };
}
