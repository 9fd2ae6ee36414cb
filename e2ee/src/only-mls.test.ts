/** Content is encrypted by MLS and nothing else (AGP-53): a check of every source and dependency of the repository. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { suites } from "./suites.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const rooms = ["core", "adapters", "e2ee", "services", "sdk", "bridges", "apps"];

/** Calls that encrypt or decrypt data. */
const encryption =
  /\b(createCipheriv|createDecipheriv|publicEncrypt|privateDecrypt|subtle\s*\.\s*(encrypt|decrypt|wrapKey|unwrapKey)|CompactEncrypt|GeneralEncrypt|FlattenedEncrypt|EncryptJWT)\b/;

/** Where it is right, and why. */
const allowed = new Map([
  ["e2ee/src/node-crypto-provider.ts", "the ciphers of the MLS suites"],
  ["e2ee/src/sealed-store.ts", "the own disk of an endpoint (C-4)"],
  ["adapters/keys/src/key-vault.ts", "the own disk of an identity (C-4)"],
]);

/** Libraries that encrypt content. TLS comes from Node. */
const libraries =
  /^(libsodium.*|sodium-.*|tweetnacl.*|node-forge|crypto-js|openpgp|@noble\/ciphers|@stablelib\/.*|@signalapp\/.*|jose|olm|@matrix-org\/olm|@hpke\/.*|hpke-js)$/;

function sources(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" || entry.name === "gen" ? [] : sources(path);
    return /\.(ts|mjs|js)$/.test(entry.name) && !entry.name.endsWith(".test.ts") ? [path] : [];
  });
}

function manifests(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "node_modules") return [];
    const path = join(directory, entry.name);
    return entry.isDirectory() ? manifests(path) : entry.name === "package.json" ? [path] : [];
  });
}

test("no source outside the session layer and the key stores calls an encryption function [AGP-53]", () => {
  const found = rooms
    .flatMap((room) => sources(join(root, room)))
    .filter((path) => encryption.test(readFileSync(path, "utf8")))
    .map((path) => relative(root, path).split(sep).join("/"));
  expect(found.filter((path) => !allowed.has(path))).toEqual([]);
  expect(found).toContain("e2ee/src/node-crypto-provider.ts");
});

test("no package depends on another encryption library, and only this room on MLS [AGP-53]", () => {
  for (const room of rooms) {
    for (const path of manifests(join(root, room))) {
      const { name, dependencies = {} } = JSON.parse(readFileSync(path, "utf8")) as {
        name: string;
        dependencies?: Record<string, string>;
      };
      for (const dependency of Object.keys(dependencies)) {
        expect(libraries.test(dependency), `${name} depends on ${dependency}`).toBe(false);
        if (dependency === "ts-mls") expect(name).toBe("@causeway/e2ee");
      }
    }
  }
});

test("the layer offers MLS suites 1 and 3 and no other family [AGP-53] [AGP-24]", () => {
  expect(suites).toEqual([1, 3]);
  const api = readFileSync(join(root, "e2ee/src/api.ts"), "utf8");
  expect(api).toMatch(/readonly suite\?: MlsSuite;/);
  expect(api).not.toMatch(/\b(plaintext|unencrypted|insecure|none|cipher)\??:\s*(boolean|"|true)/i);
  expect(readFileSync(join(root, "e2ee/src/ports.ts"), "utf8")).toMatch(/export type MlsSuite = 1 \| 3;/);
});
