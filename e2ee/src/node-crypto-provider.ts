/**
 * Cryptography of MLS suites 1 and 3 on the synchronous functions of `node:crypto`: DHKEM(X25519), HKDF-SHA256,
 * AES-128-GCM or ChaCha20-Poly1305, Ed25519 (RFC 9180, RFC 9420 section 5). The library's own provider goes through
 * WebCrypto and pays a thread hop and a key import for every call; this one does the work in place.
 *
 * The library's interface returns promises and names its keys `CryptoKey`, without looking inside: ours are `Kem*`
 * objects that keep the raw bytes beside the parsed key.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  hash,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { refuse } from "@causeway/core-base";
import type { CiphersuiteImpl, CryptoProvider, Hpke, PrivateKey, PublicKey } from "./library.ts";

/** Provider for the library. Refuses every suite but 1 and 3. */
export const nodeCryptoProvider: CryptoProvider = {
  async getCiphersuiteImpl(suite) {
    const aead = aeads[suite.name];
    if (aead === undefined) {
      throw refuse("CAUSEWAY_UNSUPPORTED", `expected MLS suite 1 or 3, got ${suite.name}`);
    }
    return {
      name: suite.name,
      hash: {
        digest: async (data) => sha256(data),
        mac: async (key, data) => hmac(key, data),
        verifyMac: async (key, mac, data) => {
          const expected = hmac(key, data);
          return expected.length === mac.length && timingSafeEqual(expected, mac);
        },
      },
      kdf: {
        size: hashBytes,
        extract: async (salt, ikm) => extract(salt, ikm),
        expand: async (prk, info, length) => expand(prk, info, length),
      },
      rng: { randomBytes: (length) => new Uint8Array(randomBytes(length)) },
      signature: {
        sign: async (signKey, message) => sign(null, message, signingKey(signKey)),
        verify: async (publicKey, message, signature) => verifyEd25519(publicKey, message, signature),
        keygen: async () => {
          const signKey = new Uint8Array(randomBytes(keyBytes));
          return { signKey, publicKey: rawPublic(createPublicKey(signingKey(signKey))) };
        },
      },
      hpke: createHpke(aead),
    } satisfies CiphersuiteImpl;
  },
};

interface AeadSpec {
  readonly cipher: "aes-128-gcm" | "chacha20-poly1305";
  readonly keyLength: number;
  /** HPKE AEAD identifier. */
  readonly id: number;
}

class KemPublic {
  readonly raw: Uint8Array;
  readonly key: KeyObject;
  constructor(raw: Uint8Array) {
    this.raw = raw;
    this.key = importRaw(x25519Spki, raw, "public");
  }
}

class KemPrivate {
  readonly raw: Uint8Array;
  readonly key: KeyObject;
  #public: KemPublic | undefined;
  constructor(raw: Uint8Array) {
    this.raw = raw;
    this.key = importRaw(x25519Pkcs8, raw, "private");
  }
  get public(): KemPublic {
    this.#public ??= new KemPublic(rawPublic(createPublicKey(this.key)));
    return this.#public;
  }
}

function createHpke(spec: AeadSpec): Hpke {
  const suiteId = Buffer.concat([Buffer.from("HPKE"), Buffer.from([0, 0x20, 0, 1, 0, spec.id])]);

  const schedule = (sharedSecret: Uint8Array, info: Uint8Array) => {
    const pskIdHash = labeledExtract(suiteId, empty, "psk_id_hash", empty);
    const infoHash = labeledExtract(suiteId, empty, "info_hash", info);
    const context = Buffer.concat([modeBase, pskIdHash, infoHash]);
    const secret = labeledExtract(suiteId, sharedSecret, "secret", empty);
    return { secret, context };
  };
  const keyAndNonce = (sharedSecret: Uint8Array, info: Uint8Array) => {
    const { secret, context } = schedule(sharedSecret, info);
    return {
      key: labeledExpand(suiteId, secret, "key", context, spec.keyLength),
      nonce: labeledExpand(suiteId, secret, "base_nonce", context, nonceBytes),
    };
  };
  const exported = (sharedSecret: Uint8Array, info: Uint8Array, exporterContext: Uint8Array, length: number) => {
    const { secret, context } = schedule(sharedSecret, info);
    const exporter = labeledExpand(suiteId, secret, "exp", context, hashBytes);
    return labeledExpand(suiteId, exporter, "sec", exporterContext, length);
  };

  return {
    keyLength: spec.keyLength,
    nonceLength: nonceBytes,
    async seal(publicKey, plaintext, info, aad) {
      const { sharedSecret, enc } = encapsulate(ownPublic(publicKey));
      const { key, nonce } = keyAndNonce(sharedSecret, info);
      return { ct: aeadSeal(spec, key, nonce, aad, plaintext), enc };
    },
    async open(privateKey, kemOutput, ciphertext, info, aad) {
      const { key, nonce } = keyAndNonce(decapsulate(ownPrivate(privateKey), kemOutput), info);
      return aeadOpen(spec, key, nonce, aad, ciphertext);
    },
    async exportSecret(publicKey, exporterContext, length, info) {
      const { sharedSecret, enc } = encapsulate(ownPublic(publicKey));
      return { enc, secret: exported(sharedSecret, info, exporterContext, length) };
    },
    async importSecret(privateKey, exporterContext, kemOutput, length, info) {
      return exported(decapsulate(ownPrivate(privateKey), kemOutput), info, exporterContext, length);
    },
    importPrivateKey: async (raw) => asPrivate(new KemPrivate(raw)),
    importPublicKey: async (raw) => asPublic(new KemPublic(raw)),
    exportPublicKey: async (key) => ownPublic(key).raw,
    exportPrivateKey: async (key) => ownPrivate(key).raw,
    encryptAead: async (key, nonce, aad, plaintext) => aeadSeal(spec, key, nonce, aad, plaintext),
    decryptAead: async (key, nonce, aad, ciphertext) => aeadOpen(spec, key, nonce, aad, ciphertext),
    async deriveKeyPair(ikm) {
      const prk = labeledExtract(kemSuiteId, empty, "dkp_prk", ikm);
      return keyPair(labeledExpand(kemSuiteId, prk, "sk", empty, keyBytes));
    },
    generateKeyPair: async () => keyPair(new Uint8Array(randomBytes(keyBytes))),
  };
}

function keyPair(seed: Uint8Array): { privateKey: PrivateKey; publicKey: PublicKey } {
  const key = new KemPrivate(seed);
  return { privateKey: asPrivate(key), publicKey: asPublic(key.public) };
}

function encapsulate(recipient: KemPublic): { sharedSecret: Uint8Array; enc: Uint8Array } {
  const ephemeral = new KemPrivate(randomBytes(keyBytes));
  const enc = ephemeral.public.raw;
  const dh = diffieHellman({ privateKey: ephemeral.key, publicKey: recipient.key });
  return { sharedSecret: kemSecret(dh, enc, recipient.raw), enc };
}

function decapsulate(recipient: KemPrivate, enc: Uint8Array): Uint8Array {
  const dh = diffieHellman({ privateKey: recipient.key, publicKey: new KemPublic(enc).key });
  return kemSecret(dh, enc, recipient.public.raw);
}

function kemSecret(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array): Uint8Array {
  const prk = labeledExtract(kemSuiteId, empty, "eae_prk", dh);
  return labeledExpand(kemSuiteId, prk, "shared_secret", Buffer.concat([enc, recipient]), keyBytes);
}

function aeadSeal(
  spec: AeadSpec,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array | undefined,
  plaintext: Uint8Array,
): Uint8Array {
  // Key objects, not raw keys: the latter cost four times as much on Node 24.
  const cipher =
    spec.cipher === "aes-128-gcm"
      ? createCipheriv("aes-128-gcm", createSecretKey(key), nonce)
      : createCipheriv("chacha20-poly1305", createSecretKey(key), nonce, { authTagLength: tagBytes });
  if (aad !== undefined && aad.length > 0) cipher.setAAD(aad, { plaintextLength: plaintext.length });
  const body = cipher.update(plaintext);
  cipher.final();
  const sealed = new Uint8Array(body.length + tagBytes);
  sealed.set(body, 0);
  sealed.set(cipher.getAuthTag(), body.length);
  return sealed;
}

function aeadOpen(
  spec: AeadSpec,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array | undefined,
  sealed: Uint8Array,
): Uint8Array {
  const length = sealed.length - tagBytes;
  if (length < 0) throw new Error("the ciphertext is shorter than its tag");
  const decipher =
    spec.cipher === "aes-128-gcm"
      ? createDecipheriv("aes-128-gcm", createSecretKey(key), nonce, { authTagLength: tagBytes })
      : createDecipheriv("chacha20-poly1305", createSecretKey(key), nonce, { authTagLength: tagBytes });
  if (aad !== undefined && aad.length > 0) decipher.setAAD(aad, { plaintextLength: length });
  decipher.setAuthTag(sealed.subarray(length));
  const plaintext = decipher.update(sealed.subarray(0, length));
  decipher.final();
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
}

function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const id = Buffer.from(publicKey).toString("latin1");
  let key = verifyKeys.get(id);
  if (key === undefined) {
    if (publicKey.length !== keyBytes) return false;
    key = importRaw(ed25519Spki, publicKey, "public");
    if (verifyKeys.size >= verifyKeysMax) verifyKeys.clear();
    verifyKeys.set(id, key);
  }
  return verify(null, message, key, signature);
}

function signingKey(seed: Uint8Array): KeyObject {
  let key = signKeys.get(seed);
  if (key === undefined) {
    key = importRaw(ed25519Pkcs8, seed, "private");
    signKeys.set(seed, key);
  }
  return key;
}

/** Public key of an Ed25519 seed, raw. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  return rawPublic(createPublicKey(signingKey(seed)));
}

function importRaw(prefix: Buffer, raw: Uint8Array, kind: "public" | "private"): KeyObject {
  if (raw.length !== keyBytes) throw new Error(`expected a key of ${keyBytes} bytes, got ${raw.length}`);
  const der = Buffer.concat([prefix, raw]);
  return kind === "public"
    ? createPublicKey({ key: der, format: "der", type: "spki" })
    : createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

function rawPublic(key: KeyObject): Uint8Array {
  const der = key.export({ format: "der", type: "spki" });
  return new Uint8Array(der.subarray(der.length - keyBytes));
}

function sha256(data: Uint8Array): Uint8Array {
  return hash("sha256", data, "buffer");
}

/** HMAC by two one-shot hashes: `createHmac` is seven times slower on Node 24. */
function hmac(key: Uint8Array, data: Uint8Array): Uint8Array {
  const short = key.length > blockBytes ? sha256(key) : key;
  const inner = Buffer.alloc(blockBytes + data.length, 0x36);
  const outer = Buffer.alloc(blockBytes + hashBytes, 0x5c);
  for (let i = 0; i < short.length; i++) {
    const byte = short[i] ?? 0;
    inner[i] = byte ^ 0x36;
    outer[i] = byte ^ 0x5c;
  }
  inner.set(data, blockBytes);
  outer.set(sha256(inner), blockBytes);
  return sha256(outer);
}

function extract(salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  return hmac(salt, ikm);
}

function expand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  if (length > 255 * hashBytes) throw new Error(`cannot expand to ${length} bytes`);
  const result = new Uint8Array(length);
  let block: Uint8Array = empty;
  for (let filled = 0, counter = 1; filled < length; filled += hashBytes, counter++) {
    const input = Buffer.alloc(block.length + info.length + 1, counter);
    input.set(block, 0);
    input.set(info, block.length);
    block = hmac(prk, input);
    result.set(block.subarray(0, Math.min(hashBytes, length - filled)), filled);
  }
  return result;
}

function labeledExtract(suiteId: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array): Uint8Array {
  return extract(salt, Buffer.concat([hpkeVersion, suiteId, Buffer.from(label), ikm]));
}

function labeledExpand(
  suiteId: Uint8Array,
  prk: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return expand(
    prk,
    Buffer.concat([Buffer.from([length >> 8, length & 255]), hpkeVersion, suiteId, Buffer.from(label), info]),
    length,
  );
}

const asPublic = (key: KemPublic): PublicKey => key as unknown as PublicKey;
const asPrivate = (key: KemPrivate): PrivateKey => key as unknown as PrivateKey;
const ownPublic = (key: PublicKey): KemPublic => key as unknown as KemPublic;
const ownPrivate = (key: PrivateKey): KemPrivate => key as unknown as KemPrivate;

const aeads: Readonly<Record<string, AeadSpec>> = {
  MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519: { cipher: "aes-128-gcm", keyLength: 16, id: 1 },
  MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519: { cipher: "chacha20-poly1305", keyLength: 32, id: 3 },
};
const hashBytes = 32;
const blockBytes = 64;
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const empty = new Uint8Array();
const modeBase = Buffer.from([0]);
const hpkeVersion = Buffer.from("HPKE-v1");
const kemSuiteId = Buffer.concat([Buffer.from("KEM"), Buffer.from([0, 0x20])]);
const x25519Spki = Buffer.from("302a300506032b656e032100", "hex");
const x25519Pkcs8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const ed25519Spki = Buffer.from("302a300506032b6570032100", "hex");
const ed25519Pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
/** Parsed public keys of the members heard last; emptied when full. */
const verifyKeysMax = 4096;
const verifyKeys = new Map<string, KeyObject>();
const signKeys = new WeakMap<Uint8Array, KeyObject>();
