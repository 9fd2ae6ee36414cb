import { generateKeyPairSync } from "node:crypto";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { createNodeCrypto, generateKeyPair, importKeyPair, KeyPair, nodeCrypto } from "./index.ts";

const message = new TextEncoder().encode("message");

test.each(["p256", "ed25519"] as const)("%s signs, verifies and survives export", (type) => {
  const key = generateKeyPair(type);
  const signature = key.sign(message);
  expect(nodeCrypto.verify(key.spki, message, signature)).toBe(true);
  expect(nodeCrypto.verify(key.spki, new TextEncoder().encode("other"), signature)).toBe(false);
  expect(nodeCrypto.verify(generateKeyPair(type).spki, message, signature)).toBe(false);
  expect(nodeCrypto.verify(key.spki, message, signature.subarray(1))).toBe(false);
  expect(importKeyPair(key.exportPkcs8()).spki).toEqual(key.spki);
});

test("nothing verifies under bytes that are no key or a key of another type", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const p384 = generateKeyPairSync("ec", { namedCurve: "secp384r1" });
  for (const { publicKey } of [rsa, p384]) {
    const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
    expect(nodeCrypto.verify(spki, message, new Uint8Array(64))).toBe(false);
  }
  expect(nodeCrypto.verify(new Uint8Array([1, 2, 3]), message, new Uint8Array(64))).toBe(false);
  expect(() => new KeyPair(rsa.privateKey)).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_KEY_REFUSED" }));
});

test("the cache of imported keys is bounded and forgetting a key changes no answer", () => {
  const crypto = createNodeCrypto({ verifyKeysMax: 2 });
  const keys = Array.from({ length: 5 }, () => generateKeyPair("ed25519"));
  for (const round of [1, 2]) {
    for (const key of keys) expect([round, crypto.verify(key.spki, message, key.sign(message))]).toEqual([round, true]);
  }
});

test("an Ed25519 seed makes the same key, and P-256 has none", () => {
  const key = generateKeyPair("ed25519");
  const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
  expect(importKeyPair(Buffer.concat([prefix, key.exportSeed()])).spki).toEqual(key.spki);
  expect(() => generateKeyPair("p256").exportSeed()).toThrow(expect.objectContaining({ code: "CAUSEWAY_MISUSE" }));
});

test("a key does not show itself when it is printed or serialised", () => {
  const key = generateKeyPair("ed25519");
  const shown = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key);
  expect(shown).not.toContain(Buffer.from(key.exportSeed()).toString("hex"));
  expect(Object.keys(key).sort()).toEqual(["spki", "type"]);
});
