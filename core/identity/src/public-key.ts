/**
 * Which public keys are accepted (ANA-65): P-256 and Ed25519, in their one encoding, on the curve, and not one whose
 * private half is known to everybody. RSA, other curves and compressed points are refused, whatever their size.
 */
import { refuse } from "@causeway/core-base";
import { toHex } from "./bytes.ts";
import { DerError, readOnly, tags } from "./der-reader.ts";
import { oids } from "./oids.ts";

/** Accepted kinds of public key. */
export type KeyKind = "P-256" | "Ed25519";

/** A public key as its SubjectPublicKeyInfo says it. */
export interface PublicKey {
  readonly kind: KeyKind;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** Content of the bit string: the uncompressed point, or the 32 bytes of Ed25519. */
  readonly bits: Uint8Array;
}

/** Reads a SubjectPublicKeyInfo of an accepted kind. Throws `CAUSEWAY_IDENTITY_KEY_REFUSED`. */
export function parsePublicKey(spki: Uint8Array): PublicKey {
  try {
    return readOnly(spki, tags.sequence, (info) => {
      const algorithm = info.enter(tags.sequence);
      const kind = toHex(algorithm.oid());
      if (kind === oids.ed25519.hex) {
        algorithm.end();
        const bits = info.bitStringBytes();
        if (bits.length !== 32) throw keyRefused(`an Ed25519 key has 32 bytes, this one has ${bits.length}`);
        return { kind: "Ed25519", spki, bits };
      }
      if (kind !== oids.ecPublicKey.hex) throw keyRefused("the key is neither P-256 nor Ed25519");
      if (toHex(algorithm.oid()) !== oids.p256.hex) throw keyRefused("the key is on another curve than P-256");
      algorithm.end();
      const bits = info.bitStringBytes();
      if (bits.length !== 65 || bits[0] !== 4)
        throw keyRefused("a P-256 key has to be an uncompressed point of 65 bytes");
      return { kind: "P-256", spki, bits };
    });
  } catch (thrown) {
    throw thrown instanceof DerError ? keyRefused(`the key cannot be read: ${thrown.message}`) : thrown;
  }
}

/**
 * Judges a key that is to be certified: of an accepted kind, on its curve, of full order, and not a published test key.
 * Throws `CAUSEWAY_IDENTITY_KEY_REFUSED`.
 */
export function acceptKey(spki: Uint8Array): KeyKind {
  const key = parsePublicKey(spki);
  if (knownKeys.has(toHex(key.kind === "P-256" ? key.bits.subarray(1, 33) : key.bits))) {
    throw keyRefused("the private half of this key is published; make a new key");
  }
  if (key.kind === "P-256") {
    if (!isOnP256(numberOf(key.bits.subarray(1, 33)), numberOf(key.bits.subarray(33))))
      throw keyRefused("the point is not on P-256");
  } else {
    const y = numberOf(key.bits.toReversed()) & ((1n << 255n) - 1n);
    // The eight points of small order have these y; any y >= p is a second encoding of another point.
    if (y >= ed25519Prime || smallOrderY.has(y)) throw keyRefused("the Ed25519 key is weak or not canonical");
  }
  return key.kind;
}

const keyRefused = (why: string) => refuse("CAUSEWAY_IDENTITY_KEY_REFUSED", `${why}; use a new P-256 or Ed25519 key`);

function isOnP256(x: bigint, y: bigint): boolean {
  if (x >= p256Prime || y >= p256Prime) return false;
  return (y * y - (x * x * x - 3n * x + p256B)) % p256Prime === 0n;
}

function numberOf(bigEndian: Uint8Array): bigint {
  return BigInt(`0x${toHex(bigEndian)}`);
}

const p256Prime = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const p256B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const ed25519Prime = (1n << 255n) - 19n;

/** y of the points of order 1, 2, 4 and 8 on Ed25519. */
const smallOrderY: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  ed25519Prime - 1n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
]);

/** Ed25519 keys, and x of P-256 points, whose private half stands in a specification or is a tiny number. */
const knownKeys: ReadonlySet<string> = new Set([
  // P-256 base point (private key 1 or n - 1), and RFC 6979 appendix A.2.5.
  "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
  "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
  "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
  // RFC 8032 section 7.1, tests 1 to 3, 1024 and SHA(abc).
  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
  "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
  "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
  "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
  "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
]);
