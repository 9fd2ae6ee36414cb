import { create } from "@bufbuild/protobuf";
import { certificateRequests, generatePurposeKeys, nodeCrypto } from "@causeway/adapter-keys";
import { parseDomain } from "@causeway/core-base";
import { TrustStore } from "@causeway/core-identity";
import { aca, admin } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { type Caller, encodeBundleFile, parseBundleFile } from "./index.ts";
import { applicant, codeOf, World } from "./testing/authority-world.ts";
import { ManualScheduler, settle } from "./testing/manual-scheduler.ts";

const name = "spiffe://blue.example/travel/booker";
const hour = 3_600_000;
const day = 24 * hour;

test("a watcher gets the state now and each change at once", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const victim = await world.enrol("spiffe://blue.example/travel/victim");
  const seen: bigint[] = [];
  const end = new AbortController();
  const watch = follow(member.client.watchTrust({}, { signal: end.signal }), (state) => seen.push(state.sequence));
  await settle();
  const first = seen.at(-1) ?? 0n;
  await world.operator.client.revoke({ spiffeId: victim.spiffeId });
  await settle();
  expect(seen).toEqual([first, first + 1n]);
  end.abort();
  await watch;
});

test("a slow watcher gets the newest state and skips what is outdated", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  const end = new AbortController();
  const watch = world.authority.watchTrust(world.peer(member.chain("tls")), end.signal)[Symbol.asyncIterator]();
  const first = (await watch.next()).value?.sequence ?? 0n;
  for (let i = 0; i < 20; i++)
    await world.operator.client.revoke({ spiffeId: (await world.enrol(`${name}-${i}`)).spiffeId });
  expect((await watch.next()).value?.sequence).toBe(first + 20n);
  end.abort();
  expect((await watch.next()).done).toBe(true);
});

test("watchers are bounded, and a watcher that is revoked learns it and is cut off", async () => {
  const world = await World.open({ config: { watchersMax: 1 } });
  const member = await world.enrol(name);
  const last: { state?: aca.TrustState } = {};
  const watch = follow(member.client.watchTrust({}), (state) => (last.state = state));
  await settle();
  const refused = follow(world.operator.client.watchTrust({}), () => undefined);
  expect(await codeOf(refused)).toBe("CAUSEWAY_LIMIT_COUNT");
  await world.operator.client.revoke({ spiffeId: name });
  expect(await codeOf(watch)).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  const trust = new TrustStore(nodeCrypto);
  trust.replace(last.state ?? create(aca.TrustStateSchema));
  expect(() => trust.verifyChain(member.chain("tls"), { now: world.scheduler.now().unix, purpose: "tls" })).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" }),
  );
});

test("certificates of another domain are accepted only while an operator trusts its bundle [ANA-9]", async () => {
  const scheduler = new ManualScheduler();
  const [blue, green] = [await World.open({ scheduler }), await World.open({ scheduler, domain: "green.example" })];
  const guest = await green.enrol("spiffe://green.example/hotel/desk");
  const trust = blue.trust();
  blue.authority.onTrust((state) => trust.replace(state));
  const judge = () => trust.verifyChain(guest.chain("tls"), { now: scheduler.now().unix, purpose: "tls" });
  expect(judge).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED" }));
  const bundle = parseBundleFile(encodeBundleFile(green.authority.exportBundle()));
  const { state } = await blue.operator.client.addTrust({ bundle });
  expect(state?.bundles.map((b) => b.domain)).toEqual(["blue.example", "green.example"]);
  expect(judge().domain).toBe("green.example");
  await blue.operator.client.removeTrust({ domain: "green.example" });
  expect(judge).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED" }));
  expect(await codeOf(blue.operator.client.removeTrust({ domain: "green.example" }))).toBe(
    "CAUSEWAY_IDENTITY_BUNDLE_INVALID",
  );
});

test("a peer of a trusted domain reads this domain's CRLs and roots, and nothing else", async () => {
  const scheduler = new ManualScheduler();
  const [blue, green] = [await World.open({ scheduler }), await World.open({ scheduler, domain: "green.example" })];
  const guest = await green.enrol("spiffe://green.example/hotel/desk");
  await blue.operator.client.addTrust({ bundle: green.authority.exportBundle() });
  const client = blue.client(() =>
    blue.trust().verifyChain(guest.chain("tls"), { now: scheduler.now().unix, purpose: "tls" }),
  );
  expect((await client.getCrl({})).crls).toHaveLength(2);
  expect((await client.getTrust({})).state?.bundles.map((b) => b.domain)).toEqual(["blue.example"]);
  const closed = [
    client.renew({}),
    client.revoke({ spiffeId: guest.spiffeId }),
    client.createToken({ spiffeId: name }),
    client.listCertificates({}),
  ];
  for (const call of closed) expect(await codeOf(call)).toBe("CAUSEWAY_IDENTITY_DOMAIN_FOREIGN");
  expect(await codeOf(follow(client.watchTrust({}), () => undefined))).toBe("CAUSEWAY_IDENTITY_DOMAIN_FOREIGN");
});

test("only operators are told where the authority of another domain is [AAP-4] [AAP-24]", async () => {
  const [blue, green] = [await World.open(), await World.open({ domain: "green.example" })];
  const authorityUrl = "https://127.0.0.1:4500";
  const { state } = await blue.operator.client.addTrust({
    bundle: { ...green.authority.exportBundle(), authorityUrl },
  });
  const urls = (trust: aca.TrustState | undefined) => trust?.bundles.map((bundle) => bundle.authorityUrl);
  const [own, hidden, whole] = ["https://127.0.0.1:4400", "", authorityUrl];
  expect(urls(state)).toEqual([own, whole]);
  expect(urls((await blue.operator.client.getTrust({})).state)).toEqual([own, whole]);

  const member = await blue.enrol(name);
  expect(urls(member.certificates.trust)).toEqual([own, hidden]);
  expect(urls((await member.client.getTrust({})).state)).toEqual([own, hidden]);
  const requests = certificateRequests(member.spiffeId, generatePurposeKeys());
  expect(urls((await member.client.renew({ requests })).certificates?.trust)).toEqual([own, hidden]);
  const seen: unknown[] = [];
  const end = new AbortController();
  const watch = follow(member.client.watchTrust({}, { signal: end.signal }), (each) => seen.push(urls(each)));
  await settle();
  await blue.operator.client.removeTrust({ domain: "green.example" });
  await settle();
  expect(seen).toEqual([[own, hidden], [own]]);
  end.abort();
  await watch;
});

test("bundles that are malformed, our own or without a root are refused", async () => {
  const [blue, green] = [await World.open(), await World.open({ domain: "green.example" })];
  const good = green.authority.exportBundle();
  const refused = (bundle: Partial<aca.TrustBundle> | undefined) =>
    codeOf(
      blue.operator.client.addTrust(
        bundle === undefined ? {} : { bundle: create(aca.TrustBundleSchema, { ...good, ...bundle }) },
      ),
    );
  for (const bundle of [
    undefined,
    { domain: "blue.example" },
    { roots: [] },
    { roots: [new Uint8Array([1, 2])] },
    { authorityUrl: "http://x" },
  ]) {
    expect(await refused(bundle)).toBe("CAUSEWAY_IDENTITY_BUNDLE_INVALID");
  }
  expect(() => parseBundleFile("{}{")).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_BUNDLE_INVALID" }));
  expect(() => parseBundleFile('{"domian":"x"}')).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_IDENTITY_BUNDLE_INVALID" }),
  );
});

test("CRLs of trusted domains are fetched every minute, and one that fails keeps what is held", async () => {
  const scheduler = new ManualScheduler();
  const green = await World.open({ scheduler, domain: "green.example", config: { url: "https://127.0.0.1:4500" } });
  const asked: string[] = [];
  let fails = false;
  const fetchForeignCrls = (domain: string, url: string) => {
    asked.push(`${domain} ${url}`);
    return fails ? Promise.reject(new Error("down")) : Promise.resolve(green.authority.exportBundle().crls);
  };
  const blue = await World.open({ scheduler, fetchForeignCrls });
  blue.authority.start();
  await scheduler.advance(0);
  await blue.operator.client.addTrust({ bundle: green.authority.exportBundle() });
  const guest = await green.enrol("spiffe://green.example/hotel/desk");
  const judge = () => blue.trust().verifyChain(guest.chain("tls"), { now: scheduler.now().unix, purpose: "tls" });
  const before = blue.authority.trust().sequence;
  await scheduler.advance(60_000);
  expect(asked).toEqual(["green.example https://127.0.0.1:4500"]);
  expect(blue.authority.trust().sequence).toBe(before);
  expect(judge).not.toThrow();

  await green.operator.client.revoke({ spiffeId: guest.spiffeId });
  await scheduler.advance(60_000);
  expect(judge).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" }));
  fails = true;
  await scheduler.advance(120_000);
  expect(asked).toHaveLength(4);
  expect(judge).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" }));
  await blue.authority.stop();
});

test("an answer without a list, with an older or with a stranger's list takes no revocation back", async () => {
  const scheduler = new ManualScheduler();
  const green = await World.open({ scheduler, domain: "green.example", config: { url: "https://127.0.0.1:4500" } });
  const other = await World.open({ scheduler, domain: "green.example" });
  const guest = await green.enrol("spiffe://green.example/hotel/desk");
  const older = green.authority.exportBundle();
  scheduler.skip(1_000);
  await green.operator.client.revoke({ spiffeId: guest.spiffeId });
  let answer: readonly Uint8Array[] = [];
  const blue = await World.open({ scheduler, fetchForeignCrls: () => Promise.resolve(answer) });
  await blue.operator.client.addTrust({ bundle: green.authority.exportBundle() });
  const before = blue.authority.trust();
  for (const crls of [[], older.crls, other.authority.exportBundle().crls, [new Uint8Array([1])]]) {
    answer = crls;
    await blue.authority.refreshForeign();
    expect(blue.authority.trust()).toEqual(before);
  }
});

test("revocation lists are open to everybody, so that two domains that were apart for long find together", async () => {
  const world = await World.open();
  const stranger = world.client(() => applicant(generatePurposeKeys()));
  expect((await stranger.getCrl({})).crls).toHaveLength(2);
});

test("CRLs are made as soon as a machine that was suspended wakes up", async () => {
  const world = await World.open();
  world.authority.start();
  await world.scheduler.advance(60_000);
  const before = world.authority.trust().sequence;
  world.scheduler.suspend(40 * 3_600_000);
  await world.scheduler.advance(60_000);
  expect(world.authority.trust().sequence).toBe(before + 1n);
  await world.authority.stop();
});

test("CRLs are made again long before they expire, and the root's key is used for nothing else", async () => {
  const world = await World.open();
  expect(world.rootUses.count).toBe(1);
  const member = await world.enrol(name);
  await world.operator.client.revoke({ spiffeId: member.spiffeId });
  expect(world.rootUses.count).toBe(1);
  const before = world.authority.trust();
  world.authority.start();
  await world.scheduler.advance(28_800_000);
  const after = world.authority.trust();
  expect(after.sequence).toBe(before.sequence + 1n);
  expect(after.bundles[0]?.crls[0]).not.toEqual(before.bundles[0]?.crls[0]);
  expect(after.bundles[0]?.crls[1]).not.toEqual(before.bundles[0]?.crls[1]);
  expect(world.rootUses.count).toBe(2);
  await world.authority.stop();
});

test("a longer lifetime of CRLs makes them anew at once, so that those of before never lapse", async () => {
  const world = await World.open();
  const operator: Caller = world.peer(world.operator.chain("tls"));
  const crls = () => world.authority.exportBundle().crls;
  world.authority.start();
  await createClient(
    admin.LimitsService,
    world.transport(() => operator),
  ).setLimit({ name: "crlLifetimeMs", value: BigInt(30 * day) });
  const before = crls();
  await world.scheduler.advance(60_000);
  for (const [at, crl] of crls().entries()) expect(crl).not.toEqual(before[at]);
  expect(world.rootUses.count).toBe(2);
  // Verifying throws when a list of the issuers above is stale.
  for (let hours = 0; hours < 72; hours += 6) {
    await world.scheduler.advance(6 * hour);
    expect(() => world.peer(world.operator.chain("tls"))).not.toThrow();
  }
  expect(world.rootUses.count).toBe(2);
  await world.authority.stop();
});

test("a longer lifetime that a restart brings finds the CRLs of before, and makes them anew", async () => {
  const world = await World.open();
  world.scheduler.skip(6 * hour);
  const after = await world.restart({ crlLifetimeMs: 30 * day });
  expect(after.rootUses.count).toBe(1);
  after.authority.start();
  await after.scheduler.advance(3 * day);
  expect(() => after.peer(after.operator.chain("tls"))).not.toThrow();
  await after.authority.stop();
});

test("the issuing certificate is certified again before it ends, and chains of both stay good", async () => {
  const world = await World.open({ config: { issuingLifetimeMs: 3 * 86_400_000 } });
  const first = world.authority.exportBundle().intermediates[0];
  world.authority.start();
  world.scheduler.skip(2 * 86_400_000);
  const member = await world.enrol(name);
  await world.scheduler.advance(28_800_000);
  expect(world.authority.exportBundle().intermediates[0]).not.toEqual(first);
  expect(() => world.peer(member.chain("tls"))).not.toThrow();
  await world.authority.stop();
});

test("a restart finds everything again: root, tokens, revocations, trust", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  await world.operator.client.revoke({ spiffeId: name, reason: aca.RevocationReason.KEY_COMPROMISE });
  await world.operator.client.addTrust({
    bundle: (await World.open({ domain: "green.example" })).authority.exportBundle(),
  });
  const { token } = await world.operator.client.createToken({ spiffeId: "spiffe://blue.example/travel/next" });
  const before = world.authority.trust();
  const after = await world.restart();
  expect(after.rootUses.count).toBe(0);
  expect(after.authority.rootFingerprint).toBe(world.authority.rootFingerprint);
  expect(after.authority.trust()).toEqual(before);
  expect(after.trust().domains()).toEqual([parseDomain("blue.example"), parseDomain("green.example")]);
  expect(() => after.peer(member.chain("tls"))).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" }),
  );
  expect(token).toMatch(/^cwj1\./);
  expect(after.store.audit(100).map((e) => e.action)).toEqual(
    expect.arrayContaining([
      "authority.created",
      "token.created",
      "enrolment.issued",
      "certificate.revoked",
      "trust.added",
    ]),
  );
});

test("a configuration out of bounds is refused with its name", async () => {
  await expect(World.open({ config: { leafLifetimeMs: 1_000 } })).rejects.toThrow("leafLifetimeMs");
  await expect(World.open({ config: { crlRefreshMs: 1 } })).rejects.toThrow("crlRefreshMs");
  await expect(World.open({ config: { url: "http://127.0.0.1:1" } })).rejects.toThrow("https://host:port");
});

async function follow(
  stream: AsyncIterable<aca.WatchTrustResponse>,
  take: (state: aca.TrustState) => void,
): Promise<void> {
  try {
    for await (const { state } of stream) if (state) take(state);
  } catch (thrown) {
    if (thrown instanceof Error && thrown.name === "ConnectError" && String(thrown).includes("[canceled]")) return;
    throw thrown;
  }
}

test("an authority that was switched off for long makes new CRLs before it serves", async () => {
  const world = await World.open();
  const member = await world.enrol(name);
  await world.operator.client.revoke({ spiffeId: name });
  world.scheduler.skip(10 * 86_400_000);
  const after = await world.restart();
  expect((await after.enrol("spiffe://blue.example/travel/next")).spiffeId).toBe("spiffe://blue.example/travel/next");
  expect(after.store.certificates(name, 1)[0]?.revokedReason).toBe(0);
  expect(member.spiffeId).toBe(name);
});
