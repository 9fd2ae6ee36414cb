import { create } from "@bufbuild/protobuf";
import { asUnixMs, type CausewayError, isCausewayError, parseAgentId } from "@causeway/core-base";
import { aca } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { createTestDomain, type TestDomain, testCrypto, testKey, testNow, trustStateOf } from "../testing/index.ts";
import { concatBytes } from "./bytes.ts";
import { parseCertificate } from "./certificate.ts";
import { createCrl } from "./crl.ts";
import { createApplicantCertificate, createIssuing, createRoot, issueLeaf } from "./issue.ts";
import { crlGraceMs, crlSkewMs } from "./revocation.ts";
import { labelled, signBytes, verifyByPeer, verifySignature } from "./signature.ts";
import { pinnedTrust, TrustStore } from "./trust-store.ts";
import { isVerifiedPeer } from "./verified-peer.ts";

const now = testNow;
const tls = { now, purpose: "tls" } as const;
const later = (ms: number) => ({ ...tls, now: asUnixMs(now + ms) });
const day = 86_400_000;

function refusalOf(run: () => unknown): CausewayError {
  try {
    run();
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("expected a refusal, there was none");
}
const codeOf = (run: () => unknown): string => refusalOf(run).code;

test("ok/ a leaf of each role and purpose says what was certified", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  for (const role of ["agent", "registry", "authority", "operator"] as const) {
    const identity = blue.identity(`some/${role}`, { role });
    for (const purpose of ["tls", "mls", "record"] as const) {
      const peer = trust.verifyChain(identity.chain(purpose), { now, purpose, roles: [role] });
      expect(peer).toMatchObject({
        spiffeId: `spiffe://blue.example/some/${role}`,
        domain: "blue.example",
        role,
        purpose,
      });
      expect(peer.spki).toEqual(identity.keys[purpose].spki);
      expect(peer.gateway).toBeUndefined();
      expect(isVerifiedPeer(peer)).toBe(true);
      expect(isVerifiedPeer({ ...peer })).toBe(false);
      expect(Object.isFrozen(peer)).toBe(true);
    }
  }
});

test("ok/ a gateway's level, URI and namespaces are certified", () => {
  const blue = createTestDomain("blue.example");
  const gateway = {
    uri: "https://gw1.blue.example:4500/amsp",
    level: 2,
    namespaces: ["travel", "travel/air"],
  } as const;
  expect(blue.peer("gateway/gw1", { role: "gateway", gateway }).gateway).toEqual(gateway);
  expect(blue.peer("gateway/gw2", { role: "gateway" }).gateway).toEqual({
    uri: "https://gw2.blue.example/amsp",
    level: 1,
    namespaces: [],
  });
});

test("fail/ a leaf that the profile does not know is not issued", () => {
  const blue = createTestDomain("blue.example");
  const profile = {
    spki: testKey("P-256").spki,
    spiffeId: parseAgentId("blue.example/a"),
    purpose: "tls",
    notBefore: now,
    notAfter: asUnixMs(now + day),
  } as const;
  const issue = (more: object) => () => issueLeaf(testCrypto, blue.issuing, { ...profile, role: "agent", ...more });
  expect(codeOf(issue({ role: "gateway" }))).toBe("CAUSEWAY_MISUSE");
  expect(codeOf(issue({ gateway: { uri: "https://x/amsp", level: 1, namespaces: [] } }))).toBe("CAUSEWAY_MISUSE");
  expect(codeOf(issue({ role: "gateway", gateway: { uri: "not a uri", level: 1, namespaces: [] } }))).toBe(
    "CAUSEWAY_MISUSE",
  );
  expect(codeOf(issue({ role: "gateway", gateway: { uri: "https://x/amsp", level: 3, namespaces: [] } }))).toBe(
    "CAUSEWAY_MISUSE",
  );
  expect(codeOf(issue({ hosts: ["*.blue.example"] }))).toBe("CAUSEWAY_MISUSE");
  expect(codeOf(issue({ spiffeId: parseAgentId("green.example/a") }))).toBe("CAUSEWAY_MISUSE");
  expect(codeOf(issue({ notAfter: asUnixMs(now - day) }))).toBe("CAUSEWAY_MISUSE");
});

test("a leaf does not outlive its issuer", () => {
  const blue = createTestDomain("blue.example");
  const leaf = blue.identity("a", { notAfter: asUnixMs(now + 20 * 365 * day) }).chain("tls")[0];
  const issuing = parseCertificate(blue.issuing.certificate);
  expect(parseCertificate(leaf ?? new Uint8Array()).notAfter).toBe(issuing.notAfter);
});

test("fail/ missing, malformed, self-signed, unknown authority, foreign, expired, revoked and wrong role have a code each [AGP-31] [AMSP-104]", () => {
  const blue = createTestDomain("blue.example");
  const revoked = blue.identity("gateway/lost", { role: "gateway" });
  blue.revoke(blue.store().verifyChain(revoked.chain("tls"), tls));
  const key = testKey("P-256");
  const selfSigned = createApplicantCertificate(testCrypto, key, { notBefore: now, notAfter: asUnixMs(now + day) });
  const impostor = createTestDomain("blue.example").identity("gateway/gw1", { role: "gateway" });
  const foreign = createTestDomain("green.example").identity("gateway/gw1", { role: "gateway" });
  const old = blue.identity("gateway/old", { role: "gateway", notAfter: asUnixMs(now - 1_000) });
  const cases: readonly (readonly [string, readonly Uint8Array[]])[] = [
    ["CAUSEWAY_IDENTITY_CERTIFICATE_MISSING", []],
    ["CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED", [Uint8Array.of(0x30, 0x03, 1, 2, 3)]],
    ["CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED", [selfSigned]],
    ["CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED", impostor.chain("tls")],
    ["CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED", foreign.chain("tls")],
    ["CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED", old.chain("tls")],
    ["CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED", revoked.chain("tls")],
    ["CAUSEWAY_IDENTITY_ROLE_WRONG", blue.identity("travel/booker").chain("tls")],
  ];
  const trust = blue.store();
  for (const [code, chain] of cases)
    expect(codeOf(() => trust.verifyChain(chain, { ...tls, roles: ["gateway"] }))).toBe(code);
  expect(
    trust.verifyChain(blue.identity("gateway/ok", { role: "gateway" }).chain("tls"), { ...tls, roles: ["gateway"] })
      .role,
  ).toBe("gateway");
});

test("fail/ a certificate for one purpose does not serve another", () => {
  const blue = createTestDomain("blue.example");
  const identity = blue.identity("travel/booker");
  const trust = blue.store();
  for (const purpose of ["tls", "mls", "record"] as const) {
    for (const other of ["tls", "mls", "record"] as const) {
      if (other === purpose) continue;
      expect(codeOf(() => trust.verifyChain(identity.chain(purpose), { now, purpose: other }))).toBe(
        "CAUSEWAY_IDENTITY_ROLE_WRONG",
      );
    }
  }
});

test("fail/ a trusted domain cannot vouch for a name of another one [AMSP-104]", () => {
  const blue = createTestDomain("blue.example");
  const green = createTestDomain("green.example");
  const trust = blue.store(green);
  const key = testKey("P-256");
  const validity = { notBefore: now, notAfter: asUnixMs(now + day) };
  // The foreign root issues a certificate that may certify names of blue.example.
  const issuing = createIssuing(testCrypto, green.root, { domain: blue.domain, spki: key.spki, ...validity });
  const leaf = issueLeaf(
    testCrypto,
    { certificate: issuing, key },
    {
      spki: testKey("P-256").spki,
      spiffeId: parseAgentId("blue.example/travel/booker"),
      role: "agent",
      purpose: "tls",
      ...validity,
    },
  );
  expect(codeOf(() => trust.verifyChain([leaf.certificate, issuing], tls))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  );
  expect(codeOf(() => trust.verifyChain([leaf.certificate, issuing, green.root.certificate], tls))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  );
});

test("the order and completeness of a chain", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const [leaf = new Uint8Array(), issuing = new Uint8Array()] = blue.identity("a").chain("tls");
  const root = blue.root.certificate;
  const rootAnew = createRoot(testCrypto, {
    domain: blue.domain,
    key: blue.root.key,
    notBefore: asUnixMs(now - 2 * day),
    notAfter: asUnixMs(now - day),
  });
  // The issuing certificate is in the bundle, so the leaf alone is enough; a root at the end says nothing.
  for (const chain of [[leaf], [leaf, issuing], [leaf, issuing, root], [leaf, root], [leaf, issuing, rootAnew]]) {
    expect(blue.store().verifyChain(chain, tls).domain).toBe("blue.example");
  }
  for (const chain of [
    [leaf, leaf],
    [leaf, root, issuing],
    [leaf, issuing, issuing],
  ]) {
    expect(codeOf(() => blue.store().verifyChain(chain, tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED");
  }
  expect(codeOf(() => trust.verifyChain([issuing], tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED");
  expect(codeOf(() => trust.verifyChain([root], tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED");
  expect(codeOf(() => trust.verifyChain([leaf, issuing, issuing, issuing, issuing], tls))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED",
  );
});

test("a revocation reaches peers that were verified before, also when the path is remembered [ANA-76]", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const chain = blue.identity("travel/booker").chain("tls");
  const peer = trust.verifyChain(chain, tls);
  expect(trust.isRevoked(peer)).toBe(false);
  const before = blue.trustState();
  blue.revoke(peer, 1);
  trust.replace(blue.trustState());
  expect(trust.isRevoked(peer)).toBe(true);
  const refusal = refusalOf(() => trust.verifyChain(chain, tls));
  expect(refusal.code).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  expect(refusal.details).toEqual({ reason: "1" });
  // An older list of the same authority does not undo it.
  trust.replace(before);
  expect(trust.isRevoked(peer)).toBe(true);
  expect(codeOf(() => trust.verifyChain(chain, tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
});

test("revoking the issuing certificate takes everything below with it [ANA-76]", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const chain = blue.identity("travel/booker").chain("tls");
  const peer = trust.verifyChain(chain, tls);
  blue.revokeIssuing(parseCertificate(blue.issuing.certificate).serial);
  trust.replace(blue.trustState());
  expect(trust.isRevoked(peer)).toBe(true);
  expect(codeOf(() => trust.verifyChain(chain, tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
});

test("a chain over another certificate of the same issuer does not spoil the good one", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const { keys, chain } = blue.identity("travel/booker");
  const [leaf = new Uint8Array(), issuing = new Uint8Array()] = chain("tls");
  expect(keys.tls.spki.length).toBeGreaterThan(0);
  // The issuing certificate as it was a year ago: same name, same key, expired.
  const expired = createIssuing(testCrypto, blue.root, {
    domain: blue.domain,
    spki: parseCertificate(issuing).key.spki,
    notBefore: asUnixMs(now - 400 * day),
    notAfter: asUnixMs(now - day),
  });
  expect(codeOf(() => trust.verifyChain([leaf, expired], tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED");
  expect(trust.verifyChain([leaf, issuing], tls).spiffeId).toBe("spiffe://blue.example/travel/booker");
});

test("signatures above a leaf are checked once for all leaves below", () => {
  const blue = createTestDomain("blue.example");
  let checks = 0;
  const trust = new TrustStore({
    ...testCrypto,
    verify(...args) {
      checks++;
      return testCrypto.verify(...args);
    },
  });
  trust.replace(blue.trustState());
  const checksOf = (chain: readonly Uint8Array[]) => {
    const before = checks;
    trust.verifyChain(chain, tls);
    return checks - before;
  };
  const known = blue.identity("a").chain("tls");
  expect(checksOf(known)).toBeGreaterThan(1);
  expect(checksOf(known)).toBe(0);
  expect(checksOf(blue.identity("b").chain("tls"))).toBe(1);
  // The leaf alone: its issuer is found in the bundle, and remembered from then on.
  const [alone = new Uint8Array()] = blue.identity("c").chain("tls");
  const [next = new Uint8Array()] = blue.identity("d").chain("tls");
  expect(checksOf([alone])).toBeGreaterThan(1);
  expect(checksOf([next])).toBe(1);
  // A new state with the same certificates changes nothing of that, one with others does.
  trust.replace(blue.trustState());
  const ofLists = checksOf(known);
  expect(checksOf(blue.identity("e").chain("tls"))).toBe(1);
  trust.replace(create(aca.TrustStateSchema, { sequence: 3n, bundles: [{ ...blue.bundle(), intermediates: [] }] }));
  expect(checksOf(known)).toBeGreaterThan(ofLists + 1);
});

test("ok/ certificates above a leaf that were made anew over the same key take the place of those that expire", () => {
  const blue = createTestDomain("blue.example");
  const hour = 3_600_000;
  const [soon, late] = [hour, 10 * day].map((ms) => ({ notBefore: asUnixMs(now - day), notAfter: asUnixMs(now + ms) }));
  if (soon === undefined || late === undefined) throw new Error("expected two times");
  const rootOf = (validity: typeof soon) =>
    createRoot(testCrypto, { domain: blue.domain, key: blue.root.key, ...validity });
  const issuingOf = (validity: typeof soon) =>
    createIssuing(testCrypto, blue.root, { domain: blue.domain, spki: blue.issuing.key.spki, ...validity });
  const leafOf = (certificate: Uint8Array) =>
    issueLeaf(
      testCrypto,
      { certificate, key: blue.issuing.key },
      {
        spki: testKey("P-256").spki,
        spiffeId: parseAgentId("blue.example/a"),
        role: "agent",
        purpose: "tls",
        ...late,
      },
    ).certificate;
  const trust = new TrustStore(testCrypto);
  const take = (bundle: Partial<aca.TrustBundle>) =>
    trust.replace(create(aca.TrustStateSchema, { sequence: 1n, bundles: [{ ...blue.bundle(), ...bundle }] }));

  // The issuing certificate, of peers that send their leaf alone.
  const [older, newer] = [issuingOf(soon), issuingOf(late)];
  take({ intermediates: [older] });
  trust.verifyChain([leafOf(older)], tls);
  take({ intermediates: [newer] });
  expect(trust.verifyChain([leafOf(newer)], later(2 * hour)).domain).toBe("blue.example");

  // The root.
  take({ roots: [rootOf(soon)] });
  trust.verifyChain([leafOf(newer), newer], tls);
  take({ roots: [rootOf(late), rootOf(soon)] });
  expect(trust.verifyChain([leafOf(newer), newer], later(2 * hour)).domain).toBe("blue.example");
});

test("fail/ a leaf is not believed because the certificates above it are known", () => {
  const blue = createTestDomain("blue.example");
  const green = createTestDomain("green.example");
  const trust = new TrustStore(testCrypto);
  trust.replace(trustStateOf(blue, green));
  const [, issuing = new Uint8Array()] = blue.identity("a").chain("tls");
  expect(trust.verifyChain(blue.identity("a").chain("tls"), tls).domain).toBe("blue.example");
  const [signedByAnother = new Uint8Array()] = createTestDomain("blue.example").identity("a").chain("tls");
  const [ofGreen = new Uint8Array()] = green.identity("a").chain("tls");
  for (const leaf of [signedByAnother, ofGreen])
    expect(codeOf(() => trust.verifyChain([leaf, issuing], tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED");
});

test("who brings newer lists is judged by stale ones, but not if it is on them", () => {
  const blue = createTestDomain("blue.example");
  const [good, bad] = [
    blue.identity("authority", { role: "authority", notAfter: asUnixMs(now + 30 * day) }),
    blue.identity("old", { role: "authority", notAfter: asUnixMs(now + 30 * day) }),
  ];
  blue.revoke(parseCertificate(bad.chain("tls")[0] ?? new Uint8Array()));
  const trust = blue.store();
  const stale = later(crlGraceMs + 2 * day);
  expect(codeOf(() => trust.verifyChain(good.chain("tls"), stale))).toBe("CAUSEWAY_IDENTITY_CRL_STALE");
  const bringing = trust.forLists();
  expect(bringing.verifyChain(good.chain("tls"), stale).spiffeId).toBe("spiffe://blue.example/authority");
  expect(codeOf(() => bringing.verifyChain(bad.chain("tls"), stale))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  expect(codeOf(() => bringing.verifyChain(good.chain("tls"), { ...stale, roles: ["gateway"] }))).toBe(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
  );
  expect(bringing.roots()).toEqual(trust.roots());
});

test("peers of a domain that is no longer trusted count as revoked", () => {
  const blue = createTestDomain("blue.example");
  const green = createTestDomain("green.example");
  const trust = blue.store(green);
  const peer = trust.verifyChain(green.identity("a").chain("tls"), tls);
  expect(trust.domains()).toEqual(["blue.example", "green.example"]);
  trust.replace(trustStateOf(blue));
  expect(trust.isRevoked(peer)).toBe(true);
  // The same name with another root is another domain.
  trust.replace(trustStateOf(blue, createTestDomain("green.example")));
  expect(trust.isRevoked(peer)).toBe(true);
  expect(trust.roots()).toHaveLength(2);
});

const bundleWith = (blue: TestDomain, crls: readonly Uint8Array[]) =>
  create(aca.TrustStateSchema, { sequence: 9n, bundles: [{ ...blue.bundle(), crls: [...crls] }] });

test("stale, missing, foreign and future lists fail closed, a short outage does not matter [ANA-76]", () => {
  const blue = createTestDomain("blue.example", { crlLifetimeMs: 60_000 });
  const chain = blue.identity("a", { notAfter: asUnixMs(now + 10 * day) }).chain("tls");
  const trust = blue.store();
  expect(trust.verifyChain(chain, later(60_000 + crlGraceMs)).role).toBe("agent");
  expect(codeOf(() => trust.verifyChain(chain, later(60_001 + crlGraceMs)))).toBe("CAUSEWAY_IDENTITY_CRL_STALE");
  const [ofRoot = new Uint8Array(), ofIssuing = new Uint8Array()] = blue.crls();
  const foreign = createTestDomain("blue.example").crls();
  for (const crls of [[], [ofRoot], [ofIssuing], foreign, [ofRoot, ...foreign]]) {
    const fresh = new TrustStore(testCrypto);
    expect(fresh.replace(bundleWith(blue, crls))).toEqual([]);
    expect(codeOf(() => fresh.verifyChain(chain, tls))).toBe("CAUSEWAY_IDENTITY_CRL_STALE");
  }
  expect(trust.verifyChain(chain, later(-crlSkewMs + 290_000)).role).toBe("agent");
  const ahead = createTestDomain("blue.example", { now: asUnixMs(now + crlSkewMs + 1_000) });
  const early = ahead.identity("a", { notBefore: asUnixMs(now - day) }).chain("tls");
  expect(codeOf(() => ahead.store().verifyChain(early, tls))).toBe("CAUSEWAY_IDENTITY_CRL_STALE");
});

test("delta and full lists together [ANA-76]", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const identities = ["a", "b", "c"].map((name) => blue.identity(name));
  const peers = identities.map((identity) => trust.verifyChain(identity.chain("tls"), tls));
  const [a, b, c] = peers;
  if (a === undefined || b === undefined || c === undefined) throw new Error("three peers");
  const times = { thisUpdate: now, nextUpdate: asUnixMs(now + day) };
  const [ofRoot = new Uint8Array()] = blue.crls();
  const full = createCrl(blue.issuing, {
    number: 10n,
    ...times,
    revoked: [
      { serial: a.serial, at: now, reason: 1 },
      { serial: b.serial, at: now, reason: 6 },
    ],
  });
  const delta = (number: bigint, baseNumber: bigint) =>
    createCrl(blue.issuing, {
      number,
      baseNumber,
      ...times,
      revoked: [
        { serial: b.serial, at: now, reason: 8 },
        { serial: c.serial, at: now, reason: 4 },
      ],
    });
  const revokedAfter = (crls: readonly Uint8Array[]) => {
    const fresh = blue.store();
    const known = identities.map((identity) => fresh.verifyChain(identity.chain("tls"), tls));
    const store = new TrustStore(testCrypto);
    store.replace(bundleWith(blue, [ofRoot, ...crls]));
    return identities.map((identity, i) => {
      expect(known[i]?.serial).toEqual(peers[i]?.serial);
      try {
        store.verifyChain(identity.chain("tls"), tls);
        return "good";
      } catch (thrown) {
        return isCausewayError(thrown) ? thrown.code.replace("CAUSEWAY_IDENTITY_", "") : thrown;
      }
    });
  };
  const out = "CERTIFICATE_REVOKED";
  expect(revokedAfter([full])).toEqual([out, out, "good"]);
  expect(revokedAfter([full, delta(11n, 10n)])).toEqual([out, "good", out]);
  expect(revokedAfter([full, delta(11n, 9n)])).toEqual([out, "good", out]);
  // A delta that builds on a newer full list than the one that is held, or is older, or has no full list, says nothing.
  expect(revokedAfter([full, delta(12n, 11n)])).toEqual([out, out, "good"]);
  expect(revokedAfter([full, delta(9n, 8n)])).toEqual([out, out, "good"]);
  expect(revokedAfter([delta(11n, 10n)])).toEqual(["CRL_STALE", "CRL_STALE", "CRL_STALE"]);
});

test("a bundle that cannot be used is left out and told, the others count", () => {
  const blue = createTestDomain("blue.example");
  const green = createTestDomain("green.example");
  const good = blue.bundle();
  const state = create(aca.TrustStateSchema, {
    sequence: 3n,
    bundles: [
      good,
      { ...green.bundle(), roots: [green.issuing.certificate] },
      { ...green.bundle(), domain: "Bad Domain" },
      { ...green.bundle(), domain: "red.example", roots: [] },
      { ...green.bundle(), domain: "grey.example", crls: [Uint8Array.of(1)] },
      { ...green.bundle(), domain: "blue.example" },
    ],
  });
  const trust = new TrustStore(testCrypto);
  expect(trust.sequence).toBe(0n);
  expect(trust.replace(state).map((problem) => problem.domain)).toEqual([
    "green.example",
    "Bad Domain",
    "red.example",
    "grey.example",
    "blue.example",
  ]);
  expect(trust.sequence).toBe(3n);
  expect(trust.domains()).toEqual(["blue.example"]);
  expect(trust.verifyChain(blue.identity("a").chain("tls"), tls).domain).toBe("blue.example");
});

test("a store without a state trusts nobody", () => {
  const trust = new TrustStore(testCrypto);
  expect(codeOf(() => trust.verifyChain(createTestDomain("blue.example").identity("a").chain("tls"), tls))).toBe(
    "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
  );
});

test("pinned trust judges everything but revocation", () => {
  const blue = createTestDomain("blue.example");
  const pinned = pinnedTrust(testCrypto, blue.root.certificate);
  const chain = [...blue.identity("authority", { role: "authority" }).chain("tls"), blue.root.certificate];
  expect(pinned.verifyChain(chain, { ...tls, roles: ["authority"] }).role).toBe("authority");
  expect(codeOf(() => pinned.verifyChain(chain, { ...tls, roles: ["gateway"] }))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  expect(codeOf(() => pinned.verifyChain(chain, later(2 * day)))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED");
  const impostor = createTestDomain("blue.example").identity("authority", { role: "authority" });
  expect(codeOf(() => pinned.verifyChain(impostor.chain("tls"), tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED");
  expect(codeOf(() => pinned.verifyChain([], tls))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING");
  expect(codeOf(() => pinnedTrust(testCrypto, blue.issuing.certificate))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  );
});

test("a signature is bound to its label, its bytes and its signer", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const booker = blue.identity("travel/booker");
  const other = blue.identity("travel/other");
  const bytes = Uint8Array.of(1, 2, 3);
  const signature = signBytes(booker.signer("tls"), labelled("attach", bytes));
  const verify = (message = labelled("attach", bytes), value = signature) =>
    verifySignature(trust, testCrypto, value, message, tls);
  expect(verify().spiffeId).toBe("spiffe://blue.example/travel/booker");
  expect(codeOf(() => verify(labelled("lease", bytes)))).toBe("CAUSEWAY_IDENTITY_SIGNATURE_INVALID");
  expect(codeOf(() => verify(labelled("attach", Uint8Array.of(1, 2, 4))))).toBe("CAUSEWAY_IDENTITY_SIGNATURE_INVALID");
  // The proof of one agent under the certificate of another.
  const borrowed = { ...signature, chain: [...other.chain("tls")] };
  expect(codeOf(() => verify(labelled("attach", bytes), borrowed))).toBe("CAUSEWAY_IDENTITY_SIGNATURE_INVALID");
  expect(codeOf(() => verify(labelled("attach", bytes), { ...signature, value: new Uint8Array() }))).toBe(
    "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
  );
  expect(codeOf(() => verifySignature(trust, testCrypto, undefined, labelled("attach", bytes), tls))).toBe(
    "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
  );
  expect(codeOf(() => verify(labelled("attach", bytes), { ...signature, chain: [] }))).toBe(
    "CAUSEWAY_IDENTITY_CERTIFICATE_MISSING",
  );

  const peer = verify();
  expect(() => verifyByPeer(testCrypto, peer, labelled("attach", bytes), signature.value)).not.toThrow();
  expect(codeOf(() => verifyByPeer(testCrypto, peer, labelled("attach"), signature.value))).toBe(
    "CAUSEWAY_IDENTITY_SIGNATURE_INVALID",
  );
});

test("both key kinds sign and verify, and the label is the prefix that is documented", () => {
  const blue = createTestDomain("blue.example");
  const trust = blue.store();
  const identity = blue.identity("a");
  const message = labelled("record", Uint8Array.of(7), Uint8Array.of(8, 9));
  expect(message).toEqual(concatBytes(Buffer.from("causeway record v1\0"), Uint8Array.of(7, 8, 9)));
  for (const purpose of ["tls", "record"] as const) {
    const signature = signBytes(identity.signer(purpose), message);
    expect(verifySignature(trust, testCrypto, signature, message, { now, purpose }).purpose).toBe(purpose);
  }
});
