import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CausewayError, isCausewayError, parseAgentId } from "@causeway/core-base";
import { afterAll, expect, test } from "vitest";
import { testCrypto, testKey } from "../testing/index.ts";
import { createCsr, parseCsr } from "./csr.ts";
import { bitString, integer, oid, sequence, tagged } from "./der-writer.ts";
import { emptyName } from "./distinguished-name.ts";
import { decodePem } from "./pem.ts";
import { acceptKey } from "./public-key.ts";
import { sign } from "./signed.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-csr-"));
afterAll(() => rmSync(folder, { recursive: true }));
const openssl = (...args: readonly string[]): string =>
  execFileSync("openssl", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

const spiffeId = parseAgentId("blue.example/travel/booker");

function refusalOf(run: () => unknown): CausewayError {
  try {
    run();
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("expected a refusal, there was none");
}

test.each(["P-256", "Ed25519"] as const)("ok/ a request with a %s key is read and openssl agrees [ANA-61]", (kind) => {
  const key = testKey(kind);
  const request = createCsr(key, { spiffeId, hosts: ["gw1.blue.example", "127.0.0.1", "::1"] });
  expect(parseCsr(testCrypto, request)).toEqual({
    spiffeId,
    spki: key.spki,
    keyKind: kind,
    hosts: ["gw1.blue.example", "127.0.0.1", "::1"],
  });
  writeFileSync(join(folder, "ours.csr"), request);
  const text = openssl("req", "-inform", "DER", "-in", "ours.csr", "-noout", "-text", "-verify");
  expect(text).toContain("URI:spiffe://blue.example/travel/booker, DNS:gw1.blue.example, IP Address:127.0.0.1");
});

test("ok/ a request made by openssl is read", () => {
  openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem");
  openssl(
    "req",
    "-new",
    "-key",
    "key.pem",
    "-subj",
    "/CN=ignored",
    "-addext",
    `subjectAltName=URI:${spiffeId}`,
    "-out",
    "theirs.pem",
  );
  const [request] = decodePem("CERTIFICATE REQUEST", readFileSync(join(folder, "theirs.pem"), "utf8"));
  expect(parseCsr(testCrypto, request ?? new Uint8Array())).toMatchObject({ spiffeId, keyKind: "P-256", hosts: [] });
});

test("fail/ a request for a key that the applicant does not hold [ANA-61]", () => {
  const victim = testKey("P-256");
  const thief = testKey("P-256");
  const request = createCsr({ spki: victim.spki, sign: thief.sign }, { spiffeId });
  const refusal = refusalOf(() => parseCsr(testCrypto, request));
  expect(refusal.code).toBe("CAUSEWAY_IDENTITY_CSR_INVALID");
  expect(refusal.message).toContain("not signed by the key");
});

test("fail/ requests without exactly one SPIFFE ID", () => {
  const key = testKey("P-256");
  const without = sign(key, () => sequence(integer(0), emptyName, key.spki, tagged(0)));
  expect(refusalOf(() => parseCsr(testCrypto, without)).code).toBe("CAUSEWAY_IDENTITY_CSR_INVALID");
  openssl("genpkey", "-algorithm", "ED25519", "-out", "ed.pem");
  for (const names of [
    "URI:https://blue.example/x",
    `URI:${spiffeId},URI:spiffe://blue.example/other`,
    "DNS:blue.example",
    "URI:spiffe://blue.example/a/@i",
  ]) {
    openssl(
      "req",
      "-new",
      "-key",
      "ed.pem",
      "-subj",
      "/CN=x",
      "-addext",
      `subjectAltName=${names}`,
      "-outform",
      "DER",
      "-out",
      "bad.csr",
    );
    const code = refusalOf(() => parseCsr(testCrypto, readFileSync(join(folder, "bad.csr")))).code;
    expect(code, names).toBe("CAUSEWAY_IDENTITY_CSR_INVALID");
  }
});

function spkiOf(algorithm: "rsa-1024" | "rsa-2048" | "P-384" | "P-521" | "secp256k1" | "x25519" | "ed448"): Uint8Array {
  const { publicKey } =
    algorithm === "rsa-1024" || algorithm === "rsa-2048"
      ? generateKeyPairSync("rsa", { modulusLength: algorithm === "rsa-1024" ? 1024 : 2048 })
      : algorithm === "x25519"
        ? generateKeyPairSync("x25519")
        : algorithm === "ed448"
          ? generateKeyPairSync("ed448")
          : generateKeyPairSync("ec", { namedCurve: algorithm });
  return new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
}

test("ok/ P-256 and Ed25519 keys pass [ANA-65]", () => {
  for (let i = 0; i < 20; i++) {
    expect(acceptKey(testKey("P-256").spki)).toBe("P-256");
    expect(acceptKey(testKey("Ed25519").spki)).toBe("Ed25519");
  }
});

test.each(["rsa-1024", "rsa-2048", "P-384", "P-521", "secp256k1", "x25519", "ed448"] as const)(
  "fail/ a key of the kind %s [ANA-65]",
  (kind) => {
    expect(refusalOf(() => acceptKey(spkiOf(kind))).code).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
  },
);

const p256Of = (point: string): Uint8Array =>
  sequence(sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), bitString(Buffer.from(point, "hex")));
const ed25519Of = (point: string): Uint8Array =>
  sequence(sequence(oid("1.3.101.112")), bitString(Buffer.from(point, "hex")));
const baseX = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
const baseY = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

test.each([
  ["the base point of P-256, whose private key is 1", p256Of(`04${baseX}${baseY}`)],
  ["a point that is not on P-256", p256Of(`04${baseX}${baseX}`)],
  ["a coordinate above the prime", p256Of(`04${"ff".repeat(64)}`)],
  ["a compressed point", p256Of(`03${baseX}`)],
  ["the point at infinity", p256Of("00")],
  [
    "the key of a published Ed25519 test",
    ed25519Of("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
  ],
  ["an Ed25519 point of order 1", ed25519Of(`01${"00".repeat(31)}`)],
  ["an Ed25519 point of order 2", ed25519Of(`ec${"ff".repeat(30)}7f`)],
  ["an Ed25519 point of order 4", ed25519Of("00".repeat(32))],
  ["an Ed25519 point of order 8", ed25519Of("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")],
  ["another Ed25519 point of order 8", ed25519Of("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85")],
  ["an Ed25519 point that is not canonical", ed25519Of(`ee${"ff".repeat(30)}7f`)],
  ["an Ed25519 key that is too short", ed25519Of("00".repeat(31))],
  ["no key at all", new Uint8Array([1, 2, 3])],
])("fail/ %s [ANA-65]", (_what, spki) => {
  expect(refusalOf(() => acceptKey(spki)).code).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
});

test("fail/ a request over a weak key, with the key's own code", () => {
  const weak = p256Of(`04${baseX}${baseY}`);
  const request = createCsr({ spki: weak, sign: testKey("P-256").sign }, { spiffeId });
  expect(refusalOf(() => parseCsr(testCrypto, request)).code).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
});
