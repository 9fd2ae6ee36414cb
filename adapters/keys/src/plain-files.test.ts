import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodePem, encodePem } from "@causeway/core-identity";
import type { aca } from "@causeway/core-wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import { World } from "../../../services/authority/src/testing/authority-world.ts";
import { type Identity, identityOf, plainFiles, writePlainFiles } from "./index.ts";

let world: World;
let folder: string;

beforeEach(async () => {
  world = await World.open();
  folder = mkdtempSync(join(tmpdir(), "causeway-plain-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function identity(name: string, role: string): Promise<Identity> {
  const { spiffeId, keys, certificates } = await world.enrol(name, { role });
  return identityOf({ spiffeId, authorityUrl: "https://127.0.0.1:1", keys, certificates });
}

const monitor = () => identity("blue.example/monitor/prometheus", "monitor");

test("a monitor's chain, the key that belongs to it and the root of its domain, for nobody but the owner", async () => {
  const directory = join(folder, "made");
  await writePlainFiles(directory, await monitor(), world.authority.trust());
  const read = (name: string): string => readFileSync(join(directory, name), "utf8");
  expect(readdirSync(directory).sort()).toEqual(Object.values(plainFiles).sort());
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(directory)) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
  const leaf = new X509Certificate(read("cert.pem"));
  expect(leaf.subjectAltName).toContain("spiffe://blue.example/monitor/prometheus");
  const spki = createPublicKey(createPrivateKey(read("key.pem"))).export({ format: "der", type: "spki" });
  expect(leaf.publicKey.export({ format: "der", type: "spki" })).toEqual(spki);
  expect(read("ca.pem")).toBe(encodePem("CERTIFICATE", world.authority.root));
  expect(decodePem("CERTIFICATE", read("cert.pem"))).toHaveLength(2);
});

test("what is there is replaced, and the folder of somebody else keeps its mode", async () => {
  mkdirSync(join(folder, "there"));
  chmodSync(join(folder, "there"), 0o755);
  for (const _ of [1, 2]) await writePlainFiles(join(folder, "there"), await monitor(), world.authority.trust());
  expect(statSync(join(folder, "there")).mode & 0o777).toBe(0o755);
  expect(readdirSync(join(folder, "there"))).toHaveLength(3);
});

test.each([
  ["without the bundle of the own domain", (trust: aca.TrustState) => ({ ...trust, bundles: [] })],
  [
    "whose bundle has no root",
    (trust: aca.TrustState) => ({ ...trust, bundles: trust.bundles.map((each) => ({ ...each, roots: [] })) }),
  ],
])("trust %s replaces nothing that is there", async (_, change) => {
  await writePlainFiles(folder, await monitor(), world.authority.trust());
  const contents = () => readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
  const before = contents();
  await expect(writePlainFiles(folder, await monitor(), change(world.authority.trust()))).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
  });
  expect(contents()).toEqual(before);
});

test.each([
  ["blue.example/operator/second", "operator"],
  ["blue.example/travel/booker", "agent"],
])("no key of %s is written: its role does more than read metrics [AGP-44]", async (name, role) => {
  const other = await identity(name, role);
  await expect(writePlainFiles(folder, other, world.authority.trust())).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_ROLE_WRONG",
  });
  expect(readdirSync(folder)).toEqual([]);
});
