import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { certificateRequests, generateKeyPair, generatePurposeKeys, KeyPair, nodeCrypto } from "@causeway/adapter-keys";
import { openAuthorityStore } from "@causeway/adapter-sqlite";
import { parseAgentId } from "@causeway/core-base";
import { createCsr, encodeJoinToken } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { applicant, codeOf, enrolment, material, World } from "./testing/authority-world.ts";

const name = "spiffe://blue.example/travel/booker";

test("issues three certificates with identity, key, validity and signature that OpenSSL reads [ANA-67]", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const root = new X509Certificate(world.authority.root);
  for (const purpose of ["tls", "mls", "record"] as const) {
    const [leaf, issuing] = member.chain(purpose).map((der) => new X509Certificate(der));
    expect(leaf?.subjectAltName).toBe(`URI:${name}`);
    expect(leaf?.publicKey.export({ format: "der", type: "spki" })).toEqual(
      Buffer.from(member.keys[purpose]?.spki ?? []),
    );
    expect(leaf?.validToDate.getTime()).toBe(world.scheduler.now().unix + 86_400_000);
    expect(leaf?.validFromDate.getTime()).toBe(world.scheduler.now().unix - 60_000);
    expect(issuing && leaf?.verify(issuing.publicKey)).toBe(true);
    expect(issuing?.verify(root.publicKey)).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
  }
});

test("keeps one key for each purpose, and certifies the key that MLS signs with [AGP-30]", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const peer = world.peer(member.chain("mls"), "mls");
  expect(peer.spiffeId).toBe(name);
  const message = new TextEncoder().encode("key package");
  expect(nodeCrypto.verify(peer.spki, message, member.keys.mls?.sign(message) ?? message)).toBe(true);
  expect(() => world.peer(member.chain("mls"), "tls")).toThrow();

  const shared = { ...generatePurposeKeys(), mls: generateKeyPair("ed25519") };
  const token = await world.token({ spiffeId: name });
  const same = enrolment(name, { ...shared, record: shared.mls }, { token });
  expect(await codeOf(world.client(() => applicant(shared)).enrol(same))).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
});

test("enrols agents of its own domain and nobody else [ANA-4]", async () => {
  const world = await World.open();
  await world.enrol(name);
  expect(await codeOf(world.token({ spiffeId: "spiffe://green.example/travel/booker" }))).toBe(
    "CAUSEWAY_IDENTITY_DOMAIN_FOREIGN",
  );
  const keys = generatePurposeKeys();
  const foreign = enrolment("spiffe://green.example/travel/booker", keys, { material });
  expect(await codeOf(world.client(() => applicant(keys)).enrol(foreign))).toBe("CAUSEWAY_IDENTITY_DOMAIN_FOREIGN");
  const token = await world.token({ spiffeId: name });
  expect(await codeOf(world.client(() => applicant(keys)).enrol({ ...foreign, token }))).toBe(
    "CAUSEWAY_IDENTITY_TOKEN_INVALID",
  );
});

test("a token enrols once, also when several try at the same time", async () => {
  const world = await World.open();
  const token = await world.token({ spiffeId: name });
  const tries = Array.from({ length: 8 }, () => {
    const keys = generatePurposeKeys();
    return world.client(() => applicant(keys)).enrol(enrolment(name, keys, { token }));
  });
  const results = await Promise.allSettled(tries);
  expect(results.filter((r) => r.status === "fulfilled")).toHaveLength(1);
  for (const result of results) {
    if (result.status === "rejected")
      expect(await codeOf(Promise.reject(result.reason))).toBe("CAUSEWAY_IDENTITY_TOKEN_INVALID");
  }
});

test("the same applicant gets the same certificates again when the answer was lost", async () => {
  const world = await World.open();
  const token = await world.token({ spiffeId: name });
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const first = await client.enrol(enrolment(name, keys, { token }));
  const second = await client.enrol(enrolment(name, keys, { token }));
  expect(second.certificates?.certificates).toEqual(first.certificates?.certificates);
  const fewer = enrolment(name, keys, { token });
  expect(await codeOf(client.enrol({ ...fewer, requests: fewer.requests.slice(0, 1) }))).toBe(
    "CAUSEWAY_IDENTITY_TOKEN_INVALID",
  );
});

test("a token that is unknown, expired or for another name is refused with one and the same text", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const attempt = (token: string) => codeOf(client.enrol(enrolment(name, keys, { token })));
  const other = await world.token({ spiffeId: "spiffe://blue.example/travel/other" });
  const expired = await world.token({ spiffeId: name, lifetimeMs: 1_000n });
  world.scheduler.skip(1_000);
  for (const token of ["x".repeat(43), other, expired, "cwj1.broken"]) {
    expect(await attempt(token)).toBe("CAUSEWAY_IDENTITY_TOKEN_INVALID");
  }
});

test("a whole join token works as well as its secret, and only a hash of it is stored", async () => {
  const world = await World.open();
  const { token, expiresUnixMs } = await world.operator.client.createToken({ spiffeId: name });
  expect(Number(expiresUnixMs)).toBe(world.scheduler.now().unix + 3_600_000);
  const keys = generatePurposeKeys();
  const { certificates } = await world.client(() => applicant(keys)).enrol(enrolment(name, keys, { token }));
  expect(certificates?.certificates).toHaveLength(3);
  const secret = JSON.parse(Buffer.from(token.slice(5), "base64url").toString()).s as string;
  expect(world.store.token(secret)).toBeUndefined();
  expect(world.store.token(Buffer.from(nodeCrypto.sha256(Buffer.from(secret))).toString("hex"))?.usedUnixMs).toBe(
    world.scheduler.now().unix,
  );
  expect(
    encodeJoinToken({ url: "https://127.0.0.1:4400", rootFingerprint: world.authority.rootFingerprint, secret }),
  ).toBe(token);
});

test("a prefix token makes new names under the prefix and takes none over", async () => {
  const world = await World.open();
  await world.enrol(name);
  const attempt = async (spiffeId: string) => {
    const token = await world.token({ spiffeId: "spiffe://blue.example/travel/" });
    const keys = generatePurposeKeys();
    return world.client(() => applicant(keys)).enrol(enrolment(spiffeId, keys, { token }));
  };
  expect((await attempt("spiffe://blue.example/travel/new")).certificates?.certificates).toHaveLength(3);
  expect(await codeOf(attempt("spiffe://blue.example/travels/new"))).toBe("CAUSEWAY_IDENTITY_TOKEN_INVALID");
  expect(await codeOf(attempt("spiffe://blue.example/travel"))).toBe("CAUSEWAY_IDENTITY_TOKEN_INVALID");
  expect(await codeOf(attempt(name))).toBe("CAUSEWAY_IDENTITY_NAME_TAKEN");
});

test("a refused enrolment does not use up its token", async () => {
  const world = await World.open();
  await world.enrol("spiffe://blue.example/travel/taken");
  const token = await world.token({ spiffeId: "spiffe://blue.example/travel/" });
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  expect(await codeOf(client.enrol(enrolment("spiffe://blue.example/travel/taken", keys, { token })))).toBe(
    "CAUSEWAY_IDENTITY_NAME_TAKEN",
  );
  expect(
    (await client.enrol(enrolment("spiffe://blue.example/travel/free", keys, { token }))).certificates,
  ).toBeDefined();
});

test("role, hosts and gateway attributes come from the token and from nowhere else", async () => {
  const world = await World.open();
  const gateway = { gatewayUri: "https://gw1.blue.example/amsp", level: 2, namespaces: ["travel"] };
  const member = await world.enrol("spiffe://blue.example/gateway/gw1", {
    role: "gateway",
    gateway,
    hosts: ["gw1.blue.example", "127.0.0.1"],
  });
  expect(world.peer(member.chain("tls"))).toMatchObject({
    role: "gateway",
    gateway: { uri: gateway.gatewayUri, level: 2, namespaces: ["travel"] },
  });
  expect(new X509Certificate(member.chain("tls")[0] ?? new Uint8Array()).subjectAltName).toContain(
    "IP Address:127.0.0.1",
  );
  expect(world.peer((await world.enrol(name)).chain("tls")).role).toBe("agent");

  const refused = (request: Parameters<World["token"]>[0]) => codeOf(world.token(request));
  expect(await refused({ spiffeId: name, role: "gateway" })).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(await refused({ spiffeId: name, gateway })).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(await refused({ spiffeId: name, hosts: ["gw1.blue.example"] })).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(await refused({ spiffeId: name, role: "authority" })).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(await refused({ spiffeId: name, role: "gateway", gateway: { ...gateway, level: 3 } })).toBe(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
  );
  expect(await codeOf(world.enrol("spiffe://blue.example/gateway/gw2"))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
});

test("certificates for MLS are for agents: a request of any other role is refused, by every way [AAP-98] [AAP-80]", async () => {
  const world = await World.open();
  const gateway = { gatewayUri: "https://gw1.blue.example/amsp", level: 1, namespaces: [] };
  const grants = [
    { spiffeId: "spiffe://blue.example/gateway/gw1", role: "gateway", gateway },
    // A name that is not reserved makes no difference: the role is what the token says.
    { spiffeId: "spiffe://blue.example/travel/edge", role: "gateway", gateway },
    { spiffeId: "spiffe://blue.example/registry", role: "registry" },
    { spiffeId: "spiffe://blue.example/operator/second", role: "operator" },
    { spiffeId: "spiffe://blue.example/monitor/prometheus", role: "monitor" },
  ] as const;
  for (const grant of grants) {
    const { spiffeId, role } = grant;
    const token = await world.token(grant);
    const keys = generatePurposeKeys();
    const client = world.client(() => applicant(keys));
    const asked = client.enrol(enrolment(spiffeId, keys, { token }));
    expect(await codeOf(asked)).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
    await expect(asked).rejects.toThrow(`whose role is ${role}, got one for mls`);
    expect(world.store.certificates(spiffeId, 10)).toEqual([]);

    // The token is still good for what the role has.
    const { tls, record } = keys;
    const own = role === "operator" || role === "monitor" ? { tls } : { tls, record };
    const { certificates } = await client.enrol(enrolment(spiffeId, own, { token }));
    if (!certificates) throw new Error("no certificates");
    const member = world.member(parseAgentId(spiffeId), own, certificates);
    expect(world.store.certificates(spiffeId, 10).map((c) => c.purpose)).not.toContain("mls");
    const renewal = member.client.renew({ requests: certificateRequests(member.spiffeId, keys) });
    expect(await codeOf(renewal)).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
    expect(
      (await member.client.renew({ requests: certificateRequests(member.spiffeId, own) })).certificates,
    ).toBeDefined();
  }
  for (const role of ["authority", "operator", "registry"] as const) {
    const spiffeId = parseAgentId(`spiffe://blue.example/${role}`);
    const requests = certificateRequests(spiffeId, generatePurposeKeys());
    expect(() => world.authority.issueOwn({ spiffeId, role, requests })).toThrow("got one for mls");
  }
  expect((await world.enrol(name)).chain("mls")).not.toEqual([]);
});

test("a monitor is no server, is named as one, and none of an operator's calls is its own", async () => {
  const world = await World.open();
  const spiffeId = "spiffe://blue.example/monitor/prometheus";
  const ask = (more: object) => codeOf(world.operator.client.createToken({ spiffeId, role: "monitor", ...more }));
  expect(await ask({ hosts: ["blue.example"] })).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(await codeOf(world.enrol(spiffeId))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  const { client } = await world.enrol(spiffeId, { role: "monitor" });
  const refused = [
    client.createToken({ spiffeId: name }),
    client.listApplications({}),
    client.decideApplication({ applicationId: "x", approve: true }),
    client.listCertificates({}),
    client.revoke({ spiffeId: name }),
    client.addTrust({}),
    client.removeTrust({ domain: "green.example" }),
  ];
  for (const call of refused) expect(await codeOf(call)).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
});

test("hosts in a request that were not granted are refused", async () => {
  const world = await World.open();
  const spiffeId = parseAgentId("spiffe://blue.example/registry");
  const token = await world.token({ spiffeId, role: "registry", hosts: ["ars.blue.example"] });
  const keys = generatePurposeKeys("registry");
  const requests = certificateRequests(spiffeId, keys);
  const withHost = (host: string) => [
    create(aca.CertificateRequestSchema, {
      purpose: aca.KeyPurpose.TLS,
      csr: createCsr(keys.tls, { spiffeId, hosts: [host] }),
    }),
    ...requests.slice(1),
  ];
  const client = world.client(() => applicant(keys));
  expect(await codeOf(client.enrol({ spiffeId, token, requests: withHost("gw1.blue.example") }))).toBe(
    "CAUSEWAY_IDENTITY_MISMATCH",
  );
  expect((await client.enrol({ spiffeId, token, requests: withHost("ars.blue.example") })).certificates).toBeDefined();
});

test("refuses an application whose key the applicant does not hold [ANA-61]", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const request = enrolment(name, keys, { material });
  const broken = request.requests.map((r) => ({ ...r, csr: flipLast(r.csr) }));
  expect(await codeOf(client.enrol({ ...request, requests: broken }))).toBe("CAUSEWAY_IDENTITY_CSR_INVALID");
  // A valid request of somebody else, replayed over another connection.
  const thief = generatePurposeKeys();
  expect(await codeOf(world.client(() => applicant(thief)).enrol(request))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
});

test("every request has to name the same identity, and there is one for each purpose", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const request = enrolment(name, keys, { material });
  const other = enrolment("spiffe://blue.example/travel/other", keys);
  const mixed = [...request.requests.slice(0, 2), ...other.requests.slice(2)];
  expect(await codeOf(client.enrol({ ...request, requests: mixed }))).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  const twice = [...request.requests.slice(0, 1), ...request.requests.slice(0, 1)];
  expect(await codeOf(client.enrol({ ...request, requests: twice }))).toBe("CAUSEWAY_IDENTITY_CSR_INVALID");
  expect(await codeOf(client.enrol({ ...request, requests: request.requests.slice(1) }))).toBe(
    "CAUSEWAY_IDENTITY_CSR_INVALID",
  );
  expect(await codeOf(client.enrol({ ...request, spiffeId: "not a name" }))).toBe("CAUSEWAY_NAME_INVALID");
});

test("accepts P-256 and Ed25519 for their purposes and refuses other and known-weak keys [ANA-65]", async () => {
  const world = await World.open();
  const spiffeId = parseAgentId(name);
  const token = await world.token({ spiffeId });
  const attempt = (tls: { spki: Uint8Array; sign(message: Uint8Array): Uint8Array }) => {
    const request = create(aca.CertificateRequestSchema, {
      purpose: aca.KeyPurpose.TLS,
      csr: createCsr(tls, { spiffeId }),
    });
    return world.client(() => ({ applicant: true, spki: tls.spki })).enrol({ spiffeId, token, requests: [request] });
  };
  const p256 = generateKeyPair("p256");
  const foreignKey = (spki: Uint8Array) => ({ spki, sign: (message: Uint8Array) => p256.sign(message) });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "der", type: "spki" });
  const p384 = generateKeyPairSync("ec", { namedCurve: "secp384r1" }).publicKey.export({ format: "der", type: "spki" });
  // Private key 1: the public key is the base point of the curve.
  const base = Buffer.from(
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    "hex",
  );
  const weak = Buffer.concat([p256.spki.subarray(0, 27), base]);
  for (const spki of [rsa, p384, weak]) {
    expect(await refusalOf(() => attempt(foreignKey(new Uint8Array(spki))))).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
  }
  expect(await codeOf(attempt(generateKeyPair("ed25519")))).toBe("CAUSEWAY_IDENTITY_KEY_REFUSED");
  expect((await attempt(p256)).certificates?.certificates).toHaveLength(1);
  expect(new KeyPair(generateKeyPairSync("ed25519").privateKey).type).toBe("ed25519");
  await world.enrol("spiffe://blue.example/travel/ed25519-for-mls-and-record");
});

test("an application without material is refused with a list of what is missing [ANA-57] [ANA-59]", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const attempt = (given: Partial<typeof material>) => client.enrol(enrolment(name, keys, { material: given }));
  await expect(attempt({})).rejects.toThrow("missing: organisation, developer, function_type, scopes");
  await expect(attempt({ ...material, developer: " " })).rejects.toThrow("missing: developer");
  expect(await codeOf(attempt({}))).toBe("CAUSEWAY_IDENTITY_MATERIAL_MISSING");
  expect(await codeOf(attempt({ ...material, organisation: "x".repeat(2_000) }))).toBe("CAUSEWAY_LIMIT_COUNT");
  expect((await attempt(material)).applicationId).not.toBe("");
});

test("an operator decides on an application, and its material and checks are kept [ANA-58] [ANA-63]", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const { applicationId, certificates } = await client.enrol(enrolment(name, keys, { material }));
  expect(certificates).toBeUndefined();
  expect(await client.pollEnrolment({ applicationId })).toMatchObject({ state: "in review" });
  const { applications } = await world.operator.client.listApplications({ state: "in review" });
  expect(applications).toMatchObject([{ id: applicationId, spiffeId: name, material }]);

  await world.operator.client.decideApplication({ applicationId, approve: true, reason: "known" });
  const answer = await client.pollEnrolment({ applicationId });
  expect(answer.state).toBe("issued");
  expect(world.peer(answer.certificates?.certificates[0]?.chain ?? []).role).toBe("agent");
  const stored = world.store.application(applicationId);
  expect(stored?.decidedBy).toBe("spiffe://blue.example/operator/admin");
  expect(stored?.checks.map((line) => line.split(" at ")[0])).toEqual([
    "organisation passed by spiffe://blue.example/operator/admin",
    "key passed by authority",
    "scope passed by spiffe://blue.example/operator/admin",
  ]);
  const actions = world.store.audit(10).map((entry) => entry.action);
  expect(actions).toContain("application.received");
  expect(actions).toContain("application.approved");
  expect(world.store.audit(10).find((entry) => entry.action === "application.received")?.facts).toContain(
    "Blue Travel Ltd, register 4711",
  );
});

test("an application is seen by the key that made it, decided once and may be rejected", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const request = enrolment(name, keys, { material });
  const { applicationId } = await client.enrol(request);
  expect((await client.enrol(request)).applicationId).toBe(applicationId);
  const stranger = world.client(() => applicant(generatePurposeKeys()));
  expect(await codeOf(stranger.pollEnrolment({ applicationId }))).toBe("CAUSEWAY_IDENTITY_APPLICATION_UNKNOWN");
  await world.operator.client.decideApplication({ applicationId, approve: false, reason: "unknown developer" });
  expect(await client.pollEnrolment({ applicationId })).toMatchObject({
    state: "rejected",
    reason: "unknown developer",
  });
  const again = world.operator.client.decideApplication({ applicationId, approve: true });
  expect(await codeOf(again)).toBe("CAUSEWAY_IDENTITY_APPLICATION_DECIDED");
  expect(await codeOf(world.operator.client.decideApplication({ applicationId: "none", approve: true }))).toBe(
    "CAUSEWAY_IDENTITY_APPLICATION_UNKNOWN",
  );
});

test("an application whose certificates are expired or revoked is decided anew", async () => {
  const world = await World.open({ config: { lapsedMs: 0 } });
  const keys = generatePurposeKeys();
  const client = world.client(() => applicant(keys));
  const apply = () => client.enrol(enrolment(name, keys, { material }));
  const approve = (applicationId: string) => world.operator.client.decideApplication({ applicationId, approve: true });
  const { applicationId } = await apply();
  await approve(applicationId);
  expect((await apply()).certificates?.certificates).toHaveLength(3);
  world.scheduler.skip(86_401_000);
  expect(await apply()).toMatchObject({ applicationId });
  expect(await client.pollEnrolment({ applicationId })).toMatchObject({ state: "in review" });
  await approve(applicationId);
  const { certificates } = await client.pollEnrolment({ applicationId });
  expect(() => world.peer(certificates?.certificates[0]?.chain ?? [])).not.toThrow();
  await world.operator.client.revoke({ spiffeId: name });
  expect((await apply()).certificates).toBeUndefined();
});

test("waiting applications are bounded and reserved names are not put before an operator", async () => {
  const world = await World.open({ config: { applicationsMax: 1 } });
  const apply = (spiffeId: string) => {
    const keys = generatePurposeKeys();
    return world.client(() => applicant(keys)).enrol(enrolment(spiffeId, keys, { material }));
  };
  expect(await codeOf(apply("spiffe://blue.example/operator/mallory"))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  await apply(name);
  expect(await codeOf(apply("spiffe://blue.example/travel/second"))).toBe("CAUSEWAY_LIMIT_COUNT");
});

test("an application that nobody decides on makes room when its time is over, long before new CRLs are due", async () => {
  const world = await World.open({ config: { applicationsMax: 1, applicationLifetimeMs: 600_000 } });
  const keys = generatePurposeKeys();
  const apply = () => world.client(() => applicant(keys)).enrol(enrolment(name, keys, { material }));
  const { applicationId } = await apply();
  world.authority.start();
  await world.scheduler.advance(600_000);
  expect(world.store.application(applicationId)).toBeDefined();
  await world.scheduler.advance(60_000);
  expect(world.store.application(applicationId)).toBeUndefined();
  expect((await apply()).applicationId).not.toBe("");
  // The root's key made the first lists and no others.
  expect(world.rootUses.count).toBe(1);
  await world.authority.stop();
});

test("an applicant and an agent may not do what operators do", async () => {
  const world = await World.open();
  const keys = generatePurposeKeys();
  const stranger = world.client(() => applicant(keys));
  const { client } = await world.enrol(name);
  const operatorCalls = (c: typeof client) => [
    c.createToken({ spiffeId: name }),
    c.listApplications({}),
    c.decideApplication({ applicationId: "x", approve: true }),
    c.addTrust({}),
    c.removeTrust({ domain: "green.example" }),
  ];
  for (const call of operatorCalls(client)) expect(await codeOf(call)).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  const memberCalls = (c: typeof client) => [
    c.renew({}),
    c.revoke({ spiffeId: name }),
    c.certificateStatus({}),
    c.getTrust({}),
    c.listCertificates({}),
  ];
  for (const call of [...operatorCalls(stranger), ...memberCalls(stranger)]) {
    expect(await codeOf(call)).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED");
  }
});

function flipLast(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}

/** The code of a refusal by the authority, or by our own CSR writer, which refuses such keys as well. */
async function refusalOf(call: () => Promise<unknown>): Promise<string> {
  try {
    return await codeOf(call);
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  }
}

test("a full disk refuses the enrolment with its code, and the token is still good afterwards", async () => {
  const store = openAuthorityStore({ path: ":memory:", pagesMax: 60 });
  const world = await World.open({ store });
  const names = Array.from({ length: 40 }, (_, i) => `${name}-${i}`);
  const tokens = await Promise.all(names.map((spiffeId) => world.token({ spiffeId })));
  for (const [i, spiffeId] of names.entries()) {
    const [keys, token] = [generatePurposeKeys(), tokens[i] ?? ""];
    const attempt = world.client(() => applicant(keys)).enrol(enrolment(spiffeId, keys, { token }));
    const isRefused = await attempt.then(
      () => false,
      () => true,
    );
    if (!isRefused) continue;
    expect(await codeOf(attempt)).toBe("CAUSEWAY_STORE_FULL");
    expect(store.certificates(spiffeId, 1)).toEqual([]);
    const hash = Buffer.from(nodeCrypto.sha256(Buffer.from(token))).toString("hex");
    expect(store.token(hash)).toMatchObject({ spiffeId });
    expect(store.token(hash)?.usedUnixMs).toBeUndefined();
    return;
  }
  throw new Error("the store never became full");
});
