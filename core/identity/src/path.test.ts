/** Chains that break one rule each, built by hand where our own issuing would refuse to make them. */
import { create } from "@bufbuild/protobuf";
import { asUnixMs, isCausewayError } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { createTestDomain, testCrypto, testKey, testNow } from "../testing/index.ts";
import { writeAttributes } from "./attributes.ts";
import { parseCertificate } from "./certificate.ts";
import { encodeCertificate } from "./certificate-builder.ts";
import { createCrl } from "./crl.ts";
import { contextPrimitive, DerReader, tags } from "./der-reader.ts";
import { ascii, boolean, integer, octetString, sequence, tagged, taggedPrimitive } from "./der-writer.ts";
import { commonName, emptyName } from "./distinguished-name.ts";
import {
  type AltNames,
  authorityKeyId,
  basicConstraints,
  extendedKeyUsage,
  extension,
  keyUsage,
  keyUsageBits,
  subjectAltName,
} from "./extensions.ts";
import { constrainedName, readNameConstraints } from "./name-constraints.ts";
import { oids, purposeIds } from "./oids.ts";
import { TrustStore } from "./trust-store.ts";

const blue = createTestDomain("blue.example");
const day = 86_400_000;
const validity = { notBefore: asUnixMs(testNow - day), notAfter: asUnixMs(testNow + day) };
const issuing = parseCertificate(blue.issuing.certificate);
const key = testKey("P-256");

/** Extensions of a good leaf, by name, so that a case can replace one. */
const good: Readonly<Record<string, readonly Uint8Array[]>> = {
  constraints: [basicConstraints(false)],
  usage: [keyUsage(keyUsageBits.digitalSignature)],
  purpose: [extendedKeyUsage(...purposeIds.tls)],
  names: [subjectAltName("spiffe://blue.example/a", [])],
  issuer: [authorityKeyId(issuing.extensions.subjectKeyId ?? new Uint8Array())],
  attributes: [extension(oids.attributes, false, writeAttributes({ role: "agent" }))],
  more: [],
};

function judge(change: typeof good, content: { readonly serial?: Uint8Array } = {}): string {
  const leaf = encodeCertificate(blue.issuing.key, {
    serial: content.serial ?? Uint8Array.of(77),
    issuer: issuing.subject,
    subject: emptyName,
    validity,
    spki: key.spki,
    extensions: Object.values({ ...good, ...change }).flat(),
  });
  const chain = [leaf, blue.issuing.certificate];
  // That the certificates above the leaf are known from another one changes no verdict.
  const knowing = blue.store();
  expect(verdict(knowing, other)).toBe("agent");
  const found = verdict(blue.store(), chain);
  expect(verdict(knowing, chain)).toBe(found);
  return found;
}

const other = blue.identity("other").chain("tls");

function verdict(trust: TrustStore, chain: readonly Uint8Array[]): string {
  try {
    return trust.verifyChain(chain, { now: testNow, purpose: "tls" }).role;
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown.code.replace("CAUSEWAY_IDENTITY_", "");
    throw thrown;
  }
}

const names = (...uris: readonly string[]): readonly Uint8Array[] => [
  extension(oids.subjectAltName, true, sequence(...uris.map((uri) => ascii(contextPrimitive(6), uri)))),
];
const attributes = (...parts: readonly Uint8Array[]): readonly Uint8Array[] => [
  extension(oids.attributes, false, sequence(...parts)),
];
const role = (name: string): Uint8Array => ascii(tags.ia5String, name);
const malformed = "CERTIFICATE_MALFORMED";

test("ok/ the leaf that all cases change", () => {
  expect(judge({})).toBe("agent");
});

test.each<readonly [string, typeof good, string]>([
  ["two URI names", { names: names("spiffe://blue.example/a", "spiffe://blue.example/b") }, malformed],
  [
    "two URI names, one of them no SPIFFE ID",
    { names: names("spiffe://blue.example/a", "https://blue.example/") },
    malformed,
  ],
  ["no alternative name", { names: [] }, malformed],
  [
    "no URI name",
    { names: [extension(oids.subjectAltName, true, sequence(ascii(contextPrimitive(2), "blue.example")))] },
    malformed,
  ],
  ["a URI of another scheme", { names: names("https://blue.example/a") }, malformed],
  ["a SPIFFE ID in its short form", { names: names("blue.example/a") }, malformed],
  ["a SPIFFE ID without a path", { names: names("spiffe://blue.example") }, malformed],
  ["a SPIFFE ID with an instance", { names: names("spiffe://blue.example/a/@phone") }, malformed],
  ["a SPIFFE ID with upper case in the domain", { names: names("spiffe://Blue.example/a") }, malformed],
  ["a SPIFFE ID with a port", { names: names("spiffe://blue.example:1/a") }, malformed],
  ["a SPIFFE ID with user info", { names: names("spiffe://blue.example@green.example/a") }, malformed],
  ["the flag of a CA", { constraints: [basicConstraints(true)] }, malformed],
  [
    "the right to sign certificates",
    { usage: [keyUsage(keyUsageBits.digitalSignature, keyUsageBits.keyCertSign)] },
    malformed,
  ],
  ["the right to sign lists", { usage: [keyUsage(keyUsageBits.digitalSignature, keyUsageBits.crlSign)] }, malformed],
  ["no key usage", { usage: [] }, malformed],
  ["no extended key usage", { purpose: [] }, malformed],
  ["two purposes", { purpose: [extendedKeyUsage(...purposeIds.tls, ...purposeIds.mls)] }, malformed],
  ["half of a purpose", { purpose: [extendedKeyUsage(oids.clientAuth)] }, malformed],
  ["any extended key usage", { purpose: [extendedKeyUsage(oids.anyExtendedKeyUsage)] }, malformed],
  ["no role", { attributes: [] }, malformed],
  ["an unknown role", { attributes: attributes(integer(1), role("king")) }, malformed],
  ["attributes of another version", { attributes: attributes(integer(2), role("agent")) }, malformed],
  ["a gateway without its attributes", { attributes: attributes(integer(1), role("gateway")) }, malformed],
  [
    "an agent with gateway attributes",
    { attributes: attributes(integer(1), role("agent"), tagged(0, role("https://g/amsp"), integer(1), sequence())) },
    malformed,
  ],
  ["an extension twice", { more: [basicConstraints(false)] }, malformed],
  [
    "criticality written as false",
    { more: [sequence(oids.crlNumber.der, boolean(false), octetString(integer(1)))] },
    malformed,
  ],
  ["a key identifier of another issuer", { issuer: [authorityKeyId(new Uint8Array(20))] }, "CERTIFICATE_UNTRUSTED"],
])("fail/ a leaf with %s", (_what, change, code) => {
  expect(judge(change)).toBe(code);
});

test("fail/ a leaf with a serial number that is zero or too long", () => {
  expect(judge({}, { serial: Uint8Array.of(0) })).toBe(malformed);
  expect(judge({}, { serial: new Uint8Array(21).fill(1) })).toBe(malformed);
});

/** A chain whose issuing certificate has the given extensions. */
function judgeIssuer(extensions: readonly Uint8Array[]): string {
  const middle = testKey("P-256");
  const root = parseCertificate(blue.root.certificate);
  const certificate = encodeCertificate(blue.root.key, {
    serial: Uint8Array.of(5),
    issuer: root.subject,
    subject: commonName("middle"),
    validity,
    spki: middle.spki,
    extensions,
  });
  const leaf = encodeCertificate(middle, {
    serial: Uint8Array.of(6),
    issuer: commonName("middle"),
    subject: emptyName,
    validity,
    spki: key.spki,
    extensions: Object.values({ ...good, issuer: [] }).flat(),
  });
  const lists = { number: 1n, thisUpdate: testNow, nextUpdate: asUnixMs(testNow + day), revoked: [] };
  const crls = [...blue.crls(), createCrl({ certificate, key: middle }, lists)];
  const trust = new TrustStore(testCrypto);
  trust.replace(create(aca.TrustStateSchema, { sequence: 1n, bundles: [{ ...blue.bundle(), crls }] }));
  return verdict(trust, [leaf, certificate]);
}

const caUsage = keyUsage(keyUsageBits.keyCertSign, keyUsageBits.crlSign);
const constraintsOf = (critical: boolean) =>
  extension(oids.nameConstraints, critical, sequence(tagged(0, sequence(ascii(contextPrimitive(6), "blue.example")))));
const notCritical = extension(oids.basicConstraints, false, sequence(boolean(true)));

test.each<readonly [string, readonly Uint8Array[], string]>([
  ["ok/ an issuer of the profile", [basicConstraints(true, 0), caUsage, constraintsOf(true)], "agent"],
  [
    "fail/ an issuer that is no CA though its key may sign certificates",
    [basicConstraints(false), caUsage],
    "CERTIFICATE_UNTRUSTED",
  ],
  ["fail/ an issuer without basic constraints", [caUsage], "CERTIFICATE_UNTRUSTED"],
  ["fail/ an issuer whose basic constraints are not critical", [notCritical, caUsage], "CERTIFICATE_UNTRUSTED"],
  ["fail/ an issuer without key usage", [basicConstraints(true, 0)], "CERTIFICATE_UNTRUSTED"],
  [
    "fail/ an issuer that may sign certificates and no lists",
    [basicConstraints(true), keyUsage(keyUsageBits.keyCertSign)],
    "CRL_STALE",
  ],
  [
    "fail/ name constraints that are not critical",
    [basicConstraints(true, 0), caUsage, constraintsOf(false)],
    malformed,
  ],
  [
    "fail/ an issuer for another purpose",
    [basicConstraints(true), caUsage, extendedKeyUsage(...purposeIds.mls)],
    "CERTIFICATE_UNTRUSTED",
  ],
  [
    "ok/ an issuer for both purposes",
    [basicConstraints(true), caUsage, extendedKeyUsage(...purposeIds.tls, ...purposeIds.mls)],
    "agent",
  ],
])("%s", (_what, extensions, wanted) => {
  expect(judgeIssuer(extensions)).toBe(wanted);
});

test("a root that was taken out of the bundle vouches for nobody, though its lists are still there", () => {
  const before = createTestDomain("blue.example");
  const after = createTestDomain("blue.example");
  const chain = before.identity("a").chain("tls");
  const trust = before.store();
  expect(verdict(trust, chain)).toBe("agent");
  const crls = [...before.crls(), ...after.crls()];
  const state = (roots: readonly Uint8Array[]) =>
    create(aca.TrustStateSchema, { sequence: 2n, bundles: [{ ...after.bundle(), roots: [...roots], crls }] });
  trust.replace(state([before.root.certificate, after.root.certificate]));
  expect(verdict(trust, chain)).toBe("agent");
  expect(verdict(trust, after.identity("b").chain("tls"))).toBe("agent");
  trust.replace(state([after.root.certificate]));
  expect(verdict(trust, chain)).toBe("CERTIFICATE_UNTRUSTED");
});

const none: AltNames = { uris: [], dnsNames: [], ips: [], others: false };
const uri = (host: string) => sequence(ascii(contextPrimitive(6), host));
const dns = (host: string) => sequence(ascii(contextPrimitive(2), host));
const ip = (...bytes: readonly number[]) => sequence(taggedPrimitive(7, Uint8Array.from(bytes)));
const allowed = (
  permitted: readonly Uint8Array[],
  excluded: readonly Uint8Array[],
  altNames: Partial<AltNames>,
): boolean => {
  const parts = [
    ...(permitted.length > 0 ? [tagged(0, ...permitted)] : []),
    ...(excluded.length > 0 ? [tagged(1, ...excluded)] : []),
  ];
  const constraints = readNameConstraints(new DerReader(sequence(...parts)).enter(tags.sequence));
  return constrainedName(constraints, { ...none, ...altNames }) === undefined;
};

test.each<readonly [boolean, string, string]>([
  [true, "blue.example", "spiffe://blue.example/a"],
  [true, "blue.example", "spiffe://BLUE.example/a"],
  [true, "blue.example", "https://user@blue.example:443/a"],
  [false, "blue.example", "spiffe://sub.blue.example/a"],
  [false, "blue.example", "spiffe://notblue.example/a"],
  [false, "blue.example", "spiffe://blue.example.evil/a"],
  [false, "blue.example", "spiffe://evil/blue.example"],
  [false, "blue.example", "spiffe://blue.example@evil/a"],
  [false, "blue.example", "urn:blue.example"],
  [true, ".blue.example", "spiffe://sub.blue.example/a"],
  [false, ".blue.example", "spiffe://blue.example/a"],
  [false, ".blue.example", "spiffe://.blue.example/a"],
  [false, ".blue.example", "spiffe://notblue.example/a"],
])("URI constraint: %s for %s and %s", (isAllowed, host, name) => {
  expect(allowed([uri(host)], [], { uris: [name] })).toBe(isAllowed);
});

test.each<readonly [boolean, string, string]>([
  [true, "blue.example", "blue.example"],
  [true, "blue.example", "gw1.blue.example"],
  [true, "blue.example", "GW1.Blue.Example"],
  [false, "blue.example", "notblue.example"],
  [false, "blue.example", "blue.example.evil"],
  [true, ".blue.example", "gw1.blue.example"],
  [false, ".blue.example", "blue.example"],
  [true, "", "anything"],
])("DNS constraint: %s for %s and %s", (isAllowed, host, name) => {
  expect(allowed([dns(host)], [], { dnsNames: [name] })).toBe(isAllowed);
});

test("IP constraints, exclusions, and names of types that are not constrained", () => {
  const tenNet = ip(10, 0, 0, 0, 255, 0, 0, 0);
  expect(allowed([tenNet], [], { ips: [Uint8Array.of(10, 1, 2, 3)] })).toBe(true);
  expect(allowed([tenNet], [], { ips: [Uint8Array.of(11, 1, 2, 3)] })).toBe(false);
  expect(allowed([tenNet], [], { ips: [new Uint8Array(16)] })).toBe(false);
  expect(allowed([], [tenNet], { ips: [Uint8Array.of(10, 1, 2, 3)] })).toBe(false);
  expect(allowed([], [uri("blue.example")], { uris: ["spiffe://blue.example/a"] })).toBe(false);
  expect(allowed([], [uri("blue.example")], { uris: ["spiffe://green.example/a"] })).toBe(true);
  expect(allowed([dns("blue.example")], [], { uris: ["spiffe://green.example/a"] })).toBe(true);
  expect(allowed([uri("blue.example"), uri("green.example")], [], { uris: ["spiffe://green.example/a"] })).toBe(true);
});

test("fail/ constraints that cannot be judged", () => {
  const directory = sequence(tagged(4, commonName("x")));
  const withMinimum = sequence(ascii(contextPrimitive(2), "a"), taggedPrimitive(0, Uint8Array.of(0)));
  for (const subtree of [directory, withMinimum, ip(10, 0, 0, 0)]) {
    expect(() => allowed([subtree], [], {})).toThrow();
  }
  expect(() => allowed([], [], {})).toThrow(/empty/);
});
