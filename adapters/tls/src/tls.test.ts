import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, createServer, type Server, type TLSSocket } from "node:tls";
import { asUnixMs, isCausewayError, parseDomain, type UnixMs } from "@causeway/core-base";
import {
  createApplicantCertificate,
  encodePem,
  fingerprintOf,
  pinnedTrust,
  type TrustStore,
  type VerifiedPeer,
} from "@causeway/core-identity";
import { createTestDomain, type TestDomain, testCrypto, testKey, trustStateOf } from "@causeway/core-identity/testing";
import { afterAll, afterEach, expect, test } from "vitest";
import {
  channelBinding,
  cipherSuites,
  clientOptions,
  type ExpectedServer,
  fetchPinnedRoot,
  peerOrApplicant,
  refreshServer,
  serverOptions,
  type TlsIdentity,
  tlsErrorOf,
  verifiedPeerOf,
} from "./index.ts";

const now: UnixMs = asUnixMs(Date.now());
const clock = (): UnixMs => now;
const blue = createTestDomain("blue.example", { now });
const green = createTestDomain("green.example", { now });
const gateway = blue.identity("gateway/gw1", { role: "gateway" });
const agent = blue.identity("travel/booker");
const anyGateway: ExpectedServer = { roles: ["gateway"] };

const folder = mkdtempSync(join(tmpdir(), "causeway-tls-"));
afterAll(() => rmSync(folder, { recursive: true }));

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface Listening {
  readonly server: Server;
  readonly port: number;
  readonly url: string;
  /** What the server made of the next connection: a verified peer or the code of the refusal. */
  next(): Promise<{ readonly socket: TLSSocket; readonly judged: VerifiedPeer | string }>;
}

async function listen(trust: TrustStore, identity: TlsIdentity = gateway.tls()): Promise<Listening> {
  const server = createServer(serverOptions(identity));
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  closing.push(() => server.close());
  return {
    server,
    port,
    url: `https://127.0.0.1:${port}`,
    async next() {
      const [socket] = (await once(server, "secureConnection")) as [TLSSocket];
      socket.on("error", () => undefined);
      closing.push(() => socket.destroy());
      return { socket, judged: codeOr(() => verifiedPeerOf(socket, trust, clock())) };
    },
  };
}

function codeOr<T>(run: () => T): T | string {
  try {
    return run();
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown.code;
    throw thrown;
  }
}

/** Opens a connection as `identity`; the socket, or the code that the client fails with. */
function dial(port: number, options: ConnectionOptions): Promise<TLSSocket | string> {
  return new Promise((resolve) => {
    const socket = connect({ ...options, host: "127.0.0.1", port });
    closing.push(() => socket.destroy());
    socket.once("secureConnect", () => resolve(socket));
    socket.on("error", (error) => resolve(tlsErrorOf(error).code));
  });
}

const asClient = (identity: TlsIdentity, trust: TrustStore, expected = anyGateway): ConnectionOptions =>
  clientOptions({ identity, trust, expect: expected, now: clock });

/** Options of a client that checks nothing, as an attacker has them. */
const careless = (options: ConnectionOptions): ConnectionOptions => ({
  ...options,
  rejectUnauthorized: false,
  secureOptions: 0,
});

function connected(socket: TLSSocket | string): TLSSocket {
  if (typeof socket === "string") throw new Error(`expected a connection, got ${socket}`);
  return socket;
}

/** Runs `openssl s_client` against a port and returns what it printed. */
async function sClient(port: number, ...args: readonly string[]): Promise<string> {
  const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let out = "";
  child.stdout.on("data", (data: Buffer) => {
    out += data.toString();
  });
  child.stderr.on("data", (data: Buffer) => {
    out += data.toString();
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end();
  await once(child, "close");
  return out;
}

function files(identity: TlsIdentity & { readonly key: string }, name: string): readonly string[] {
  const cert = join(folder, `${name}.pem`);
  const key = join(folder, `${name}.key`);
  writeFileSync(cert, identity.chainPem);
  writeFileSync(key, identity.key);
  return ["-cert", cert, "-cert_chain", cert, "-key", key];
}

test("ok/ both ends know each other by certificate and share one channel binding [AGP-42]", async () => {
  const trust = blue.store();
  const { port, next } = await listen(trust);
  const served = next();
  const client = connected(await dial(port, asClient(agent.tls(), trust)));
  const { socket, judged } = await served;
  expect(judged).toMatchObject({ spiffeId: "spiffe://blue.example/travel/booker", role: "agent" });
  expect(verifiedPeerOf(client, trust, now)).toMatchObject({ role: "gateway", gateway: { level: 1 } });
  expect(channelBinding(client)).toEqual(channelBinding(socket));
  expect(channelBinding(client)).toHaveLength(32);
  expect(client.alpnProtocol).toBe("h2");

  const servedToo = next();
  const other = connected(await dial(port, asClient(agent.tls(), trust)));
  await servedToo;
  expect(channelBinding(other)).not.toEqual(channelBinding(client));
});

test("fail/ a client without a certificate is refused [AGP-42]", async () => {
  const trust = blue.store();
  const { port, next } = await listen(trust);
  const served = next();
  const { key: _key, cert: _cert, ...without } = asClient(agent.tls(), trust);
  await dial(port, without);
  expect((await served).judged).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING");
});

test("fail/ self-signed, unknown authority, expired, revoked and foreign clients are refused with distinct reasons [AGP-31]", async () => {
  const revoked = blue.identity("travel/lost");
  const domain = createTestDomain("blue.example", { now });
  const trust = blue.store();
  const [peer] = [trust.verifyChain(revoked.chain("tls"), { now, purpose: "tls" })];
  blue.revoke(peer);
  trust.replace(blue.trustState());
  const key = testKey("P-256");
  const hour = 3_600_000;
  const applicant = createApplicantCertificate(testCrypto, key, {
    notBefore: asUnixMs(now - hour),
    notAfter: asUnixMs(now + hour),
  });
  const cases: readonly (readonly [string, TlsIdentity, string])[] = [
    [
      "self-signed",
      { key: key.pem, chainPem: encodePem("CERTIFICATE", applicant) },
      "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
    ],
    [
      "another root of the same name",
      domain.identity("travel/booker").tls(),
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
    ],
    ["foreign domain", green.identity("news/reader").tls(), "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED"],
    [
      "expired",
      blue.identity("a/old", { notBefore: asUnixMs(now - hour), notAfter: asUnixMs(now - 1_000) }).tls(),
      "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
    ],
    ["revoked", revoked.tls(), "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED"],
  ];
  const { port, next } = await listen(trust);
  for (const [what, identity, code] of cases) {
    const served = next();
    await dial(port, asClient(identity, trust));
    expect((await served).judged, what).toBe(code);
  }
  expect(new Set(cases.map(([, , code]) => code)).size).toBe(cases.length);
});

test("fail/ a client refuses a gateway of the wrong domain, role, name or authority before it sends a byte [AGP-32]", async () => {
  const trust = blue.store(green);
  const impostor = createTestDomain("blue.example", { now });
  const cases: readonly (readonly [string, TlsIdentity, ExpectedServer, string])[] = [
    [
      "wrong domain",
      green.identity("gateway/gw1", { role: "gateway" }).tls(),
      { ...anyGateway, domain: parseDomain("blue.example") },
      "CAUSEWAY_IDENTITY_MISMATCH",
    ],
    ["an agent that plays gateway", agent.tls(), anyGateway, "CAUSEWAY_IDENTITY_ROLE_WRONG"],
    [
      "another gateway",
      gateway.tls(),
      { ...anyGateway, spiffeId: blue.identity("gateway/gw2", { role: "gateway" }).spiffeId },
      "CAUSEWAY_IDENTITY_MISMATCH",
    ],
    [
      "another authority",
      impostor.identity("gateway/gw1", { role: "gateway" }).tls(),
      anyGateway,
      "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
    ],
  ];
  for (const [what, identity, expected, code] of cases) {
    const { server, port } = await listen(trust, identity);
    const received: Buffer[] = [];
    server.on("secureConnection", (socket: TLSSocket) =>
      socket.on("data", (data: Buffer) => received.push(data)).on("error", () => undefined),
    );
    expect(await dial(port, asClient(agent.tls(), trust, expected)), what).toBe(code);
    expect(received, what).toEqual([]);
  }
});

test("fail/ a client refuses a gateway that is revoked [AGP-32]", async () => {
  const bad = blue.identity("gateway/bad", { role: "gateway" });
  const trust = blue.store();
  const { port } = await listen(trust, bad.tls());
  connected(await dial(port, asClient(agent.tls(), trust)));
  blue.revoke(trust.verifyChain(bad.chain("tls"), { now, purpose: "tls" }));
  trust.replace(blue.trustState());
  expect(await dial(port, asClient(agent.tls(), trust))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
});

test("fail/ TLS 1.2 and below are refused, at the server and at the client [AGP-40]", async () => {
  const trust = blue.store();
  const { port } = await listen(trust);
  for (const version of ["-tls1_2", "-tls1_1", "-tls1"]) {
    const out = await sClient(port, version, "-cipher", "ALL:@SECLEVEL=0", ...files(agent.tls(), "agent"));
    expect(out, version).toMatch(/protocol version|no protocols available|unsupported protocol/);
    expect(out, version).toContain("Cipher is (NONE)");
  }
  const old = createServer({ ...gatewayPem(), maxVersion: "TLSv1.2" });
  old.on("tlsClientError", () => undefined);
  old.listen(0, "127.0.0.1");
  await once(old, "listening");
  closing.push(() => old.close());
  expect(await dial((old.address() as AddressInfo).port, asClient(agent.tls(), trust))).toBe("CAUSEWAY_UNREACHABLE");
});

const gatewayPem = () => ({ key: gateway.tls().key, cert: gateway.tls().chainPem });

test("fail/ plain text on the port gets no answer but a TLS alert [AGP-40]", async () => {
  const { port } = await listen(blue.store());
  const { connect: connectPlain } = await import("node:net");
  const socket = connectPlain(port, "127.0.0.1");
  socket.on("error", () => undefined);
  let answer = Buffer.alloc(0);
  socket.on("data", (data: Buffer) => {
    answer = Buffer.concat([answer, data]);
  });
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  await once(socket, "close");
  expect([...answer.subarray(0, 1)]).toEqual(answer.length === 0 ? [] : [21]);
});

test("a client is judged by what it sends, also when its issuing certificate is new to the server", async () => {
  const trust = blue.store();
  const state = blue.trustState();
  for (const bundle of state.bundles) bundle.intermediates = [];
  trust.replace(state);
  const { port, next } = await listen(trust);
  const served = next();
  await dial(port, asClient(agent.tls(), blue.store()));
  expect((await served).judged).toMatchObject({ role: "agent" });
});

test("a server asks for a certificate and does not tell which domains it trusts", async () => {
  const { port } = await listen(blue.store());
  const out = await sClient(port, "-tls1_3", ...files(agent.tls(), "agent"));
  expect(out).toContain("No client certificate CA names sent");
  expect(out).toContain("Requested Signature Algorithms");
});

test("exactly three suites are accepted: AES-GCM twice and ChaCha20-Poly1305, and no CCM [AGP-41]", async () => {
  const trust = blue.store();
  const { port } = await listen(trust);
  const all = [...cipherSuites, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];
  const accepted: string[] = [];
  for (const suite of all) {
    const out = await sClient(port, "-tls1_3", "-ciphersuites", suite, ...files(agent.tls(), "agent"));
    if (out.includes(`Cipher is ${suite}`)) accepted.push(suite);
  }
  expect(accepted).toEqual(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]);
});

test("fail/ no resumption, with or without a fresh key exchange, and no early data [AGP-43]", async () => {
  const { port, server } = await listen(blue.store());
  const reused: boolean[] = [];
  server.on("secureConnection", (socket: TLSSocket) => {
    reused.push(socket.isSessionReused());
    socket.on("error", () => undefined).end("bye");
  });
  const session = join(folder, "session.pem");
  const early = join(folder, "early");
  writeFileSync(early, "early data");
  const common = ["-tls1_3", "-alpn", "h2", "-ign_eof", ...files(agent.tls(), "agent")];
  expect(await sClient(port, "-sess_out", session, ...common)).toContain("Cipher is TLS_AES");
  expect(existsSync(session)).toBe(true);
  for (const extra of [[], ["-allow_no_dhe_kex"], ["-early_data", early]]) {
    const again = await sClient(port, "-sess_in", session, ...extra, ...common);
    expect(again).toContain("New, TLSv1.3, Cipher is TLS_AES");
    expect(again).toMatch(/Server Temp Key: /);
    expect(again).not.toContain("Early data was accepted");
  }
  expect(reused).toEqual([false, false, false, false]);
});

test("fail/ a revoked client does not come back with the session of its earlier connection [AGP-43]", async () => {
  const lost = blue.identity("travel/thief");
  const trust = blue.store();
  const { port, next } = await listen(trust);
  const served = next();
  const socket = connect({ ...careless(asClient(lost.tls(), trust)), host: "127.0.0.1", port });
  closing.push(() => socket.destroy());
  const arrived = once(socket, "session");
  const { socket: accepted, judged } = await served;
  const [session] = (await arrived) as [Buffer];
  if (typeof judged === "string") throw new Error(judged);

  blue.revoke(judged);
  trust.replace(blue.trustState());
  expect(trust.isRevoked(judged)).toBe(true);
  // The connection that is still open is not acceptable any more either.
  expect(codeOr(() => verifiedPeerOf(accepted, trust, now))).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  const servedAgain = next();
  const again = await dial(port, { ...careless(asClient(lost.tls(), trust)), session });
  expect(connected(again).isSessionReused()).toBe(false);
  expect((await servedAgain).judged).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
});

test("a renewed identity serves new connections without a restart and leaves the old ones", async () => {
  let identity = gateway;
  const trust = blue.store();
  const { server, port, next } = await listen(trust, identity.tls());
  const served = next();
  const before = connected(await dial(port, asClient(agent.tls(), trust)));
  await served;
  const serialOf = (socket: TLSSocket) => verifiedPeerOf(socket, trust, now).fingerprint;
  const old = serialOf(before);
  identity = blue.identity("gateway/gw1", { role: "gateway" });
  refreshServer(server, identity.tls());
  const servedAfter = next();
  const after = connected(await dial(port, asClient(agent.tls(), trust)));
  const { socket, judged } = await servedAfter;
  expect(serialOf(after)).toBe(fingerprintOf(testCrypto, identity.chain("tls")[0] ?? new Uint8Array()));
  expect(serialOf(after)).not.toBe(old);
  expect(judged).toMatchObject({ role: "agent" });
  expect(socket.alpnProtocol).toBe("h2");
  expect(before.destroyed).toBe(false);
  // The new context is as strict as the first one.
  expect(await sClient(port, "-tls1_2", ...files(agent.tls(), "agent"))).toContain("Cipher is (NONE)");
});

test("a domain that was added to the trust state may connect, one that was removed may not", async () => {
  const trust = blue.store();
  const { port, next } = await listen(trust);
  const judge = async () => {
    const served = next();
    await dial(port, careless(asClient(green.identity("news/reader").tls(), trust)));
    return (await served).judged;
  };
  expect(await judge()).toBe("CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED");
  trust.replace(trustStateOf(blue, green));
  expect(await judge()).toMatchObject({ domain: "green.example" });
  trust.replace(trustStateOf(blue));
  expect(await judge()).toBe("CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED");
});

test("ok/ an applicant finds the authority by the fingerprint of its root and proves its key [ANA-61]", async () => {
  const authority = blue.identity("authority", { role: "authority" });
  const trust = blue.store();
  const { url, port, server } = await listen(trust, authority.tls({ withRoot: true }));
  const key = testKey("P-256");
  const certificate = createApplicantCertificate(testCrypto, key, {
    notBefore: asUnixMs(now - 60_000),
    notAfter: asUnixMs(now + 60_000),
  });
  const identity = { key: key.pem, chainPem: encodePem("CERTIFICATE", certificate) };
  server.on("secureConnection", (socket: TLSSocket) => socket.on("error", () => undefined));
  const root = await fetchPinnedRoot({ url, fingerprint: fingerprintOf(testCrypto, blue.root.certificate), identity });
  expect(root).toEqual(blue.root.certificate);

  const pinned = pinnedTrust(testCrypto, root);
  const served = once(server, "secureConnection");
  const client = connected(
    await dial(port, clientOptions({ identity, trust: pinned, expect: { roles: ["authority"] }, now: clock })),
  );
  const [socket] = (await served) as [TLSSocket];
  expect(peerOrApplicant(socket, trust, testCrypto, now)).toEqual({ kind: "applicant", spki: key.spki });
  expect(verifiedPeerOf(client, pinned, now)).toMatchObject({ role: "authority", domain: "blue.example" });

  const servedPeer = once(server, "secureConnection");
  connected(await dial(port, asClient(agent.tls(), trust, { roles: ["authority"] })));
  const [peerSocket] = (await servedPeer) as [TLSSocket];
  expect(peerOrApplicant(peerSocket, trust, testCrypto, now)).toMatchObject({ kind: "peer", peer: { role: "agent" } });

  await expect(fetchPinnedRoot({ url, fingerprint: "00".repeat(32), identity })).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED",
  });
});

test("fail/ an authority that presents the pinned root but is certified by another is refused", async () => {
  const impostor: TestDomain = createTestDomain("blue.example", { now });
  const fake = impostor.identity("authority", { role: "authority" });
  const chainPem = encodePem("CERTIFICATE", ...fake.chain("tls"), blue.root.certificate);
  const { port } = await listen(blue.store(), { key: fake.tls().key, chainPem });
  const pinned = pinnedTrust(testCrypto, blue.root.certificate);
  const options = clientOptions({ identity: agent.tls(), trust: pinned, expect: { roles: ["authority"] }, now: clock });
  expect(await dial(port, options)).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED");
});
