import { getCiphersuiteFromName } from "ts-mls/crypto/ciphersuite.js";
import { getCiphersuiteImpl } from "ts-mls/crypto/getCiphersuiteImpl.js";
import { defaultCryptoProvider } from "ts-mls/crypto/implementation/default/provider.js";
import { describe, expect, test } from "vitest";
import { nodeCryptoProvider } from "./node-crypto-provider.ts";

const suite1 = getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519");
const suite3 = getCiphersuiteFromName("MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519");
const own = await getCiphersuiteImpl(suite1, nodeCryptoProvider);
const other = await getCiphersuiteImpl(suite1, defaultCryptoProvider);
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const text = (value: Uint8Array): string => Buffer.from(value).toString("hex");
const bytes = (length: number, seed = 7): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255);

describe("RFC 9180 A.1.1 (base mode, X25519, HKDF-SHA256, AES-128-GCM)", () => {
  const info = hex("4f6465206f6e2061204772656369616e2055726e");
  const ikmR = hex("6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037");
  const enc = hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");

  test("derives the key pair", async () => {
    const { privateKey, publicKey } = await own.hpke.deriveKeyPair(ikmR);
    expect(text(await own.hpke.exportPrivateKey(privateKey))).toBe(
      "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
    );
    expect(text(await own.hpke.exportPublicKey(publicKey))).toBe(
      "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
    );
  });

  test("opens the ciphertext", async () => {
    const { privateKey } = await own.hpke.deriveKeyPair(ikmR);
    const ct = hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a");
    const plaintext = await own.hpke.open(privateKey, enc, ct, info, hex("436f756e742d30"));
    expect(Buffer.from(plaintext).toString()).toBe("Beauty is truth, truth beauty");
  });

  test.each([
    ["", "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"],
    ["00", "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5"],
    ["54657374436f6e74657874", "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931"],
  ])("exports with context '%s'", async (context, expected) => {
    const { privateKey } = await own.hpke.deriveKeyPair(ikmR);
    expect(text(await own.hpke.importSecret(privateKey, hex(context), enc, 32, info))).toBe(expected);
  });
});

test("makes the HMAC of RFC 4231 cases 1, 2 and 6", async () => {
  const mac = async (key: Uint8Array, data: string) => text(await own.hash.mac(key, Buffer.from(data)));
  expect(await mac(new Uint8Array(20).fill(0x0b), "Hi There")).toBe(
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  );
  expect(await mac(Buffer.from("Jefe"), "what do ya want for nothing?")).toBe(
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
  expect(await mac(new Uint8Array(131).fill(0xaa), "Test Using Larger Than Block-Size Key - Hash Key First")).toBe(
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  );
});

test("makes the HKDF of RFC 5869 case 2", async () => {
  const range = (from: number, to: number) => Uint8Array.from({ length: to - from }, (_, i) => from + i);
  const prk = await own.kdf.extract(range(0x60, 0xb0), range(0x00, 0x50));
  expect(text(prk)).toBe("06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244");
  expect(text(await own.kdf.expand(prk, range(0xb0, 0x100), 82))).toBe(
    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c" +
      "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
  );
});

test("signs as RFC 8032 test 2", async () => {
  const seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const signature = await own.signature.sign(seed, hex("72"));
  expect(text(signature)).toBe(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  );
  const publicKey = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  expect(await own.signature.verify(publicKey, hex("72"), signature)).toBe(true);
  expect(await own.signature.verify(publicKey, hex("73"), signature)).toBe(false);
  expect(await own.signature.verify(publicKey.subarray(1), hex("72"), signature)).toBe(false);
});

describe("agrees with the library's provider", () => {
  test("on hashes, keys and expansion", async () => {
    for (const length of [0, 1, 55, 56, 64, 65, 200]) {
      const data = bytes(length);
      expect(text(await own.hash.digest(data))).toBe(text(await other.hash.digest(data)));
      expect(text(await own.kdf.extract(bytes(32, length), data))).toBe(
        text(await other.kdf.extract(bytes(32, length), data)),
      );
      expect(text(await own.kdf.expand(bytes(32), data, length + 1))).toBe(
        text(await other.kdf.expand(bytes(32), data, length + 1)),
      );
    }
    expect(text(await own.kdf.extract(new Uint8Array(), bytes(32)))).toBe(
      text(await other.kdf.extract(new Uint8Array(), bytes(32))),
    );
    const ours = await own.hpke.deriveKeyPair(bytes(32));
    const theirs = await other.hpke.deriveKeyPair(bytes(32));
    expect(text(await own.hpke.exportPublicKey(ours.publicKey))).toBe(
      text(await other.hpke.exportPublicKey(theirs.publicKey)),
    );
  });

  test("on AEAD, in both directions", async () => {
    const [key, nonce, aad, plaintext] = [bytes(16), bytes(12), bytes(40), bytes(1000)];
    const sealed = await own.hpke.encryptAead(key, nonce, aad, plaintext);
    expect(text(sealed)).toBe(text(await other.hpke.encryptAead(key, nonce, aad, plaintext)));
    expect(text(await own.hpke.decryptAead(key, nonce, aad, sealed))).toBe(text(plaintext));
    sealed[3] = (sealed[3] ?? 0) ^ 1;
    await expect(own.hpke.decryptAead(key, nonce, aad, sealed)).rejects.toThrow();
    await expect(own.hpke.decryptAead(key, nonce, aad, new Uint8Array(5))).rejects.toThrow();
  });

  test("on HPKE, in both directions", async () => {
    for (const [from, to] of [
      [own, other],
      [other, own],
    ] as const) {
      const pair = await to.hpke.generateKeyPair();
      const raw = await to.hpke.exportPublicKey(pair.publicKey);
      const { enc, ct } = await from.hpke.seal(
        await from.hpke.importPublicKey(raw),
        bytes(333),
        bytes(20),
        new Uint8Array(),
      );
      expect(text(await to.hpke.open(pair.privateKey, enc, ct, bytes(20), new Uint8Array()))).toBe(text(bytes(333)));
      const { enc: kem, secret } = await from.hpke.exportSecret(
        await from.hpke.importPublicKey(raw),
        bytes(9),
        32,
        bytes(3),
      );
      expect(text(await to.hpke.importSecret(pair.privateKey, bytes(9), kem, 32, bytes(3)))).toBe(text(secret));
    }
  });

  test("on signatures, in both directions", async () => {
    const keys = await own.signature.keygen();
    const signature = await own.signature.sign(keys.signKey, bytes(77));
    expect(text(signature)).toBe(text(await other.signature.sign(keys.signKey, bytes(77))));
    expect(await other.signature.verify(keys.publicKey, bytes(77), signature)).toBe(true);
  });
});

test("offers suite 3 with ChaCha20-Poly1305 as in RFC 8439 section 2.8.2 [AGP-24]", async () => {
  const impl = await getCiphersuiteImpl(suite3, nodeCryptoProvider);
  const key = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
  const plaintext = Buffer.from(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
  );
  const sealed = await impl.hpke.encryptAead(
    key,
    hex("070000004041424344454647"),
    hex("50515253c0c1c2c3c4c5c6c7"),
    plaintext,
  );
  expect(text(sealed.subarray(0, 16))).toBe("d31a8d34648e60db7b86afbc53ef7ec2");
  expect(text(sealed.subarray(sealed.length - 16))).toBe("1ae10b594f09e26a7e902ecbd0600691");
});

test("offers no other suite than 1 and 3 [AGP-53]", async () => {
  for (const name of ["MLS_128_DHKEMP256_AES128GCM_SHA256_P256", "MLS_256_XWING_AES256GCM_SHA512_Ed25519"] as const) {
    await expect(getCiphersuiteImpl(getCiphersuiteFromName(name), nodeCryptoProvider)).rejects.toMatchObject({
      code: "CAUSEWAY_UNSUPPORTED",
    });
  }
});
