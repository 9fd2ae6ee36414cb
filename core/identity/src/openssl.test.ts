/** Our certificates before openssl, openssl's certificates before us, and random chains before both. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { asUnixMs, isCausewayError, type UnixMs } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import * as fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createTestDomain, testCrypto, testKey, testNow } from "../testing/index.ts";
import { writeAttributes } from "./attributes.ts";
import { toHex } from "./bytes.ts";
import { keyIdentifier, parseCertificate } from "./certificate.ts";
import { encodeCertificate } from "./certificate-builder.ts";
import { createCrl, isCrlIssuedBy, parseCrl } from "./crl.ts";
import { contextPrimitive } from "./der-reader.ts";
import { ascii, octetString, sequence, tagged } from "./der-writer.ts";
import { commonName, emptyName } from "./distinguished-name.ts";
import {
  authorityKeyId,
  basicConstraints,
  extendedKeyUsage,
  extension,
  keyUsage,
  keyUsageBits,
  subjectAltName,
  subjectKeyId,
} from "./extensions.ts";
import { oids, purposeIds } from "./oids.ts";
import { decodePem, encodePem } from "./pem.ts";
import { parsePublicKey } from "./public-key.ts";
import { TrustStore } from "./trust-store.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-openssl-"));
afterAll(() => rmSync(folder, { recursive: true }));
const openssl = (...args: readonly string[]): string =>
  execFileSync("openssl", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return name;
};
const readDer = (name: string, label = "CERTIFICATE"): Uint8Array => {
  const [der] = decodePem(label, readFileSync(join(folder, name), "utf8"));
  if (der === undefined) throw new Error(`no ${label} in ${name}`);
  return der;
};

/** What `openssl verify` says of a chain at a time. */
function opensslAccepts(
  chain: readonly Uint8Array[],
  roots: readonly Uint8Array[],
  crls: readonly Uint8Array[],
  now: UnixMs,
): boolean {
  const [leaf = new Uint8Array(), ...rest] = chain;
  write("leaf.pem", encodePem("CERTIFICATE", leaf));
  write("rest.pem", encodePem("CERTIFICATE", ...rest));
  write("roots.pem", encodePem("CERTIFICATE", ...roots));
  write("crls.pem", encodePem("X509 CRL", ...crls));
  const untrusted = rest.length === 0 ? [] : ["-untrusted", "rest.pem"];
  const list = crls.length === 0 ? [] : ["-CRLfile", "crls.pem"];
  const args = [
    "verify",
    "-x509_strict",
    "-check_ss_sig",
    "-use_deltas",
    "-crl_check_all",
    "-attime",
    String(now / 1000),
    "-CAfile",
    "roots.pem",
  ];
  const result = spawnSync("openssl", [...args, "-purpose", "sslclient", ...untrusted, ...list, "leaf.pem"], {
    cwd: folder,
    encoding: "utf8",
  });
  return result.status === 0;
}

test("ok/ a domain that is made here verifies in openssl, with its revocation lists [ANA-67]", () => {
  const blue = createTestDomain("blue.example");
  const gateway = blue.identity("gateway/gw1", {
    role: "gateway",
    gateway: { level: 2, namespaces: ["travel"] },
    hosts: ["localhost", "127.0.0.1"],
  });
  expect(opensslAccepts(gateway.chain("tls"), [blue.root.certificate], blue.crls(), blue.now)).toBe(true);
  expect(
    opensslAccepts(gateway.chain("tls"), [createTestDomain("blue.example").root.certificate], blue.crls(), blue.now),
  ).toBe(false);

  write("leaf.der", gateway.chain("tls")[0] ?? new Uint8Array());
  const text = openssl("x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-text");
  expect(text).toContain("URI:spiffe://blue.example/gateway/gw1, DNS:localhost, IP Address:127.0.0.1");
  expect(text).toContain("Not Before: Dec 31 23:59:00 2025 GMT");
  expect(text).toContain("Not After : Jan  2 00:00:00 2026 GMT");
  expect(text).toContain("Public-Key: (256 bit)");
  expect(text).toContain("Signature Algorithm: ecdsa-with-SHA256");
  expect(text).toMatch(/Digital Signature\n/);
  expect(text).toContain("TLS Web Server Authentication, TLS Web Client Authentication");
  write("issuing.der", blue.issuing.certificate);
  const issuing = openssl("x509", "-inform", "DER", "-in", "issuing.der", "-noout", "-text");
  expect(issuing).toContain("CA:TRUE, pathlen:0");
  expect(issuing).toContain("URI:blue.example");
});

test("ok/ openssl reads the revocation lists that are made here and verifies their signature [ANA-76]", () => {
  const blue = createTestDomain("blue.example");
  const crl = createCrl(blue.issuing, {
    number: 7n,
    thisUpdate: blue.now,
    nextUpdate: asUnixMs(blue.now + 3_600_000),
    revoked: [
      { serial: Uint8Array.of(0x7a, 1), at: blue.now, reason: 1 },
      { serial: Uint8Array.of(0x7a, 2), at: blue.now, reason: 0 },
    ],
  });
  write("crl.der", crl);
  write("issuing.pem", encodePem("CERTIFICATE", blue.issuing.certificate));
  const text = openssl("crl", "-inform", "DER", "-in", "crl.der", "-noout", "-text", "-CAfile", "issuing.pem");
  expect(text).toContain("Serial Number: 7A01");
  expect(text).toMatch(/X509v3 CRL Reason Code: \n\s+Key Compromise/);
  expect(text).toMatch(/X509v3 CRL Number: \n\s+7/);
  expect(openssl("crl", "-inform", "DER", "-in", "crl.der", "-noout", "-lastupdate").trim()).toBe(
    "lastUpdate=Jan  1 00:00:00 2026 GMT",
  );
  const verified = spawnSync(
    "openssl",
    ["crl", "-inform", "DER", "-in", "crl.der", "-noout", "-CAfile", "issuing.pem"],
    { cwd: folder, encoding: "utf8" },
  );
  expect(verified.stderr).toContain("verify OK");
});

const rootConfig = `
[req]
distinguished_name = dn
prompt = no
[dn]
CN = their root
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
nameConstraints = critical,permitted;URI:theirs.example
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = critical,URI:spiffe://theirs.example/agent
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
${oids.attributes.dotted} = ASN1:SEQUENCE:attributes
[attributes]
version = INTEGER:1
role = IA5STRING:agent
[ca]
default_ca = authority
[authority]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 1
crl_extensions = crl
[crl]
authorityKeyIdentifier = keyid
`;

test("ok/ a domain that openssl made is read and verified, and its revocation works [ANA-67] [ANA-76]", () => {
  write("openssl.cnf", rootConfig);
  write("index.txt", "");
  write("index.txt.attr", "unique_subject = no\n");
  write("crlnumber", "01\n");
  for (const name of ["root", "issuing", "leaf"]) {
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", `${name}.key`);
  }
  openssl(
    "req",
    "-x509",
    "-new",
    "-key",
    "root.key",
    "-config",
    "openssl.cnf",
    "-extensions",
    "root",
    "-days",
    "10",
    "-out",
    "root.crt",
  );
  const issue = (name: string, by: string, subject: string) => {
    openssl("req", "-new", "-key", `${name}.key`, "-subj", subject, "-out", `${name}.csr`);
    const args = [
      "-CA",
      `${by}.crt`,
      "-CAkey",
      `${by}.key`,
      "-CAcreateserial",
      "-days",
      "5",
      "-extfile",
      "openssl.cnf",
      "-extensions",
      name,
    ];
    openssl("x509", "-req", "-in", `${name}.csr`, ...args, "-out", `${name}.crt`);
  };
  issue("issuing", "root", "/O=Theirs/OU=x/CN=their issuing");
  issue("leaf", "issuing", "/CN=their leaf");
  const lists = () => {
    for (const name of ["root", "issuing"]) {
      openssl(
        "ca",
        "-config",
        "openssl.cnf",
        "-gencrl",
        "-cert",
        `${name}.crt`,
        "-keyfile",
        `${name}.key`,
        "-out",
        `${name}.crl`,
      );
    }
    return ["root.crl", "issuing.crl"].map((name) => readDer(name, "X509 CRL"));
  };
  const trust = new TrustStore(testCrypto);
  const replace = () =>
    trust.replace(
      create(aca.TrustStateSchema, {
        sequence: 1n,
        bundles: [{ domain: "theirs.example", roots: [readDer("root.crt")], crls: lists() }],
      }),
    );
  expect(replace()).toEqual([]);
  const chain = [readDer("leaf.crt"), readDer("issuing.crt")];
  const now = asUnixMs(Date.now() + 2_000);
  const peer = trust.verifyChain(chain, { now, purpose: "tls" });
  expect(peer).toMatchObject({ spiffeId: "spiffe://theirs.example/agent", role: "agent", purpose: "tls" });
  const serial = openssl("x509", "-in", "leaf.crt", "-noout", "-serial").trim();
  expect(`serial=${toHex(peer.serial).toUpperCase()}`).toBe(serial);

  openssl(
    "ca",
    "-config",
    "openssl.cnf",
    "-revoke",
    "leaf.crt",
    "-cert",
    "issuing.crt",
    "-keyfile",
    "issuing.key",
    "-crl_reason",
    "keyCompromise",
  );
  expect(replace()).toEqual([]);
  expect(trust.isRevoked(peer)).toBe(true);
  expect(() => trust.verifyChain(chain, { now, purpose: "tls" })).toThrow(/revoked .* reason 1/);
  const crl = parseCrl(readDer("issuing.crl", "X509 CRL"));
  expect(isCrlIssuedBy(testCrypto, crl, parseCertificate(readDer("issuing.crt")))).toBe(true);
  expect(isCrlIssuedBy(testCrypto, crl, parseCertificate(readDer("root.crt")))).toBe(false);
});

/** How a random chain differs from a good one; `undefined` and false mean as it should be. */
interface Variation {
  readonly casBetween: 1 | 2;
  readonly pathLength: readonly (number | undefined)[];
  readonly notCa: readonly boolean[];
  readonly noCertSign: readonly boolean[];
  readonly noCrlSign: readonly boolean[];
  readonly uriConstraint: "none" | "blue.example" | ".blue.example" | "green.example" | "excluded";
  readonly dnsConstraint: "none" | "blue.example" | "green.example" | "excluded";
  readonly uri: string;
  readonly dns: string;
  readonly validity: readonly ("good" | "expired" | "early")[];
  readonly revoked: readonly boolean[];
  readonly listMissing: readonly boolean[];
  readonly unknownCritical: readonly boolean[];
  readonly wrongSignature: readonly boolean[];
  readonly caUsage: "none" | "client and server" | "client" | "code signing";
}

const rarely = fc.oneof({ weight: 14, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
const levels = <T>(one: fc.Arbitrary<T>) => fc.array(one, { minLength: 4, maxLength: 4 });
const mostly = <T>(good: T, ...others: readonly T[]) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const variations: fc.Arbitrary<Variation> = fc.record({
  casBetween: fc.constantFrom(1 as const, 2 as const),
  pathLength: levels(mostly<number | undefined>(undefined, 0, 1, 2)),
  notCa: levels(rarely),
  noCertSign: levels(rarely),
  noCrlSign: levels(rarely),
  uriConstraint: mostly("none", "blue.example", ".blue.example", "green.example", "excluded"),
  dnsConstraint: mostly("none", "blue.example", "green.example", "excluded"),
  uri: mostly("spiffe://blue.example/travel/booker", "spiffe://sub.blue.example/a", "spiffe://notblue.example/a"),
  dns: mostly("gw1.blue.example", "blue.example", "notblue.example"),
  validity: levels(
    fc.oneof(
      { weight: 14, arbitrary: fc.constant("good" as const) },
      { weight: 1, arbitrary: fc.constantFrom("expired" as const, "early" as const) },
    ),
  ),
  revoked: levels(rarely),
  listMissing: levels(rarely),
  unknownCritical: levels(rarely),
  wrongSignature: levels(rarely),
  caUsage: mostly("none", "client and server", "client", "code signing"),
});

const day = 86_400_000;
const unknownOid = { dotted: "1.2.3.4", hex: "2a0304", der: Uint8Array.of(6, 3, 0x2a, 3, 4) };

/** Builds the chain: index 0 is the root, the last one the leaf. */
function build(v: Variation) {
  const count = v.casBetween + 2;
  const keys = Array.from({ length: count }, () => testKey("P-256"));
  const ids = keys.map((key) => keyIdentifier(testCrypto, parsePublicKey(key.spki)));
  const ders: Uint8Array[] = [];
  for (const [level, key] of keys.entries()) {
    const isLeaf = level === count - 1;
    const by = Math.max(0, level - 1);
    const signingKey = v.wrongSignature[level] && level > 0 ? testKey("P-256") : (keys[by] ?? key);
    const id = ids[level] ?? new Uint8Array();
    const extensions = isLeaf
      ? [
          basicConstraints(false),
          keyUsage(keyUsageBits.digitalSignature),
          extendedKeyUsage(...purposeIds.tls),
          subjectAltName(v.uri, [v.dns]),
          extension(oids.attributes, false, writeAttributes({ role: "agent" })),
        ]
      : [
          v.notCa[level] ? basicConstraints(false) : basicConstraints(true, v.pathLength[level]),
          keyUsage(
            keyUsageBits.digitalSignature,
            ...(v.noCertSign[level] ? [] : [keyUsageBits.keyCertSign]),
            ...(v.noCrlSign[level] ? [] : [keyUsageBits.crlSign]),
          ),
          ...(level === 1 ? caExtensions(v) : []),
        ];
    extensions.push(subjectKeyId(id));
    if (level > 0) extensions.push(authorityKeyId(ids[by] ?? new Uint8Array()));
    if (v.unknownCritical[level]) extensions.push(extension(unknownOid, true, octetString(new Uint8Array())));
    ders.push(
      encodeCertificate(signingKey, {
        serial: Uint8Array.of(level + 1),
        issuer: commonName(`ca ${by}`),
        subject: isLeaf ? emptyName : commonName(`ca ${level}`),
        validity: {
          notBefore: asUnixMs(testNow + (v.validity[level] === "early" ? day : -day)),
          notAfter: asUnixMs(testNow + (v.validity[level] === "expired" ? -1_000 : 2 * day)),
        },
        spki: key.spki,
        extensions,
      }),
    );
  }
  const crls = ders.slice(0, -1).flatMap((certificate, level) => {
    const key = keys[level];
    if (v.listMissing[level] || key === undefined) return [];
    const revoked = v.revoked[level + 1] ? [{ serial: Uint8Array.of(level + 2), at: testNow, reason: 1 as const }] : [];
    return [
      createCrl(
        { certificate, key },
        { number: 1n, thisUpdate: asUnixMs(testNow - 1_000), nextUpdate: asUnixMs(testNow + day), revoked },
      ),
    ];
  });
  return { root: ders[0] ?? new Uint8Array(), chain: ders.slice(1).toReversed(), crls };
}

function caExtensions(v: Variation): readonly Uint8Array[] {
  const permitted: Uint8Array[] = [];
  const excluded: Uint8Array[] = [];
  const uri = (host: string) => sequence(ascii(contextPrimitive(6), host));
  const dns = (host: string) => sequence(ascii(contextPrimitive(2), host));
  if (v.uriConstraint === "excluded") excluded.push(uri("blue.example"));
  else if (v.uriConstraint !== "none") permitted.push(uri(v.uriConstraint));
  if (v.dnsConstraint === "excluded") excluded.push(dns("blue.example"));
  else if (v.dnsConstraint !== "none") permitted.push(dns(v.dnsConstraint));
  const parts = [
    ...(permitted.length === 0 ? [] : [tagged(0, ...permitted)]),
    ...(excluded.length === 0 ? [] : [tagged(1, ...excluded)]),
  ];
  const usages = {
    none: [],
    "client and server": [oids.serverAuth, oids.clientAuth],
    client: [oids.clientAuth],
    "code signing": [oids.recordSigning],
  }[v.caUsage];
  return [
    ...(parts.length === 0 ? [] : [extension(oids.nameConstraints, true, sequence(...parts))]),
    ...(usages.length === 0 ? [] : [extendedKeyUsage(...usages)]),
  ];
}

function oursAccepts(root: Uint8Array, chain: readonly Uint8Array[], crls: readonly Uint8Array[]): true | string {
  const trust = new TrustStore(testCrypto);
  const domains = ["blue.example", "sub.blue.example", "notblue.example"];
  trust.replace(
    create(aca.TrustStateSchema, {
      sequence: 1n,
      bundles: domains.map((domain) => ({ domain, roots: [root], crls: [...crls] })),
    }),
  );
  try {
    trust.verifyChain(chain, { now: testNow, purpose: "tls" });
    return true;
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown.code;
    throw thrown;
  }
}

test("random chains are accepted by us exactly when openssl accepts them", () => {
  let accepted = 0;
  let refused = 0;
  const codes = new Set<string>();
  fc.assert(
    fc.property(variations, (variation) => {
      const { root, chain, crls } = build(variation);
      const ours = oursAccepts(root, chain, crls);
      const theirs = opensslAccepts(chain, [root], crls, testNow);
      // We ask an issuer's extended key usage for both halves of the purpose, openssl for the one that is being used.
      const stricter = variation.caUsage === "client" && theirs;
      if (ours === true) accepted++;
      else {
        refused++;
        codes.add(ours);
      }
      if (!stricter) expect({ verdict: ours === true, code: ours }).toEqual({ verdict: theirs, code: ours });
    }),
    { numRuns: 250, seed: 20_260_101 },
  );
  expect(accepted).toBeGreaterThan(20);
  expect(refused).toBeGreaterThan(20);
  expect([...codes].toSorted()).toEqual(
    expect.arrayContaining([
      "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
      "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED",
      "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
      "CAUSEWAY_IDENTITY_CRL_STALE",
    ]),
  );
});
