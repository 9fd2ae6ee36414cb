import { certificateRequests, generatePurposeKeys, nodeCrypto } from "@causeway/adapter-keys";
import { asUnixMs, parseAgentId } from "@causeway/core-base";
import { labelled, signBytes, verifySignature } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { applicant, codeOf, enrolment, World } from "./testing/authority-world.ts";
import { isRevokedIn } from "./testing/openssl.ts";

const { RevocationReason } = aca;
const name = "spiffe://blue.example/travel/booker";

test("each reason is accepted from the agent itself and recorded with its code [ANA-74]", async () => {
  const reasons = [
    [RevocationReason.UNSPECIFIED, 0],
    [RevocationReason.KEY_COMPROMISE, 1],
    [RevocationReason.AFFILIATION_CHANGED, 3],
    [RevocationReason.SUPERSEDED, 4],
    [RevocationReason.CESSATION_OF_OPERATION, 5],
    [RevocationReason.CERTIFICATE_HOLD, 6],
    [RevocationReason.PRIVILEGE_WITHDRAWN, 9],
  ] as const;
  const world = await World.open();
  for (const [reason, code] of reasons) {
    const member = await world.enrol(`${name}-${code}`);
    expect(await member.client.revoke({ spiffeId: member.spiffeId, reason })).toMatchObject({ revoked: 3 });
    expect(world.store.certificates(member.spiffeId, 10).map((c) => c.revokedReason)).toEqual([code, code, code]);
    const status = await world.operator.client.certificateStatus({ serial: member.serial("tls") });
    expect(status).toMatchObject({ status: "revoked", reason, atUnixMs: BigInt(world.scheduler.now().unix) });
  }
  expect(await codeOf(world.operator.client.revoke({ spiffeId: name, reason: 99 as aca.RevocationReason }))).toBe(
    "CAUSEWAY_FRAME_MALFORMED",
  );
});

test("only the agent itself and operators of the domain may revoke [ANA-75]", async () => {
  const world = await World.open();
  const [member, other] = [await world.enrol(name), await world.enrol("spiffe://blue.example/travel/other")];
  const reason = RevocationReason.KEY_COMPROMISE;
  expect(await codeOf(other.client.revoke({ spiffeId: name, reason }))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(await codeOf(other.client.revoke({ serial: member.serial("tls"), reason }))).toBe(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
  );
  expect(await codeOf(other.client.revoke({ spiffeId: "spiffe://blue.example/no/such", reason }))).toBe(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
  );
  expect(await codeOf(other.client.revoke({ serial: new Uint8Array([1]), reason }))).toBe(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
  );
  expect(await codeOf(world.client(() => applicant(generatePurposeKeys())).revoke({ spiffeId: name, reason }))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
  );
  expect(() => world.peer(member.chain("tls"))).not.toThrow();
  expect(await world.operator.client.revoke({ spiffeId: name, reason })).toMatchObject({ revoked: 3 });
  expect(world.store.audit(1)[0]).toMatchObject({
    action: "certificate.revoked",
    actor: world.operator.spiffeId,
    subject: name,
  });
});

test("a revoked identity is refused for TLS, MLS and records as soon as the trust state arrives [AGP-33]", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const neighbour = await world.enrol("spiffe://blue.example/travel/other");
  const trust = world.trust();
  const now = world.scheduler.now().unix;
  const judged = (chain: readonly Uint8Array[], purpose: "tls" | "mls" | "record") => () =>
    trust.verifyChain(chain, { now, purpose });
  const peer = judged(member.chain("tls"), "tls")();
  world.authority.onTrust((state) => trust.replace(state));
  await world.operator.client.revoke({ spiffeId: name, reason: RevocationReason.KEY_COMPROMISE });
  for (const purpose of ["tls", "mls", "record"] as const) {
    expect(judged(member.chain(purpose), purpose)).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" }),
    );
    expect(judged(neighbour.chain(purpose), purpose)).not.toThrow();
  }
  expect(trust.isRevoked(peer)).toBe(true);
});

test("revoked certificates are on a CRL that OpenSSL accepts and finds them on [ANA-76]", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const good = await world.enrol("spiffe://blue.example/travel/other");
  await member.client.revoke({ spiffeId: name, reason: RevocationReason.KEY_COMPROMISE });
  const { crls } = await good.client.getCrl({});
  expect(crls).toHaveLength(2);
  const atUnixMs = world.scheduler.now().unix;
  expect(isRevokedIn({ root: world.authority.root, chain: member.chain("tls"), crls, atUnixMs })).toBe(true);
  expect(isRevokedIn({ root: world.authority.root, chain: good.chain("tls"), crls, atUnixMs })).toBe(false);
});

test("one certificate can be revoked by its serial number, the others stay good", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const revoked = await member.client.revoke({ serial: member.serial("record"), reason: RevocationReason.SUPERSEDED });
  expect(revoked).toMatchObject({ revoked: 1 });
  expect(await member.client.certificateStatus({ serial: member.serial("record") })).toMatchObject({
    status: "revoked",
  });
  expect(await member.client.certificateStatus({ serial: member.serial("tls") })).toMatchObject({ status: "good" });
  const operator = world.operator.client;
  expect(await codeOf(operator.revoke({ serial: new Uint8Array([1, 2]) }))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN",
  );
  expect(await codeOf(operator.revoke({ spiffeId: "spiffe://blue.example/no/such" }))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNKNOWN",
  );
  expect(await codeOf(operator.revoke({}))).toBe("CAUSEWAY_FRAME_MALFORMED");
  expect(await codeOf(operator.revoke({ spiffeId: name, serial: member.serial("tls") }))).toBe(
    "CAUSEWAY_FRAME_MALFORMED",
  );
});

test("a hold is taken back by an operator, a compromised key is not [ANA-70]", async () => {
  const world = await World.open();
  const operator = world.operator.client;
  const [held, compromised] = [await world.enrol(name), await world.enrol("spiffe://blue.example/travel/other")];
  await operator.revoke({ spiffeId: name, reason: RevocationReason.CERTIFICATE_HOLD });
  await operator.revoke({ spiffeId: compromised.spiffeId, reason: RevocationReason.KEY_COMPROMISE });
  const restore = RevocationReason.REMOVE_FROM_CRL;
  expect(await codeOf(held.client.revoke({ spiffeId: name, reason: restore }))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
  );
  expect(await codeOf(operator.revoke({ spiffeId: compromised.spiffeId, reason: restore }))).toBe(
    "CAUSEWAY_IDENTITY_REVOCATION_FINAL",
  );

  const trust = world.trust();
  world.authority.onTrust((state) => trust.replace(state));
  const judge = () => trust.verifyChain(held.chain("tls"), { now: world.scheduler.now().unix, purpose: "tls" });
  expect(judge).toThrow();
  world.scheduler.skip(1_000);
  expect(await operator.revoke({ spiffeId: name, reason: restore })).toMatchObject({ revoked: 3 });
  expect(judge).not.toThrow();
  expect(await held.client.certificateStatus({ serial: held.serial("tls") })).toMatchObject({ status: "good" });
});

test("a hold may become final, and what is final stays as it is", async () => {
  const world = await World.open();
  const operator = world.operator.client;
  const member = await world.enrol(name);
  await operator.revoke({ spiffeId: name, reason: RevocationReason.CERTIFICATE_HOLD });
  expect(await operator.revoke({ spiffeId: name, reason: RevocationReason.CESSATION_OF_OPERATION })).toMatchObject({
    revoked: 3,
  });
  expect(await operator.revoke({ spiffeId: name, reason: RevocationReason.CESSATION_OF_OPERATION })).toMatchObject({
    revoked: 0,
  });
  expect(await codeOf(operator.revoke({ spiffeId: name, reason: RevocationReason.CERTIFICATE_HOLD }))).toBe(
    "CAUSEWAY_IDENTITY_REVOCATION_FINAL",
  );
  expect(await operator.certificateStatus({ serial: member.serial("tls") })).toMatchObject({
    reason: RevocationReason.CESSATION_OF_OPERATION,
  });
});

test("the status of a certificate can be asked for at any time [ANA-69]", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const { client } = member;
  expect(await client.certificateStatus({ serial: member.serial("mls") })).toMatchObject({ status: "good" });
  expect(await client.certificateStatus({ serial: new Uint8Array([7]) })).toMatchObject({ status: "unknown" });
  world.scheduler.skip(86_401_000);
  expect(await codeOf(client.certificateStatus({ serial: member.serial("mls") }))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
  );
  const renewed = await world.enrol(name);
  expect(await renewed.client.certificateStatus({ serial: member.serial("mls") })).toMatchObject({ status: "expired" });
  await renewed.client.revoke({ serial: member.serial("mls"), reason: RevocationReason.SUPERSEDED });
  expect(await renewed.client.certificateStatus({ serial: member.serial("mls") })).toMatchObject({
    status: "revoked",
    reason: RevocationReason.SUPERSEDED,
  });
});

test("renewal needs no material and gives the same identity and attributes for a new validity [ANA-72]", async () => {
  const world = await World.open();
  const gateway = { gatewayUri: "https://gw1.blue.example/amsp", level: 1, namespaces: ["travel"] };
  const member = await world.enrol("spiffe://blue.example/gateway/gw1", {
    role: "gateway",
    gateway,
    hosts: ["gw1.blue.example"],
  });
  world.scheduler.skip(50_000_000);
  const keys = generatePurposeKeys("gateway");
  const { certificates } = await member.client.renew({ requests: certificateRequests(member.spiffeId, keys) });
  const renewed = world.member(member.spiffeId, keys, certificates ?? member.certificates);
  const [before, after] = [world.peer(member.chain("tls")), world.peer(renewed.chain("tls"))];
  expect(after).toMatchObject({ spiffeId: before.spiffeId, role: "gateway", gateway: before.gateway });
  expect(after.notAfter - before.notAfter).toBe(50_000_000);
});

test("renewal cannot change the name or gain attributes", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const other = certificateRequests(parseAgentId("spiffe://blue.example/travel/other"), generatePurposeKeys());
  expect(await codeOf(member.client.renew({ requests: other }))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  expect(await codeOf(member.client.renew({}))).toBe("CAUSEWAY_IDENTITY_CSR_INVALID");
});

test("keys are rotated while the old certificate is still good, and the old one ends with its validity [AGP-34]", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  world.scheduler.skip(57_600_000);
  const keys = generatePurposeKeys();
  const { certificates } = await member.client.renew({ requests: certificateRequests(member.spiffeId, keys) });
  const renewed = world.member(member.spiffeId, keys, certificates ?? member.certificates);
  const trust = world.trust();
  const judged = (m: typeof member, now: number) => () =>
    trust.verifyChain(m.chain("tls"), { now: (world.scheduler.now().unix + now) as never, purpose: "tls" });
  expect(judged(member, 0)).not.toThrow();
  expect(judged(renewed, 0)).not.toThrow();
  expect(judged(member, 28_801_000)).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED" }),
  );
  expect(judged(renewed, 28_801_000)).not.toThrow();
});

test("a revoked or held certificate is not renewed, and a compromised key is not certified again", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const requests = certificateRequests(member.spiffeId, member.keys);
  await world.operator.client.revoke({ spiffeId: name, reason: RevocationReason.CERTIFICATE_HOLD });
  expect(await codeOf(member.client.renew({ requests }))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  await world.operator.client.revoke({ spiffeId: name, reason: RevocationReason.KEY_COMPROMISE });
  expect(await codeOf(member.client.renew({ requests }))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  expect(await codeOf(world.enrol(name, { keys: member.keys }))).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
  expect((await world.enrol(name)).spiffeId).toBe(name);
});

test("an identity that lapsed comes back by proof of its newest key, unless it was revoked or is too old", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const attempt = (keys = member.keys) => world.client(() => applicant(keys)).enrol(enrolment(name, keys));
  expect(await codeOf(attempt())).toBe("CAUSEWAY_IDENTITY_MATERIAL_MISSING");
  world.scheduler.skip(86_401_000);
  expect(await codeOf(attempt(generatePurposeKeys()))).toBe("CAUSEWAY_IDENTITY_MATERIAL_MISSING");
  const { certificates } = await attempt();
  expect(world.peer(certificates?.certificates[0]?.chain ?? []).spiffeId).toBe(name);
  world.scheduler.skip(86_401_000);
  const later = await world.restart({ lapsedMs: 3_600_000 });
  expect(later.peer((await attempt()).certificates?.certificates[0]?.chain ?? []).spiffeId).toBe(name);
  world.scheduler.skip(86_401_000);
  const restarted = await world.restart({ lapsedMs: 3_600_000 });
  await restarted.operator.client.revoke({ spiffeId: name, reason: RevocationReason.CESSATION_OF_OPERATION });
  expect(await codeOf(attempt())).toBe("CAUSEWAY_IDENTITY_MATERIAL_MISSING");
  const old = await restarted.enrol("spiffe://blue.example/travel/old");
  world.scheduler.skip(86_400_000 + 3_600_001);
  const again = restarted.client(() => applicant(old.keys)).enrol(enrolment(old.spiffeId, old.keys));
  expect(await codeOf(again)).toBe("CAUSEWAY_IDENTITY_MATERIAL_MISSING");
});

test("agents list their own certificates, operators all", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const { certificates } = await member.client.listCertificates({ spiffeId: name });
  expect(certificates.map((c) => [c.purpose, c.status])).toEqual([
    [aca.KeyPurpose.RECORD, "good"],
    [aca.KeyPurpose.MLS, "good"],
    [aca.KeyPurpose.TLS, "good"],
  ]);
  expect(await codeOf(member.client.listCertificates({}))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect((await world.operator.client.listCertificates({})).certificates).toHaveLength(4);
});

test("a signature by a revoked record key is refused also after its certificate has expired [ANA-76]", async () => {
  const world = await World.open();
  const { scheduler } = world;
  const member = await world.enrol(name);
  const message = labelled("record", new TextEncoder().encode("a record"));
  const { record } = member.keys;
  if (!record) throw new Error("an agent signs records");
  const sign = (bytes: Uint8Array) => record.sign(bytes);
  const signature = signBytes({ chain: member.chain("record"), spki: record.spki, sign }, message);
  const signedAt = asUnixMs(scheduler.now().unix);
  const judge = () =>
    verifySignature(world.trust(), nodeCrypto, signature, message, {
      now: scheduler.now().unix,
      signedAt,
      purpose: "record",
    });
  expect(judge).not.toThrow();
  await world.operator.client.revoke({ spiffeId: name, reason: RevocationReason.KEY_COMPROMISE });
  const revoked = expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" });
  expect(judge).toThrow(revoked);
  world.authority.start();
  await scheduler.advance(40 * 86_400_000);
  expect(judge).toThrow(revoked);
  await world.authority.stop();
});

test("renewals of one identity are bounded, and end with the validity of the certificates", async () => {
  const world = await World.open({ config: { certificatesPerIdentityMax: 3 } });
  const member = await world.enrol(name);
  const renew = () => member.client.renew({ requests: certificateRequests(member.spiffeId, generatePurposeKeys()) });
  await renew();
  await renew();
  expect(await codeOf(renew())).toBe("CAUSEWAY_LIMIT_RATE");
  expect(world.store.certificates(name, 100)).toHaveLength(9);
  expect((await world.enrol("spiffe://blue.example/travel/other")).spiffeId).toContain("other");
});
