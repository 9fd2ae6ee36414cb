/** Records, statements and receipts, signed with real certificates. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { asUnixMs, type CausewayError, isCausewayError, parseAgentId, parseGatewayUri } from "@causeway/core-base";
import { createTestDomain, testCrypto, testNow } from "@causeway/core-identity/testing";
import { record } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testCard, testDraft } from "../testing/index.ts";
import {
  clockSkewMsMax,
  compareRevisions,
  createRecordVerifier,
  encodeRecordBody,
  matchesInterest,
  type OriginStatement,
  parseRecordBody,
  searchTexts,
  signatureAgeMsMax,
  signOrigin,
  signReceipt,
  signRecord,
  trustedSignatures,
} from "./index.ts";

const blue = createTestDomain("blue.example");
const green = createTestDomain("green.example");
const verifier = createRecordVerifier(trustedSignatures(blue.store(green), testCrypto));
const agent = blue.identity("travel/booker");
const other = blue.identity("travel/other");
const gateway = blue.identity("gateway/gw1", {
  role: "gateway",
  gateway: { uri: "https://gw1.blue.example/amsp", level: 1, namespaces: ["travel"] },
});
const registry = blue.identity("registry/ars", { role: "registry" });
const gatewayUri = parseGatewayUri("https://gw1.blue.example/amsp");
const draft = testDraft("blue.example/travel/booker", { updatedAt: testNow });
const signed = signRecord(agent.signer("record"), draft);

function refusal(run: () => unknown): CausewayError {
  try {
    run();
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("expected a refusal, there was none");
}

/** A body with fields changed behind the back of the checks. */
const body = (change: (b: record.RecordBody) => void): Uint8Array => {
  const b = fromBinary(record.RecordBodySchema, encodeRecordBody(draft));
  change(b);
  return toBinary(record.RecordBodySchema, b);
};
const card = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe("a record body", () => {
  test("follows one schema with a version; an unknown version is refused by name [AMSP-14]", () => {
    expect(parseRecordBody(encodeRecordBody(draft))).toMatchObject({
      agentId: "spiffe://blue.example/travel/booker",
      revision: 1n,
      protocols: ["agp/1"],
    });
    const error = refusal(() => parseRecordBody(body((b) => (b.version = 2))));
    expect([error.code, error.details["field"], error.message]).toEqual([
      "CAUSEWAY_RECORD_MALFORMED",
      "version",
      "version: expected schema version 1, got 2",
    ]);
  });

  test("carries the AgentCard byte for byte, and the card's own signature stays valid [AMSP-15]", () => {
    const key = generateKeyPairSync("ed25519");
    const content = {
      name: "Booker",
      description: "Books",
      version: "1.0.0",
      protocolVersion: "1.0",
      skills: [{ id: "a", name: "a", description: "a", tags: [] }],
    };
    const protectedHeader = Buffer.from(JSON.stringify({ alg: "EdDSA", typ: "JOSE" })).toString("base64url");
    const payload = Buffer.from(JSON.stringify(content)).toString("base64url");
    const signature = sign(null, Buffer.from(`${protectedHeader}.${payload}`), key.privateKey).toString("base64url");
    const bytes = new TextEncoder().encode(
      JSON.stringify({ ...content, signatures: [{ protected: protectedHeader, signature }] }, null, 3),
    );
    const travelled = fromBinary(
      record.SignedRecordSchema,
      toBinary(record.SignedRecordSchema, signRecord(agent.signer("record"), { ...draft, agentCard: bytes })),
    );
    const { agentCard } = verifier.verifyRecord(travelled, testNow).record;
    expect(Buffer.from(agentCard).equals(bytes)).toBe(true);
    const { signatures, ...rest } = JSON.parse(new TextDecoder().decode(agentCard)) as {
      signatures: { protected: string; signature: string }[];
    };
    const [proof] = signatures;
    const message = `${proof?.protected}.${Buffer.from(JSON.stringify(rest)).toString("base64url")}`;
    const publicKey = createPublicKey(createPrivateKey(key.privateKey.export({ format: "pem", type: "pkcs8" })));
    expect(verify(null, Buffer.from(message), publicKey, Buffer.from(proof?.signature ?? "", "base64url"))).toBe(true);
  });

  test.each([
    ["none", ""],
    ["malformed", "not a name"],
    ["with an instance", "spiffe://blue.example/travel/booker/@one"],
    ["short", "blue.example/travel/booker"],
  ])("without a proper Agent ID is refused by name of the field: %s [AMSP-16]", (_name, agentId) => {
    expect(refusal(() => parseRecordBody(body((b) => (b.agentId = agentId)))).details["field"]).toBe("agent_id");
  });

  test("without skills is refused; with 100 it is found by any of them [AMSP-17]", () => {
    for (const skills of [undefined, [], "x"]) {
      const error = refusal(() => encodeRecordBody({ ...draft, agentCard: testCard({ skills: skills as never }) }));
      expect([error.code, error.details["field"]]).toEqual(["CAUSEWAY_RECORD_MALFORMED", "agent_card.skills"]);
    }
    const skills = Array.from({ length: 100 }, (_, i) => ({
      id: `skill-${i}`,
      name: `Skill ${i}`,
      description: `does ${i}`,
      tags: [`t${i}`],
    }));
    const parsed = parseRecordBody(encodeRecordBody({ ...draft, agentCard: testCard({ skills }) }));
    const topic = { all: false, agentIds: [], skills: [], tags: [], domains: [] };
    for (let i = 0; i < 100; i++) {
      expect(matchesInterest({ ...topic, skills: [`SKILL-${i}`] }, parsed)).toBe(true);
      expect(matchesInterest({ ...topic, tags: [`T${i}`] }, parsed)).toBe(true);
      expect(searchTexts(parsed).some(({ text }) => text === `does ${i}`)).toBe(true);
    }
    expect(matchesInterest({ ...topic, skills: ["skill-100"] }, parsed)).toBe(false);
  });

  test.each<[string, (b: record.RecordBody) => void, string]>([
    ["no card", (b) => (b.agentCard = new Uint8Array()), "agent_card"],
    ["card not UTF-8", (b) => (b.agentCard = Uint8Array.of(0x22, 0xff, 0x22)), "agent_card"],
    ["card a list", (b) => (b.agentCard = card([])), "agent_card"],
    ["no name", (b) => (b.agentCard = card({ description: "d", version: "1", skills: [{}] })), "agent_card.name"],
    [
      "blank description",
      (b) => (b.agentCard = card({ name: "n", description: "  ", version: "1", skills: [{}] })),
      "agent_card.description",
    ],
    [
      "version a number",
      (b) => (b.agentCard = card({ name: "n", description: "d", version: 1, skills: [{}] })),
      "agent_card.version",
    ],
    [
      "skill without id",
      (b) =>
        (b.agentCard = card({
          name: "n",
          description: "d",
          version: "1",
          skills: [{ id: "a", name: "a", description: "a" }, {}],
        })),
      "agent_card.skills[1].id",
    ],
    [
      "tag not a text",
      (b) =>
        (b.agentCard = card({
          name: "n",
          description: "d",
          version: "1",
          skills: [{ id: "a", name: "a", description: "a", tags: ["x", 3] }],
        })),
      "agent_card.skills[0].tags[1]",
    ],
    ["language", (b) => (b.languages = ["en", "english language"]), "languages[1]"],
    ["no protocol", (b) => (b.protocols = []), "protocols"],
    ["protocol", (b) => (b.protocols = ["a2a/1.0", "?"]), "protocols[1]"],
    ["tag", (b) => (b.tags = ["\n"]), "tags[0]"],
    ["too many tags", (b) => (b.tags = Array.from({ length: 257 }, String)), "tags"],
    [
      "domain",
      (b) => (b.trust = create(record.TrustPolicySchema, { visibleDomains: ["Not A Domain"] })),
      "trust.visible_domains[0]",
    ],
    ["revision", (b) => (b.revision = 0n), "revision"],
    ["time", (b) => (b.updatedUnixMs = 0n), "updated_unix_ms"],
    ["kind", (b) => (b.lifecycleKind = "eternal"), "lifecycle_kind"],
  ])("fail/ %s names the field", (_name, change, field) => {
    const error = refusal(() => parseRecordBody(body(change)));
    expect([error.code, error.details["field"]]).toEqual(["CAUSEWAY_RECORD_MALFORMED", field]);
  });

  test.each([
    "en",
    "de-CH",
    "zh-Hans",
    "zh-Hant-TW",
    "sr-Latn-RS",
    "es-419",
    "de-1996",
    "en-u-ca-gregory",
    "x-private",
  ])("ok/ language %s", (language) => {
    expect(parseRecordBody(encodeRecordBody({ ...draft, languages: [language] })).languages).toEqual([language]);
  });

  test("bytes that are no body are refused and nothing else happens", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(refusal(() => parseRecordBody(bytes)).code).toBe("CAUSEWAY_RECORD_MALFORMED");
      }),
    );
  });
});

describe("a signed record", () => {
  test("verifies, and says who signed", () => {
    const verified = verifier.verifyRecord(signed, testNow);
    expect(verified.signer.spiffeId).toBe("spiffe://blue.example/travel/booker");
    expect(Buffer.from(verified.digest)).toEqual(createHash("sha256").update(signed.body).digest());
  });

  test("is limited to 16 KiB with signature and chain [AMSP-27]", () => {
    const fits = (bytes: number) => ({ ...draft, agentCard: testCard({ description: "d".repeat(bytes) }) });
    const overhead =
      toBinary(record.SignedRecordSchema, signRecord(agent.signer("record"), fits(12_000))).length - 12_000;
    expect(() => signRecord(agent.signer("record"), fits(16_384 - overhead - 8))).not.toThrow();
    const error = refusal(() => signRecord(agent.signer("record"), fits(17 * 1_024)));
    expect([error.code, error.details["limit"]]).toEqual(["CAUSEWAY_RECORD_TOO_LARGE", "recordBytesMax"]);
  });

  test("fail/ signed by another agent", () => {
    const foreign = signRecord(other.signer("record"), draft);
    expect(refusal(() => verifier.verifyRecord(foreign, testNow)).code).toBe("CAUSEWAY_RECORD_NOT_OWNER");
  });

  test("fail/ signed by a gateway, with the tls key, or by nobody", () => {
    const code = (s: record.SignedRecord): string => refusal(() => verifier.verifyRecord(s, testNow)).code;
    expect(code(signRecord(gateway.signer("record"), draft))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
    expect(code(signRecord(agent.signer("tls"), draft))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
    expect(code(create(record.SignedRecordSchema, { body: signed.body }))).toBe("CAUSEWAY_IDENTITY_SIGNATURE_INVALID");
  });

  test("is judged at the time of signing: valid after the certificate expired, not from the future, not forever", () => {
    const minute = 60_000;
    // The revocation lists are of now; the agent's certificate has been expired for 40 minutes.
    const now = asUnixMs(testNow + 50 * minute);
    const domain = createTestDomain("blue.example", { now });
    const old = domain.identity("travel/booker", { notBefore: testNow, notAfter: asUnixMs(testNow + 10 * minute) });
    const later = createRecordVerifier(trustedSignatures(domain.store(), testCrypto));
    const sign = (updatedAt: number) => signRecord(old.signer("record"), { ...draft, updatedAt: asUnixMs(updatedAt) });
    expect(() => later.verifyRecord(sign(testNow + 1_000), now)).not.toThrow();
    expect(refusal(() => later.verifyRecord(sign(testNow + 11 * minute), now)).code).toBe(
      "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
    );
    expect(refusal(() => verifier.verifyRecord(signed, asUnixMs(testNow - clockSkewMsMax - 1))).message).toContain(
      "signer's clock",
    );
    expect(refusal(() => verifier.verifyRecord(signed, asUnixMs(testNow + signatureAgeMsMax + 1))).message).toContain(
      "sign again",
    );
  });

  test("of a certificate that was revoked after signing is refused", () => {
    const domain = createTestDomain("blue.example");
    const one = domain.identity("travel/booker");
    const record = signRecord(one.signer("record"), draft);
    const store = domain.store();
    const check = () => createRecordVerifier(trustedSignatures(store, testCrypto)).verifyRecord(record, testNow);
    expect(check).not.toThrow();
    domain.revoke(store.verifyChain(one.chain("record"), { now: testNow, purpose: "record" }));
    store.replace(domain.trustState());
    expect(refusal(check).code).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  });

  test("every changed byte of body or signature is noticed [AMSP-105]", () => {
    fc.assert(
      fc.property(fc.nat(signed.body.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const altered = { ...signed, body: signed.body.map((b, i) => (i === at ? b ^ flip : b)) };
        expect(isCausewayError(refusal(() => verifier.verifyRecord(altered, testNow)))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe("an origin statement", () => {
  const statement: OriginStatement = {
    agentId: parseAgentId("blue.example/travel/booker"),
    origin: gatewayUri,
    version: { epoch: 1n, sequence: 7n },
    status: "online",
    bodyDigest: testCrypto.sha256(signed.body),
    at: testNow,
    withdrawn: false,
    attachmentSequence: 3n,
  };
  const check = (change: Partial<OriginStatement>, by = gateway) =>
    verifier.verifyOrigin(signOrigin(by.signer("record"), { ...statement, ...change }), testNow);
  const code = (change: Partial<OriginStatement>, by = gateway): string => refusal(() => check(change, by)).code;

  test("names as reachability the signing gateway's certified URI and nothing else [AMSP-18]", () => {
    expect(check({}).statement).toEqual(statement);
    expect(code({ origin: parseGatewayUri("https://gw2.blue.example/amsp") })).toBe("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED");
  });

  test("needs authority over domain and namespace [AMSP-108]", () => {
    expect(code({ agentId: parseAgentId("blue.example/finance/payer") })).toBe("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED");
    expect(code({ agentId: parseAgentId("blue.example/traveller") })).toBe("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED");
    expect(code({ agentId: parseAgentId("green.example/travel/booker") })).toBe("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED");
    const foreign = green.identity("gateway/gw1", {
      role: "gateway",
      gateway: { uri: "https://gw1.blue.example/amsp", level: 2 },
    });
    expect(code({}, foreign)).toBe("CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED");
    expect(code({}, agent)).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  });

  test("changed reachability, capability or version is noticed [AMSP-105]", () => {
    const good = signOrigin(gateway.signer("record"), statement);
    const altered = signOrigin(gateway.signer("record"), { ...statement, version: { epoch: 1n, sequence: 8n } });
    expect(refusal(() => verifier.verifyOrigin({ ...good, statement: altered.statement }, testNow)).code).toBe(
      "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
    );
    // A receipt's or record's signature does not pass as an origin's.
    expect(
      refusal(() =>
        verifier.verifyOrigin(
          create(record.SignedOriginSchema, { statement: good.statement, signature: signed.agentSignature ?? {} }),
          testNow,
        ),
      ).code,
    ).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  });

  test.each<[string, Partial<OriginStatement>]>([
    ["digest of another length", { bodyDigest: Uint8Array.of(1) }],
    ["a withdrawal with a body", { withdrawn: true }],
    ["version zero", { version: { epoch: 1n, sequence: 0n } }],
  ])("fail/ %s", (_name, change) => expect(code(change)).toBe("CAUSEWAY_RECORD_MALFORMED"));

  test("a withdrawal needs no body", () => {
    expect(check({ withdrawn: true, bodyDigest: new Uint8Array() }).statement).toMatchObject({
      withdrawn: true,
      status: "deregistered",
    });
  });
});

describe("a receipt", () => {
  const verified = verifier.verifyRecord(signed, testNow);
  const receipt = {
    agentId: draft.agentId,
    resourceId: "r1",
    revision: 1n,
    bodyDigest: verified.digest,
    issuedAt: testNow,
    expiresAt: asUnixMs(testNow + 1_000),
  };
  const check = (change: Partial<typeof receipt>, by = registry) =>
    verifier.verifyReceipt(verified, signReceipt(by.signer("record"), { ...receipt, ...change }), testNow);

  test("of the domain's registry for exactly this record makes it registered", () => {
    expect(check({})).toMatchObject({ receipt: { resourceId: "r1" }, verified: { record: { revision: 1n } } });
  });

  test.each<[string, Partial<typeof receipt>]>([
    ["another agent", { agentId: parseAgentId("blue.example/travel/other") }],
    ["another revision", { revision: 2n }],
    ["another body", { bodyDigest: new Uint8Array(32) }],
    ["expired", { expiresAt: testNow }],
  ])("fail/ %s", (_name, change) => expect(refusal(() => check(change)).code).toBe("CAUSEWAY_RECORD_NOT_REGISTERED"));

  test("fail/ none, another domain's, or not a registry's", () => {
    expect(refusal(() => verifier.verifyReceipt(verified, undefined, testNow)).code).toBe(
      "CAUSEWAY_RECORD_NOT_REGISTERED",
    );
    expect(refusal(() => check({}, green.identity("registry/ars", { role: "registry" }))).code).toBe(
      "CAUSEWAY_RECORD_NOT_REGISTERED",
    );
    expect(refusal(() => check({}, gateway)).code).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  });
});

test("revisions: newer, same, older, conflict", () => {
  const of = (revision: bigint, byte: number) => ({ revision, digest: Uint8Array.of(byte) });
  expect(compareRevisions(undefined, of(1n, 1))).toBe("newer");
  expect(compareRevisions(of(1n, 1), of(2n, 2))).toBe("newer");
  expect(compareRevisions(of(2n, 1), of(2n, 1))).toBe("same");
  expect(compareRevisions(of(2n, 1), of(2n, 2))).toBe("conflict");
  expect(compareRevisions(of(2n, 1), of(1n, 1))).toBe("older");
});

describe("interest", () => {
  const parsed = parseRecordBody(encodeRecordBody({ ...draft, tags: ["Cheap"] }));
  const topic = { all: false, agentIds: [], skills: [], tags: [], domains: [] };
  test.each([
    ["nothing set", {}, false],
    ["all", { all: true }, true],
    ["agent", { agentIds: ["spiffe://blue.example/travel/booker"] }, true],
    ["prefix of whole segments", { agentIds: ["spiffe://blue.example/travel"] }, true],
    ["part of a segment", { agentIds: ["spiffe://blue.example/tra"] }, false],
    ["skill by name", { skills: ["book a FLIGHT"] }, true],
    ["tag of the record", { tags: ["cheap"] }, true],
    ["tag of a skill", { tags: ["Travel"] }, true],
    ["domain", { domains: ["blue.example"] }, true],
    ["one of several", { tags: ["no", "cheap"] }, true],
    ["all fields have to match", { tags: ["cheap"], domains: ["green.example"] }, false],
  ])("%s", (_name, change, expected) => {
    expect(matchesInterest({ ...topic, ...change }, parsed)).toBe(expected);
  });
});
