import { create, toBinary } from "@bufbuild/protobuf";
import { asInstant, asUnixMs, parseAgentId, type Scheduler, silentLog } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { TestDomain, type TestIdentity, testCrypto, testNow } from "@causeway/core-identity/testing";
import {
  createRecordVerifier,
  parseReceipt,
  parseStoredOrigin,
  parseStoredRecord,
  signOrigin,
  signRecord,
  trustedSignatures,
} from "@causeway/core-records";
import { ars, record as wire } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import { createMemoryRegistryStore } from "./memory-store.ts";
import { Registry } from "./registry.ts";

let now = 0;
const scheduler: Scheduler = {
  now: () => ({ instant: asInstant(now), unix: asUnixMs(testNow + now) }),
  at: () => () => undefined,
};

const blue = new TestDomain("blue.example");
const green = new TestDomain("green.example");
const trust = blue.store(green);
const registryIdentity = blue.identity("registry", { role: "registry" });
const booker = blue.identity("travel/booker");
const thief = blue.identity("travel/thief");
const foreign = green.identity("travel/hotels");
const gateway = green.identity("gateway/gw1", { role: "gateway" });

const callerOf = (identity: TestIdentity): VerifiedPeer =>
  trust.verifyChain(identity.chain("tls"), { now: testNow, purpose: "tls" });

const cardOf = (skill: string): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify({
      name: "Booker",
      description: "Books things",
      version: "1",
      skills: [{ id: skill, name: skill, description: skill, tags: [] }],
      extra: { kept: true },
    }),
  );

function recordOf(
  identity: TestIdentity,
  revision: bigint,
  skill = "book-hotel",
  signer = identity,
): wire.SignedRecord {
  return signRecord(signer.signer("record"), {
    agentId: identity.spiffeId,
    agentCard: cardOf(skill),
    languages: ["en"],
    revision,
    updatedAt: asUnixMs(testNow),
  });
}

let store: ReturnType<typeof createMemoryRegistryStore>;
let registry: Registry;

function open(): Registry {
  return new Registry(
    { domain: blue.domain, queriesPerMinute: 3 },
    { store, trust, crypto: testCrypto, scheduler, log: silentLog, signer: () => registryIdentity.signer("record") },
  );
}

const register = (identity: TestIdentity, signed: wire.SignedRecord | undefined) =>
  registry.register(callerOf(identity), create(ars.RegisterRequestSchema, signed ? { record: signed } : {}));

const listed = async (query: object = {}) =>
  (
    await registry.discover(
      callerOf(thief),
      create(ars.DiscoverRequestSchema, {
        statuses: [wire.AgentStatus.UNSPECIFIED, wire.AgentStatus.ONLINE],
        ...query,
      }),
    )
  ).matches;

const known = (identity: TestIdentity): boolean => {
  try {
    registry.getRecord(callerOf(thief), create(ars.GetRecordRequestSchema, { agentId: identity.spiffeId }));
    return true;
  } catch {
    return false;
  }
};

beforeEach(() => {
  now = 0;
  store = createMemoryRegistryStore();
  registry = open();
});

describe("registration", () => {
  test("answers with a resource ID and a receipt that verifies over exactly this record [ANA-85, ANA-16]", () => {
    const signed = recordOf(booker, 1n);
    const response = register(booker, signed);
    expect(response.resourceId).toMatch(/^rid-[0-9a-f]{32}$/);
    const verifier = createRecordVerifier(trustedSignatures(trust, testCrypto));
    const registered = verifier.verifyReceipt(verifier.verifyRecord(signed, testNow), response.receipt, testNow);
    expect(registered.receipt.resourceId).toBe(response.resourceId);
    expect(parseReceipt(response.receipt?.receipt ?? new Uint8Array()).revision).toBe(1n);
  });

  test("the card comes back byte for byte, also after a restart [ANA-11, ANA-17]", () => {
    register(booker, recordOf(booker, 1n));
    registry = open();
    const { match } = registry.getRecord(
      callerOf(thief),
      create(ars.GetRecordRequestSchema, { agentId: booker.spiffeId }),
    );
    const stored = parseStoredRecord(
      toBinary(wire.SignedRecordSchema, match?.record ?? create(wire.SignedRecordSchema)),
    );
    expect(stored.record.agentCard).toEqual(cardOf("book-hotel"));
  });

  test("the same record again is the same registration; a newer one is an update of it [ANA-78, ANA-87]", async () => {
    const first = register(booker, recordOf(booker, 1n));
    expect(register(booker, recordOf(booker, 1n)).resourceId).toBe(first.resourceId);
    expect(register(booker, recordOf(booker, 2n, "book-flight")).resourceId).toBe(first.resourceId);
    expect(
      registry.getRecord(callerOf(thief), create(ars.GetRecordRequestSchema, { agentId: booker.spiffeId })).match
        ?.record,
    ).toEqual(recordOf(booker, 2n, "book-flight"));
  });

  test("an older revision and the same revision with other content are refused, and nothing changes [ANA-88]", () => {
    register(booker, recordOf(booker, 5n));
    const before = store.get(booker.spiffeId);
    expect(() => register(booker, recordOf(booker, 4n))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_OLDER" }),
    );
    expect(() => register(booker, recordOf(booker, 5n, "other"))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_OLDER" }),
    );
    expect(store.get(booker.spiffeId)).toEqual(before);
  });

  test("only the owner registers: another caller, another signer and another domain are refused [ANA-5, ANA-82]", () => {
    expect(() => register(thief, recordOf(booker, 1n))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_NOT_OWNER" }),
    );
    expect(() => register(booker, recordOf(booker, 1n, "x", thief))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_NOT_OWNER" }),
    );
    expect(() => register(foreign, recordOf(foreign, 1n))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_IDENTITY_ROLE_WRONG" }),
    );
    expect(() => register(registryIdentity, recordOf(booker, 1n))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_IDENTITY_ROLE_WRONG" }),
    );
    expect(known(booker)).toBe(false);
  });

  test("a record without, with a damaged and with a too large body is refused by name [ANA-83]", () => {
    expect(() => register(booker, undefined)).toThrow(expect.objectContaining({ code: "CAUSEWAY_RECORD_MALFORMED" }));
    const damaged = { ...recordOf(booker, 1n), body: new Uint8Array([1, 2, 3]) };
    expect(() => register(booker, damaged as wire.SignedRecord)).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_MALFORMED" }),
    );
    const large = { ...recordOf(booker, 1n), body: new Uint8Array(20_000) };
    expect(() => register(booker, large as wire.SignedRecord)).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_TOO_LARGE" }),
    );
    expect(known(booker)).toBe(false);
  });

  test("a record whose signature does not fit its body is refused [ANA-82]", () => {
    const signed = recordOf(booker, 1n);
    const other = recordOf(booker, 1n, "other");
    expect(() => register(booker, { ...signed, body: other.body } as wire.SignedRecord)).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_IDENTITY_SIGNATURE_INVALID" }),
    );
  });
});

describe("deregistration", () => {
  const deregister = (identity: TestIdentity, resourceId: string) =>
    registry.deregister(callerOf(identity), create(ars.DeregisterRequestSchema, { resourceId }));

  test("needs the own resource ID; a wrong one and another agent are refused [ANA-89]", () => {
    const { resourceId } = register(booker, recordOf(booker, 1n));
    expect(() => deregister(booker, "rid-wrong")).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_RECORD_NOT_FOUND" }),
    );
    expect(() => deregister(thief, resourceId)).toThrow(expect.objectContaining({ code: "CAUSEWAY_RECORD_NOT_FOUND" }));
    expect(known(booker)).toBe(true);
    deregister(booker, resourceId);
    expect(known(booker)).toBe(false);
  });

  test("keeps the profile in the store for audit, and replication does not bring it back [ANA-90, ANA-19]", async () => {
    const { resourceId } = register(booker, recordOf(booker, 1n));
    deregister(booker, resourceId);
    expect(store.get(booker.spiffeId)?.deregisteredAt).toBe(testNow);
    registry.follow(booker.spiffeId, followed(recordOf(booker, 1n)));
    expect(known(booker)).toBe(false);
    registry = open();
    expect(known(booker)).toBe(false);
  });

  test("a later registration is another one, with another handle [ANA-16]", () => {
    const first = register(booker, recordOf(booker, 1n));
    deregister(booker, first.resourceId);
    expect(register(booker, recordOf(booker, 2n)).resourceId).not.toBe(first.resourceId);
  });
});

function followed(signed: wire.SignedRecord) {
  const signedOrigin = signOrigin(gateway.signer("record"), {
    agentId: foreign.spiffeId,
    origin: parseStoredOriginUri(),
    version: { epoch: 1n, sequence: 1n },
    status: "online",
    bodyDigest: new Uint8Array(32),
    at: asUnixMs(testNow),
    withdrawn: false,
    attachmentSequence: 1n,
  });
  expect(parseStoredOrigin(toBinary(wire.SignedOriginSchema, signedOrigin)).statement.status).toBe("online");
  return {
    ...parseStoredRecord(toBinary(wire.SignedRecordSchema, signed)),
    signedRecord: signed,
    signedOrigin,
    status: "online" as const,
    applicable: true,
    gatewayUri: parseStoredOriginUri(),
    path: ["https://gw2.blue.example/amsp", "https://gw2.green.example/amsp", "https://gw3.green.example/amsp"],
    freshUnixMs: testNow,
  };
}

const parseStoredOriginUri = () => "https://gw1.green.example/amsp" as Parameters<typeof signOrigin>[1]["origin"];

describe("records of other domains", () => {
  const askedBy = (caller: VerifiedPeer) =>
    registry.discover(caller, create(ars.DiscoverRequestSchema, { text: "book hotel", domains: [green.domain] }));
  const namedTo = (caller: VerifiedPeer) =>
    registry.getRecord(caller, create(ars.GetRecordRequestSchema, { agentId: foreign.spiffeId }));

  test("are found with their freshness, and go when they are withdrawn [ANA-7, BEY-10]", async () => {
    registry.follow(foreign.spiffeId, followed(recordOf(foreign, 1n)));
    const [match] = await listed({ text: "book hotel" });
    expect(match).toMatchObject({ agentId: foreign.spiffeId, local: false, freshUnixMs: BigInt(testNow) });
    registry.follow(foreign.spiffeId, undefined);
    expect(await listed({ text: "book hotel" })).toEqual([]);
  });

  test("an agent is told its own gateway, and nothing else of the way there [AAP-4] [AAP-24]", async () => {
    registry.follow(foreign.spiffeId, followed(recordOf(foreign, 1n)));
    const answers = async () => [(await askedBy(callerOf(thief))).matches[0], namedTo(callerOf(thief)).match];
    for (const match of await answers()) {
      // Not attached: the gateway that the registry follows.
      expect(match).toMatchObject({ gatewayUri: "https://gw2.blue.example/amsp", path: [] });
      expect(match?.record).toEqual(recordOf(foreign, 1n));
    }
    registry.follow(thief.spiffeId, { ...followed(recordOf(thief, 1n)), gatewayUri: "https://gw1.blue.example/amsp" });
    for (const match of await answers()) expect(match?.gatewayUri).toBe("https://gw1.blue.example/amsp");
    const received = [
      toBinary(ars.DiscoverResponseSchema, await askedBy(callerOf(thief))),
      toBinary(ars.GetRecordResponseSchema, namedTo(callerOf(thief))),
    ];
    for (const bytes of received) expect(Buffer.from(bytes).toString("latin1")).not.toMatch(/gw\d\.green/);
  });

  test("by policy an agent is told the border gateway of the other domain, and no other one of it [ANA-94] [AAP-4]", async () => {
    registry = new Registry(
      { domain: blue.domain, remoteGateway: "border" },
      { store, trust, crypto: testCrypto, scheduler, log: silentLog, signer: () => registryIdentity.signer("record") },
    );
    registry.follow(foreign.spiffeId, followed(recordOf(foreign, 1n)));
    const { match } = namedTo(callerOf(thief));
    expect(match).toMatchObject({ gatewayUri: "https://gw2.green.example/amsp", path: [] });
    expect(match?.origin).toBeUndefined();
    // None of the way is named under the other domain: which one is its border cannot be told.
    registry.follow(foreign.spiffeId, {
      ...followed(recordOf(foreign, 1n)),
      path: ["https://gw2.blue.example/amsp", "https://edge.evilgreen.example/amsp", "amsp://192.0.2.7:7400"],
    });
    expect(namedTo(callerOf(thief)).match?.gatewayUri).toBe("https://gw2.blue.example/amsp");
  });

  test("operators and gateways see origin and PATH, and the origin verifies", async () => {
    const expected = followed(recordOf(foreign, 1n));
    registry.follow(foreign.spiffeId, expected);
    const operator = blue.identity("operator", { role: "operator" });
    const own = blue.identity("gateway/gw1", { role: "gateway" });
    for (const caller of [callerOf(operator), callerOf(own)]) {
      const { match } = namedTo(caller);
      expect(match).toMatchObject({ gatewayUri: expected.gatewayUri, path: expected.path });
      const verifier = createRecordVerifier(trustedSignatures(trust, testCrypto));
      const { statement } = verifier.verifyOrigin(match?.origin ?? create(wire.SignedOriginSchema), asUnixMs(testNow));
      expect(statement.origin).toBe(expected.gatewayUri);
    }
  });

  test("of agents of the own domain everything is told", () => {
    const expected = followed(recordOf(booker, 1n));
    registry.follow(booker.spiffeId, expected);
    const { match } = registry.getRecord(
      callerOf(thief),
      create(ars.GetRecordRequestSchema, { agentId: booker.spiffeId }),
    );
    expect(match).toMatchObject({ gatewayUri: expected.gatewayUri, path: expected.path });
    expect(match?.origin).toEqual(expected.signedOrigin);
  });

  test("an agent that registered and never attached has no status: it is listed by name and not found by default [ANA-86]", async () => {
    register(booker, recordOf(booker, 1n));
    const found = await registry.discover(callerOf(thief), create(ars.DiscoverRequestSchema, { text: "book" }));
    expect(found.matches).toEqual([]);
    expect(known(booker)).toBe(true);
  });
});

describe("limits", () => {
  test("queries above the limit are refused with the time to wait, others are served, and time heals [ANA-47, ANA-48]", async () => {
    for (let i = 0; i < 3; i += 1) await listed();
    await expect(async () => listed()).rejects.toMatchObject({ code: "CAUSEWAY_LIMIT_RATE", retryAfterMs: 20_000 });
    await registry.discover(callerOf(booker), create(ars.DiscoverRequestSchema, {}));
    now += 20_000;
    expect(await listed()).toEqual([]);
  });

  test("a query that is too long or asks for too much is refused", () => {
    const ask = (query: object) => () => registry.discover(callerOf(booker), create(ars.DiscoverRequestSchema, query));
    expect(ask({ text: "x".repeat(1_025) })).toThrow(expect.objectContaining({ code: "CAUSEWAY_LIMIT_COUNT" }));
    const domains = Array.from({ length: 1_000 }, (_, i) => `d${i}.example`);
    expect(ask({ domains })).toThrow(expect.objectContaining({ code: "CAUSEWAY_LIMIT_COUNT" }));
    expect(ask({ limit: 101 })).toThrow(expect.objectContaining({ code: "CAUSEWAY_LIMIT_COUNT" }));
  });

  test("registrations above the limit are refused before anything is written, and time heals", () => {
    registry = new Registry(
      { domain: blue.domain, registrationsPerMinute: 2 },
      { store, trust, crypto: testCrypto, scheduler, log: silentLog, signer: () => registryIdentity.signer("record") },
    );
    let lines = 0;
    store.audit = () => void (lines += 1);
    const attempt = () => register(booker, recordOf(booker, 1n));
    attempt();
    attempt();
    expect(attempt).toThrow(expect.objectContaining({ code: "CAUSEWAY_LIMIT_RATE", retryAfterMs: 30_000 }));
    expect(() => registry.deregister(callerOf(booker), create(ars.DeregisterRequestSchema, {}))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_LIMIT_RATE" }),
    );
    expect(lines).toBe(2);
    now += 30_000;
    expect(attempt).not.toThrow();
  });

  test("a reason is kept up to a bound", () => {
    const outcomes: string[] = [];
    store.audit = ({ outcome }) => void outcomes.push(outcome);
    const { resourceId } = register(booker, recordOf(booker, 1n));
    const reason = "x".repeat(100_000);
    registry.deregister(callerOf(booker), create(ars.DeregisterRequestSchema, { resourceId, reason }));
    expect(outcomes.at(-1)?.length).toBeLessThanOrEqual(1_000);
  });

  test("a caller of another domain is refused [ANA-5]", () => {
    expect(() => registry.discover(callerOf(foreign), create(ars.DiscoverRequestSchema, {}))).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_IDENTITY_ROLE_WRONG" }),
    );
    expect(() =>
      registry.getRecord(
        callerOf(foreign),
        create(ars.GetRecordRequestSchema, { agentId: parseAgentId("blue.example/a/b") }),
      ),
    ).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_ROLE_WRONG" }));
  });
});
