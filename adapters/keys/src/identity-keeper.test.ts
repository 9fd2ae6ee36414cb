import { X509Certificate } from "node:crypto";
import { inspect } from "node:util";
import { asUnixMs, parseGatewayUri } from "@causeway/core-base";
import { issueLeaf } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { settle } from "../../../services/authority/src/testing/manual-scheduler.ts";
import {
  generateKeyPair,
  Identity,
  identityOf,
  type KeeperAlarm,
  loadIdentity,
  nodeCrypto,
  saveIdentity,
} from "./index.ts";
import { KeeperWorld, until } from "./testing/keeper-world.ts";

const name = "spiffe://blue.example/travel/booker";
const material = { organisation: "Blue Travel Ltd", developer: "Ada", functionType: "booking", scopes: ["flights"] };
const refused = (code: string) => expect.objectContaining({ code });
const minutes = 60_000;
const day = 86_400_000;

const gatewayName = "spiffe://blue.example/gateway/gw1";
const gatewayUri = "https://gw1.blue.example/amsp";

async function gatewayToken(net: KeeperWorld): Promise<string> {
  const gateway = { gatewayUri, level: 1, namespaces: [] };
  return (await net.world.operator.client.createToken({ spiffeId: gatewayName, role: "gateway", gateway })).token;
}

/** Purpose and type of every key in a vault, also of one that nothing names any more. */
async function keysIn(net: KeeperWorld, name = "agent"): Promise<readonly string[]> {
  const vault = await net.vault(name);
  const found: string[] = [];
  for (const each of await vault.names()) {
    const [kind, purpose] = each.split("-");
    if (kind === "key" || kind === "pending") found.push(`${purpose} ${(await vault.getKey(each))?.type}`);
  }
  return found.sort();
}

test("enrols with one token string, keeps the result and is ready to attach [ANA-68]", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  expect(keeper.spiffeId).toBe(name);
  expect(net.connections[0]?.url).toBe("https://127.0.0.1:4400");
  for (const purpose of ["tls", "mls", "record"] as const) {
    const { chain, spki } = keeper.identity.signer(purpose);
    const peer = keeper.trust.verifyChain(chain, { now: net.world.scheduler.now().unix, purpose });
    expect(peer).toMatchObject({ spiffeId: name, spki });
  }
  const stored = await loadIdentity(await net.vault());
  expect(stored?.tls()).toEqual(keeper.identity.tls());
  expect(stored?.tls().key).toBe(keeper.identity.tls().key);
  expect(new X509Certificate(stored?.tls().chainPem ?? "").subjectAltName).toBe(`URI:${name}`);
  expect((await (await net.vault()).names()).filter((n) => n.startsWith("pending"))).toEqual([]);
});

test("a gateway that enrols makes, asks for and keeps no key of MLS, also after renewal and restart [AAP-98] [AAP-80]", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await gatewayToken(net), spiffeId: gatewayName } });
  const certified = () => new Set(net.world.store.certificates(gatewayName, 100).map(({ purpose }) => purpose));
  expect(keeper.identity.role).toBe("gateway");
  expect(await keysIn(net)).toEqual(["record ed25519", "tls p256"]);
  await keeper.renew();
  expect(await keysIn(net)).toEqual(["record ed25519", "tls p256"]);
  expect(certified()).toEqual(new Set(["tls", "record"]));
  expect(() => keeper.identity.mlsPrivateKey()).toThrow(refused("CAUSEWAY_IDENTITY_ROLE_WRONG"));
  expect(() => keeper.identity.signer("mls")).toThrow(refused("CAUSEWAY_IDENTITY_ROLE_WRONG"));
  await keeper.stop();
  expect((await net.keeper()).identity.purposes).toEqual(["tls", "record"]);

  // An agent has one, so the list would show it.
  await net.keeper({
    vault: await net.vault("other"),
    enrolment: { token: await net.joinToken(name), spiffeId: name },
  });
  expect(await keysIn(net, "other")).toEqual(["mls ed25519", "record ed25519", "tls p256"]);
});

test("a gateway's vault of before, with a key of MLS, opens without it, is renewed and loses it [AAP-98]", async () => {
  await using net = await KeeperWorld.open();
  const first = await net.keeper({ enrolment: { token: await gatewayToken(net), spiffeId: gatewayName } });
  await first.stop();
  const { spiffeId, authorityUrl } = first.identity;
  const [leaf, issuing] = first.identity.signer("tls").chain;
  if (!leaf || !issuing) throw new Error("no chain");
  const mls = generateKeyPair("ed25519");
  const now = net.world.scheduler.now().unix;
  const { certificate } = issueLeaf(
    nodeCrypto,
    { certificate: issuing, key: net.world.caKeys.issuing },
    {
      spiffeId,
      spki: mls.spki,
      purpose: "mls",
      role: "gateway",
      gateway: { uri: parseGatewayUri(gatewayUri), level: 1, namespaces: [] },
      notBefore: asUnixMs(now - minutes),
      notAfter: asUnixMs(now + day),
    },
  );
  const [tls, record] = [first.identity.signer("tls").chain, first.identity.signer("record").chain];
  await saveIdentity(
    await net.vault(),
    new Identity({
      spiffeId,
      authorityUrl,
      keys: { ...first.identity.keys(), mls },
      chains: { tls, record, mls: [certificate, issuing] },
    }),
  );
  expect(await keysIn(net)).toEqual(["mls ed25519", "record ed25519", "tls p256"]);

  const keeper = await net.keeper();
  expect(keeper.identity.purposes).toEqual(["tls", "record"]);
  await keeper.renew();
  expect(keeper.identity.signer("tls").chain).not.toEqual(tls);
  expect(await keysIn(net)).toEqual(["record ed25519", "tls p256"]);
});

test("certificates of a role that has other purposes than the keys are not taken", async () => {
  await using net = await KeeperWorld.open();
  const { spiffeId, keys, certificates } = await net.world.enrol(name);
  const taken = (held: typeof keys) => () => identityOf({ spiffeId, authorityUrl: "", keys: held, certificates });
  expect(taken(keys)).not.toThrow();
  expect(taken({ tls: keys.tls })).toThrow(refused("CAUSEWAY_IDENTITY_ROLE_WRONG"));
});

test("no private key leaves the process, and an identity does not show its keys [ANA-62]", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const secrets = () => {
    const { tls, mls, record } = keeper.identity.keys();
    if (!mls || !record) throw new Error("an agent has three keys");
    return [mls.exportSeed(), record.exportSeed(), tls.exportPkcs8().subarray(36, 68)].map((s) => Buffer.from(s));
  };
  const before = secrets();
  await keeper.renew();
  expect(net.sent.length).toBe(2);
  const wire = Buffer.concat(net.sent);
  for (const secret of [...before, ...secrets()]) expect(wire.includes(secret)).toBe(false);
  const shown =
    inspect(keeper.identity, { depth: 9 }) + JSON.stringify(keeper.identity) + inspect(keeper.identity.tls());
  expect(shown).not.toContain("PRIVATE KEY");
  for (const secret of secrets()) expect(shown).not.toContain(secret.toString("hex"));
});

test("without a token an operator decides while the keeper polls", async () => {
  await using net = await KeeperWorld.open();
  const pending: string[] = [];
  const enrolment = {
    authorityUrl: "https://127.0.0.1:4400",
    rootFingerprint: net.world.authority.rootFingerprint,
    spiffeId: name,
    material,
  };
  const opening = net.keeper({ enrolment, onPending: (id) => pending.push(id) });
  await until(() => pending.length === 1);
  await net.world.scheduler.advance(2_000);
  await net.world.operator.client.decideApplication({ applicationId: pending[0] ?? "", approve: true });
  await settle();
  await net.world.scheduler.advance(2_000);
  expect((await opening).identity.spiffeId).toBe(name);
});

test("a rejected application ends the wait with the operator's reason", async () => {
  await using net = await KeeperWorld.open();
  const pending: string[] = [];
  const enrolment = {
    authorityUrl: "https://127.0.0.1:4400",
    rootFingerprint: net.world.authority.rootFingerprint,
    spiffeId: name,
    material,
  };
  const opening = net.keeper({ enrolment, onPending: (id) => pending.push(id) });
  const outcome = opening.catch((thrown: unknown) => thrown);
  await until(() => pending.length === 1);
  await net.world.operator.client.decideApplication({
    applicationId: pending[0] ?? "",
    approve: false,
    reason: "unknown developer",
  });
  await settle();
  await net.world.scheduler.advance(2_000);
  expect(String(await outcome)).toContain("unknown developer");
});

test("an enrolment whose answer was lost is repeated with the same keys and does not cost the token", async () => {
  await using net = await KeeperWorld.open();
  net.loseAnswers(1);
  const opening = net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  await until(() => net.sent.length === 1);
  await settle();
  await net.world.scheduler.advance(1_000);
  await opening;
  expect(net.sent).toHaveLength(2);
  expect(net.world.store.certificates(name, 10)).toHaveLength(3);
});

test("an authority with another root than the token's is refused before anything is sent", async () => {
  await using net = await KeeperWorld.open();
  await using other = await KeeperWorld.open();
  const token = await other.joinToken(name);
  await expect(net.keeper({ enrolment: { token, spiffeId: name } })).rejects.toThrow(
    refused("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED"),
  );
  expect(net.connections).toEqual([]);
  await expect(net.keeper({ enrolment: { token: "cwj1.x", spiffeId: name } })).rejects.toThrow(
    refused("CAUSEWAY_IDENTITY_TOKEN_INVALID"),
  );
  await expect(net.keeper()).rejects.toThrow(refused("CAUSEWAY_IDENTITY_NOT_ENROLLED"));
});

test("a restart works while the authority is down, from identity and trust state on disk", async () => {
  await using net = await KeeperWorld.open();
  const first = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const victim = await net.world.enrol("spiffe://blue.example/travel/victim");
  await net.world.operator.client.revoke({ spiffeId: victim.spiffeId });
  await first.trusted(net.world.authority.trust().sequence);
  await first.stop();
  net.goDown();
  const again = await net.keeper();
  expect(again.identity.spiffeId).toBe(name);
  expect(again.trust.sequence).toBe(net.world.authority.trust().sequence);
  const now = net.world.scheduler.now().unix;
  expect(() => again.trust.verifyChain(victim.chain("tls"), { now, purpose: "tls" })).toThrow(
    refused("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED"),
  );
  expect(() => again.trust.verifyChain(again.identity.signer("tls").chain, { now, purpose: "tls" })).not.toThrow();
});

test("a revocation reaches the keeper at once, and its own is an alarm", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const victim = await net.world.enrol("spiffe://blue.example/travel/victim");
  const alarms: KeeperAlarm[] = [];
  let changes = 0;
  keeper.onTrust(() => changes++);
  keeper.onTrust(() => {
    throw new Error("a listener with a defect");
  });
  keeper.onAlarm((alarm) => alarms.push(alarm));
  await until(() => net.watchedAt.length === 1);
  await net.world.operator.client.revoke({ spiffeId: victim.spiffeId });
  await until(() => changes === 1);
  expect(keeper.trust.sequence).toBe(net.world.authority.trust().sequence);
  await net.world.operator.client.revoke({ spiffeId: name, reason: aca.RevocationReason.KEY_COMPROMISE });
  await until(() => alarms.length > 0);
  expect(alarms[0]).toMatchObject({ kind: "revoked" });
  await expect(keeper.renew()).rejects.toThrow(refused("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED"));
});

test("watching reconnects with growing pauses from 0.5 to 30 s and at once sees what it missed", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  await until(() => net.watchedAt.length === 1);
  await settle();
  net.goDown();
  await settle();
  await net.world.scheduler.advance(5 * minutes);
  const tries = net.watchedAt.slice(1);
  const pauses = tries.slice(1).map((at, i) => at - (tries[i] ?? 0));
  expect(pauses.slice(0, 7)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  await net.world.operator.client.revoke({
    spiffeId: (await net.world.enrol("spiffe://blue.example/travel/victim")).spiffeId,
  });
  net.comeUp();
  await net.world.scheduler.advance(30_000);
  await keeper.trusted(net.world.authority.trust().sequence);
});

test("renews unattended at two thirds of a 10-minute certificate, three times in a row, and uses the new one at once [ANA-71] [ANA-73] [AGP-46]", async () => {
  await using net = await KeeperWorld.open({ config: { leafLifetimeMs: 10 * minutes } });
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const { scheduler } = net.world;
  let renewals = 0;
  keeper.onRenewed(() => renewals++);
  for (let round = 1; round <= 3; round++) {
    const before = keeper.identity;
    const { notBeforeUnixMs, notAfterUnixMs } = before.validity()[0] ?? { notBeforeUnixMs: 0, notAfterUnixMs: 0 };
    const due = notBeforeUnixMs + ((notAfterUnixMs - notBeforeUnixMs) * 2) / 3 - scheduler.now().unix;
    await settle();
    await scheduler.advance(due - 2_000);
    expect(renewals).toBe(round - 1);
    await scheduler.advance(3_000);
    await until(() => renewals === round);
    expect(keeper.identity.validity()[0]?.notAfterUnixMs).toBe(
      Math.floor(scheduler.now().unix / 1_000) * 1_000 - 1_000 + 10 * minutes,
    );
    expect(keeper.identity.signer("tls").spki).not.toEqual(before.signer("tls").spki);
    expect(keeper.identity.signer("mls").spki).toEqual(before.signer("mls").spki);
    expect(net.connections.at(-1)?.identity()).toEqual(keeper.identity.tls());
  }
  expect((await loadIdentity(await net.vault()))?.tls().key).toBe(keeper.identity.tls().key);
});

test("a certificate that cannot be renewed raises alarms before and at its end [AGP-46]", async () => {
  await using net = await KeeperWorld.open({ config: { leafLifetimeMs: 10 * minutes } });
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const alarms: { kind: string; atUnixMs: number; expiresUnixMs: number }[] = [];
  keeper.onAlarm(({ kind, expiresUnixMs }) =>
    alarms.push({ kind, expiresUnixMs, atUnixMs: net.world.scheduler.now().unix }),
  );
  await until(() => net.watchedAt.length === 1);
  net.goDown();
  await settle();
  for (let i = 0; i < 12; i++) await net.world.scheduler.advance(1 * minutes);
  expect(new Set(alarms.map((a) => a.kind))).toEqual(
    new Set(["watch-lost", "renewal-failed", "expires-soon", "expired"]),
  );
  const at = (kind: string) => alarms.find((a) => a.kind === kind) ?? { atUnixMs: 0, expiresUnixMs: 0 };
  expect(at("expires-soon").atUnixMs).toBeLessThan(at("expires-soon").expiresUnixMs);
  expect(at("expired").atUnixMs).toBeGreaterThanOrEqual(at("expired").expiresUnixMs);
  expect(alarms.filter((a) => a.kind === "expired")).toHaveLength(1);
});

test("an identity that lapsed while it was in use comes back as soon as the authority does", async () => {
  await using net = await KeeperWorld.open({ config: { leafLifetimeMs: 10 * minutes } });
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const { scheduler } = net.world;
  await until(() => net.watchedAt.length === 1);
  const { keys } = { keys: keeper.identity.keys() };
  net.goDown();
  for (let i = 0; i < 12; i++) await scheduler.advance(1 * minutes);
  let renewed = 0;
  keeper.onRenewed(() => renewed++);
  net.comeUp();
  await scheduler.advance(30_000);
  await until(() => renewed === 1);
  expect(keeper.identity.validity()[0]?.notAfterUnixMs).toBeGreaterThan(scheduler.now().unix);
  expect(keeper.identity.signer("tls").spki).toEqual(keys.tls.spki);
  expect((await keeper.authority.getTrust({})).state?.sequence).toBe(net.world.authority.trust().sequence);
});

test("a keeper whose revocation lists are stale gets the new ones", async () => {
  const days = 24 * 60 * minutes;
  await using net = await KeeperWorld.open({ config: { leafLifetimeMs: 7 * days } });
  net.world.authority.start();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const { scheduler } = net.world;
  await until(() => net.watchedAt.length === 1);
  net.goDown();
  await settle();
  scheduler.suspend(3 * days);
  await scheduler.advance(2 * minutes);
  const judge = () =>
    keeper.trust.verifyChain(keeper.identity.signer("tls").chain, { now: scheduler.now().unix, purpose: "tls" });
  expect(judge).toThrow(refused("CAUSEWAY_IDENTITY_CRL_STALE"));
  net.comeUp();
  await scheduler.advance(30_000);
  await keeper.trusted(net.world.authority.trust().sequence);
  expect(judge).not.toThrow();
});

test("an identity that lapsed while the machine was off comes back with its own keys", async () => {
  await using net = await KeeperWorld.open();
  const first = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  await first.stop();
  net.world.scheduler.skip(3 * day);
  net.world.authority.start();
  await net.world.scheduler.advance(day / 3);
  const again = await net.keeper();
  expect(again.identity.signer("tls").spki).toEqual(first.identity.signer("tls").spki);
  expect(again.identity.validity()[0]?.notAfterUnixMs).toBeGreaterThan(net.world.scheduler.now().unix);
});

test.each(["while it watched", "while it was cut off"])(
  "an identity that was revoked %s is replaced when there is a new token, and only then",
  async (when) => {
    await using net = await KeeperWorld.open();
    const oldToken = await net.joinToken(name);
    const first = await net.keeper({ enrolment: { token: oldToken, spiffeId: name } });
    const alarms: KeeperAlarm[] = [];
    first.onAlarm((alarm) => alarms.push(alarm));
    await until(() => net.watchedAt.length === 1);
    if (when === "while it was cut off") net.goDown();
    await settle();
    await net.world.operator.client.revoke({ spiffeId: name, reason: aca.RevocationReason.KEY_COMPROMISE });
    net.comeUp();
    await net.world.scheduler.advance(60_000);
    expect(alarms.map((a) => a.kind)).toContain("revoked");
    await first.stop();

    const old = { token: oldToken, spiffeId: name };
    expect((await net.keeper()).identity.tls()).toEqual(first.identity.tls());
    expect((await net.keeper({ enrolment: old })).identity.tls()).toEqual(first.identity.tls());
    const again = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
    const now = net.world.scheduler.now().unix;
    const { chain } = again.identity.signer("tls");
    expect(again.trust.verifyChain(chain, { now, purpose: "tls" }).spiffeId).toBe(name);
  },
);

test("renewals that are asked for at the same time are one, and stop is final", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  await Promise.all([keeper.renew(), keeper.renew()]);
  expect(net.world.store.certificates(name, 10)).toHaveLength(6);
  const waiting = keeper.trusted(1_000n).catch((thrown: unknown) => thrown);
  await keeper.stop();
  await keeper.stop();
  expect(await waiting).toMatchObject({ code: "CAUSEWAY_CANCELLED" });
  const watched = net.watchedAt.length;
  await net.world.scheduler.advance(day);
  expect(net.watchedAt.length).toBe(watched);
  await expect(keeper.renew()).rejects.toThrow();
});

test("an identity whose key file is gone is refused, and old key files do not pile up", async () => {
  await using net = await KeeperWorld.open();
  const keeper = await net.keeper({ enrolment: { token: await net.joinToken(name), spiffeId: name } });
  const vault = await net.vault();
  for (let i = 0; i < 3; i++) await saveIdentity(vault, keeper.identity);
  const keys = (await vault.names()).filter((n) => n.startsWith("key-"));
  expect(keys).toHaveLength(3);
  await vault.delete(keys.find((n) => n.includes("mls")) ?? "");
  await expect(loadIdentity(vault)).rejects.toThrow(refused("CAUSEWAY_KEYS_FILE_TAMPERED"));
});
