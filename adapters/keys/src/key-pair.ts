/** Private keys: generation, import and export, and signing with the algorithm that belongs to the type. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { refuse } from "@causeway/core-base";
import type { Purpose } from "@causeway/core-identity";
import { isAcceptedKey } from "./node-crypto.ts";

/** P-256 for TLS and CA keys, Ed25519 for MLS and records. */
export type KeyType = "p256" | "ed25519";

/** A private key in memory. The type never renders its secret: not in JSON and not when inspected. */
export class KeyPair {
  readonly type: KeyType;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly #key: KeyObject;

  constructor(key: KeyObject) {
    if (key.type !== "private" || !isAcceptedKey(key)) {
      throw refuse(
        "CAUSEWAY_IDENTITY_KEY_REFUSED",
        `expected a P-256 or Ed25519 private key, got ${key.asymmetricKeyType ?? "a secret key"}`,
      );
    }
    this.#key = key;
    this.type = key.asymmetricKeyType === "ed25519" ? "ed25519" : "p256";
    this.spki = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
  }

  /** Ed25519, or ECDSA over SHA-256 as ASN.1. */
  sign(message: Uint8Array): Uint8Array {
    return new Uint8Array(sign(this.type === "ed25519" ? null : "sha256", message, this.#key));
  }

  /** True when both are the same key. */
  hasSameKey(other: KeyPair): boolean {
    return Buffer.from(this.spki).equals(other.spki);
  }

  /** PKCS#8 DER, unencrypted. Only for wrapping in the vault. */
  exportPkcs8(): Uint8Array {
    return new Uint8Array(this.#key.export({ format: "der", type: "pkcs8" }));
  }

  /** PKCS#8 PEM, unencrypted: the only form in which node:tls takes a key. Stays in memory. */
  exportPem(): string {
    return this.#key.export({ format: "pem", type: "pkcs8" }).toString();
  }

  /** The 32-byte seed of an Ed25519 key, as MLS libraries take it. Throws `CAUSEWAY_MISUSE` for P-256. */
  exportSeed(): Uint8Array {
    const { d } = this.#key.export({ format: "jwk" });
    if (this.type !== "ed25519" || d === undefined) {
      throw refuse("CAUSEWAY_MISUSE", `expected an ed25519 key to export a seed from, got ${this.type}`);
    }
    return new Uint8Array(Buffer.from(d, "base64url"));
  }
}

/** A fresh key, made in this process. */
export function generateKeyPair(type: KeyType): KeyPair {
  return new KeyPair(
    type === "ed25519"
      ? generateKeyPairSync("ed25519").privateKey
      : generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey,
  );
}

/** Reads PKCS#8 DER. Throws `CAUSEWAY_IDENTITY_KEY_REFUSED` for other key types. */
export function importKeyPair(pkcs8: Uint8Array): KeyPair {
  return new KeyPair(createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" }));
}

/** The key type of each purpose (AGP-30). */
export const keyTypeOf: Readonly<Record<Purpose, KeyType>> = { tls: "p256", mls: "ed25519", record: "ed25519" };
