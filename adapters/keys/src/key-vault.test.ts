import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { generateKeyPair, openKeyVault } from "./index.ts";

let home = "";
let directory = "";
let masterKeyFile = "";

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "causeway-vault-"));
  directory = join(home, "data", "identity");
  masterKeyFile = join(home, "config", "master.key");
});

afterEach(() => rmSync(home, { recursive: true, force: true }));

const open = (more: { directory?: string; masterKeyFile?: string; create?: boolean } = {}) =>
  openKeyVault({ directory, masterKeyFile, ...more });
const refused = (code: string) => expect.objectContaining({ code });
const modeOf = (file: string) => statSync(file).mode & 0o777;

test("keeps keys across openings, in files that only their owner may read [AGP-44]", async () => {
  const vault = await open();
  const key = await vault.keyOrCreate("tls", "p256");
  await vault.put("note", new Uint8Array([1, 2, 3]));
  expect(modeOf(directory)).toBe(0o700);
  expect(modeOf(masterKeyFile)).toBe(0o600);
  for (const file of readdirSync(directory)) expect([file, modeOf(join(directory, file))]).toEqual([file, 0o600]);

  const again = await open();
  expect((await again.keyOrCreate("tls", "p256")).spki).toEqual(key.spki);
  expect(await again.get("note")).toEqual(new Uint8Array([1, 2, 3]));
  expect((await again.names()).toSorted()).toEqual(["note", "tls"]);
  await again.delete("note");
  expect(await again.get("note")).toBeUndefined();
});

test("no file of the vault contains the key in any usual form [AGP-44]", async () => {
  const vault = await open();
  const key = generateKeyPair("ed25519");
  await vault.putKey("mls", key);
  const seed = Buffer.from(key.exportSeed());
  const forms = [
    seed,
    Buffer.from(seed.toString("hex")),
    Buffer.from(seed.toString("base64")),
    Buffer.from(seed.toString("base64url")),
  ];
  for (const file of readdirSync(directory)) {
    const content = readFileSync(join(directory, file));
    for (const form of forms) expect(content.includes(form)).toBe(false);
    expect(content.includes("PRIVATE KEY")).toBe(false);
  }
});

test("a copied directory alone yields nothing [AGP-44]", async () => {
  await (await open()).keyOrCreate("tls", "p256");
  const stolen = join(home, "stolen", "identity");
  cpSync(directory, stolen, { recursive: true });
  const elsewhere = { directory: stolen, masterKeyFile: join(home, "stolen", "master.key") };
  await expect(open(elsewhere)).rejects.toThrow(refused("CAUSEWAY_KEYS_MASTER_MISSING"));
  expect(existsSync(elsewhere.masterKeyFile)).toBe(false);
  await openKeyVault({ directory: join(home, "other"), masterKeyFile: elsewhere.masterKeyFile });
  await expect(open(elsewhere)).rejects.toThrow(refused("CAUSEWAY_KEYS_MASTER_WRONG"));
});

test.each([
  ["read by its group", 0o640],
  ["read by everybody", 0o604],
  ["written by its group", 0o620],
])("refuses a master key file that may be %s, and says what to do", async (_by, mode) => {
  await open();
  chmodSync(masterKeyFile, mode);
  await expect(open()).rejects.toThrow(refused("CAUSEWAY_KEYS_MASTER_UNSAFE"));
  await expect(open()).rejects.toThrow(`chmod 600 ${masterKeyFile}`);
});

test("refuses a master key file inside the directory that it opens", async () => {
  await expect(open({ masterKeyFile: join(directory, "master.key") })).rejects.toThrow(
    refused("CAUSEWAY_KEYS_MASTER_UNSAFE"),
  );
  await expect(open({ masterKeyFile: join(directory, "below", "master.key") })).rejects.toThrow(
    refused("CAUSEWAY_KEYS_MASTER_UNSAFE"),
  );
  expect(readdirSync(directory)).toEqual([]);
});

test("does not make a master key where that was not wanted, and refuses a file that is none", async () => {
  await expect(open({ create: false })).rejects.toThrow(refused("CAUSEWAY_KEYS_MASTER_MISSING"));
  const file = join(home, "no-key");
  writeFileSync(file, "password\n", { mode: 0o600 });
  await expect(open({ masterKeyFile: file })).rejects.toThrow(refused("CAUSEWAY_KEYS_MASTER_WRONG"));
});

test("refuses a sealed file that was changed, cut, swapped or renamed", async () => {
  const vault = await open();
  await vault.put("a", new Uint8Array([1]));
  await vault.put("b", new Uint8Array([2]));
  const [a, b] = [join(directory, "a.sealed"), join(directory, "b.sealed")];
  const good = readFileSync(a);
  for (const at of [0, 5, 16, good.length - 1]) {
    const changed = Buffer.from(good);
    changed[at] = (changed[at] ?? 0) ^ 1;
    writeFileSync(a, changed);
    await expect(vault.get("a")).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
  }
  for (const length of [0, 3, good.length - 1]) {
    writeFileSync(a, good.subarray(0, length));
    await expect(vault.get("a")).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
  }
  copyFileSync(b, a);
  await expect(vault.get("a")).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
  renameSync(b, join(directory, "c.sealed"));
  await expect(vault.get("c")).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
});

test("refuses a header that was changed, and one that would eat all memory", async () => {
  await open();
  const file = join(directory, "vault.json");
  const header = JSON.parse(readFileSync(file, "utf8"));
  for (const change of [{ n: 2 ** 30 }, { n: "16384" }, { version: 2 }, { salt: 7 }]) {
    writeFileSync(file, JSON.stringify({ ...header, ...change }));
    await expect(open()).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
  }
  writeFileSync(file, JSON.stringify({ ...header, salt: "AAAA" }));
  await expect(open()).rejects.toThrow(refused("CAUSEWAY_KEYS_MASTER_WRONG"));
  writeFileSync(file, "{");
  await expect(open()).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
});

test("several that open at first use agree on one master key and one header", async () => {
  const vaults = await Promise.all([open(), open(), open()]);
  await vaults[0]?.put("x", new Uint8Array([7]));
  for (const vault of vaults) expect(await vault.get("x")).toEqual(new Uint8Array([7]));
});

test("what a crash left half written is removed and never read", async () => {
  await open();
  const left = join(directory, ".x.sealed.0123456789ab.tmp");
  const young = join(directory, ".y.sealed.0123456789ab.tmp");
  writeFileSync(left, "half");
  writeFileSync(young, "half");
  utimesSync(left, 1, 1);
  const vault = await open();
  expect(existsSync(left)).toBe(false);
  expect(existsSync(young)).toBe(true);
  expect(await vault.names()).toEqual([]);
});

test("names cannot leave the directory", async () => {
  const vault = await open();
  for (const name of ["../x", "a/b", "", ".hidden", "x".repeat(200)]) {
    await expect(vault.put(name, new Uint8Array())).rejects.toThrow(refused("CAUSEWAY_MISUSE"));
  }
});

test("derived keys differ by label and by vault, and stay the same", async () => {
  const vault = await open();
  const other = await open({ directory: join(home, "data", "other") });
  const key = vault.deriveKey("mls-state");
  expect(key).toHaveLength(32);
  expect(vault.deriveKey("mls-store")).not.toEqual(key);
  expect(other.deriveKey("mls-state")).not.toEqual(key);
  expect((await open()).deriveKey("mls-state")).toEqual(key);
});
