/** Hostile input: whatever the bytes are, the answer is a value or an error of the table, and never a false yes. */
import { isCausewayError } from "@causeway/core-base";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createTestDomain, testCrypto, testNow } from "../testing/index.ts";
import { equalBytes } from "./bytes.ts";
import { parseCertificate } from "./certificate.ts";
import { createCrl, isCrlIssuedBy, parseCrl } from "./crl.ts";
import { createCsr, parseCsr } from "./csr.ts";
import { decodePem } from "./pem.ts";
import { acceptKey } from "./public-key.ts";

const blue = createTestDomain("blue.example");
const gateway = blue.identity("gateway/gw1", { role: "gateway", gateway: { level: 2, namespaces: ["a", "b/c"] } });
const [leaf = new Uint8Array(), issuing = new Uint8Array()] = gateway.chain("tls");
const key = gateway.keys.tls;
const csr = createCsr(key, { spiffeId: gateway.spiffeId, hosts: ["localhost", "::1"] });
const crl = createCrl(blue.issuing, {
  number: 3n,
  baseNumber: 2n,
  thisUpdate: testNow,
  nextUpdate: testNow,
  revoked: [{ serial: Uint8Array.of(9), at: testNow, reason: 1 }],
});

/** Bytes near to `original`: flipped, cut, doubled, with parts overwritten; never the original itself. */
function mutants(original: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.nat(original.length - 1);
  const flip = fc.tuple(at, fc.nat(7)).map(([i, bit]) => {
    const out = original.slice();
    out[i] = (out[i] ?? 0) ^ (1 << bit);
    return out;
  });
  const set = fc.tuple(at, fc.constantFrom(0, 1, 0x30, 0x7f, 0x80, 0x81, 0x84, 0xa0, 0xff)).map(([i, byte]) => {
    const out = original.slice();
    out[i] = byte;
    return out;
  });
  const cut = at.map((i) => original.slice(0, i));
  const insert = fc
    .tuple(at, fc.uint8Array({ minLength: 1, maxLength: 8 }))
    .map(([i, more]) => Uint8Array.from([...original.subarray(0, i), ...more, ...original.subarray(i)]));
  const remove = fc
    .tuple(at, fc.integer({ min: 1, max: 8 }))
    .map(([i, n]) => Uint8Array.from([...original.subarray(0, i), ...original.subarray(i + n)]));
  return fc
    .oneof(flip, set, cut, insert, remove, fc.uint8Array({ maxLength: 64 }))
    .filter((bytes) => !equalBytes(bytes, original));
}

function codeOr<T>(run: () => T): T | string {
  try {
    return run();
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown.code;
    throw thrown;
  }
}

const runs = { numRuns: 3_000 };

test("a certificate that differs in one place is never accepted", () => {
  const trust = blue.store();
  fc.assert(
    fc.property(mutants(leaf), (bytes) => {
      const judged = codeOr(() => trust.verifyChain([bytes, issuing], { now: testNow, purpose: "tls" }));
      expect(judged).toMatch(/^CAUSEWAY_IDENTITY_/);
    }),
    runs,
  );
});

test("an issuing certificate that differs in one place is never accepted", () => {
  const bundle = { ...blue.bundle(), intermediates: [] };
  const state = { ...blue.trustState(), bundles: [bundle] };
  fc.assert(
    fc.property(mutants(issuing), (bytes) => {
      const trust = blue.store();
      trust.replace(state);
      const judged = codeOr(() => trust.verifyChain([leaf, bytes], { now: testNow, purpose: "tls" }));
      expect(judged).toMatch(/^CAUSEWAY_IDENTITY_/);
    }),
    { numRuns: 500 },
  );
});

test("a certificate request that differs in one place is refused", () => {
  fc.assert(
    fc.property(mutants(csr), (bytes) => {
      expect(codeOr(() => parseCsr(testCrypto, bytes))).toMatch(/^CAUSEWAY_IDENTITY_(CSR_INVALID|KEY_REFUSED)$/);
    }),
    runs,
  );
});

test("a revocation list that differs in one place is malformed or not signed", () => {
  const issuer = parseCertificate(blue.issuing.certificate);
  fc.assert(
    fc.property(mutants(crl), (bytes) => {
      const read = codeOr(() => parseCrl(bytes));
      if (typeof read === "string") expect(read).toMatch(/^CAUSEWAY_IDENTITY_/);
      else expect(isCrlIssuedBy(testCrypto, read, issuer)).toBe(false);
    }),
    runs,
  );
});

test("the roots of a trust state may be anything", () => {
  fc.assert(
    fc.property(mutants(blue.root.certificate), (bytes) => {
      const trust = blue.store();
      const problems = trust.replace({ ...blue.trustState(), bundles: [{ ...blue.bundle(), roots: [bytes] }] });
      expect(problems).toHaveLength(1);
      expect(trust.domains()).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test("keys and PEM texts may be anything", () => {
  fc.assert(
    fc.property(mutants(key.spki), fc.string(), (bytes, text) => {
      codeOr(() => acceptKey(bytes));
      codeOr(() => decodePem("CERTIFICATE", `-----BEGIN CERTIFICATE-----${text}`));
      codeOr(() => decodePem("CERTIFICATE", `-----BEGIN CERTIFICATE-----${text}-----END CERTIFICATE-----`));
    }),
    runs,
  );
});
