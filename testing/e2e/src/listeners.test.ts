/**
 * Everything that listens when everything runs that can: services of two domains, the endpoint for A2A clients, an agent
 * that takes direct links. Found in the kernel's tables, and then tried one by one.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, statSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { join } from "node:path";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { connect } from "@causeway/agent/node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enrol } from "./adversary/credentials.ts";
import { causeway, refusalIn } from "./adversary/program.ts";
import { tlsOf } from "./adversary/raw-session.ts";
import {
  h2Preface,
  isResumed,
  type ListeningSocket,
  listeningSockets,
  sayInClear,
  sayOverTls,
  sClient,
  type Target,
  targetOf,
} from "./adversary/scanner.ts";
import { debianTools } from "./debian.ts";
import { startWorld, type World } from "./world.ts";

const python = debianTools({ name: "python", packages: ["python3"], check: ["python3", "--version"] });

let world: World;
let stranger: IdentityKeeper;
let endpointUrl: string;
let directUrl: string;
let sockets: readonly ListeningSocket[];
/** All that listens but the endpoint. */
let doors: readonly Target[];
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  world = resources.use(await startWorld());
  const own = new Set(listeningSockets([process.pid]).map(({ port }) => port));
  stranger = await enrol(world, "blue.example/people/stranger");
  resources.defer(() => stranger.stop());
  const [config] = world.network.configs;
  const common = ["--home", world.home.directory, "--domain", "blue.example", "--json"];
  const name = "blue.example/a2a";
  const endpoint = await world.supervisor.start({
    name,
    args: ["a2a", "--listen", "0", ...common],
    logFile: world.home.logFile(name),
  });
  endpointUrl = endpoint.url;
  const listener = resources.use(
    await connect({
      name: "blue.example/people/listener",
      dataDir: join(world.home.directory, "listener"),
      masterKeyFile: world.home.masterKeyFile,
      gateway: config.gateways[0]?.url ?? "",
      registry: config.registry?.url ?? "",
      token: await world.network.operators[0].agentToken("blue.example/people/listener"),
      direct: { listen: { host: "127.0.0.1", port: 0 } },
    }),
  );
  directUrl = listener.status().direct.listening ?? "";
  const pids = world.supervisor.services.map(({ pid }) => pid ?? 0);
  sockets = [
    ...listeningSockets(pids),
    ...listeningSockets([process.pid]).filter(({ port, protocol }) => protocol === "udp" || !own.has(port)),
  ];
  doors = sockets
    .filter(({ port }) => port !== targetOf(endpointUrl).port)
    .map(({ port }) => ({ host: "127.0.0.1", port }));
}, 180_000);

afterAll(() => resources.disposeAsync());

const atEach = <T>(attempt: (door: Target) => Promise<T>): Promise<T[]> => Promise.all(doors.map(attempt));
const request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

test("what listens are the services, the agent's direct links and the A2A endpoint, and no datagrams", () => {
  const services = world.supervisor.services.map(({ url }) => targetOf(url).port);
  expect(services).toHaveLength(9);
  expect(sockets.map(({ protocol, port }) => `${protocol} ${port}`).toSorted()).toEqual(
    [...services, targetOf(directUrl).port].map((port) => `tcp ${port}`).toSorted(),
  );
  expect(doors).toHaveLength(9);
});

describe("everything that listens, but the A2A endpoint,", () => {
  test("answers clear text with at most a TLS alert [AGP-40]", async () => {
    await atEach(async (door) => {
      for (const bytes of [request, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Uint8Array.of(0, 0, 4, 1, 2, 3)]) {
        const answer = await sayInClear(door, bytes);
        if (answer.length > 0) expect([answer[0], answer.length]).toEqual([21, 7]);
      }
    });
  });

  test.for(["TLSv1", "TLSv1.1", "TLSv1.2"] as const)(
    "refuses %s, with a good certificate of the domain [AGP-40]",
    async (version) => {
      const { ciphers: _ciphers, ...tls } = tlsOf(stranger.identity.tls(), stranger.trust);
      await atEach(async (door) => {
        const old = { ...tls, minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" };
        expect(await sayOverTls(door, old, request)).toMatchObject({
          protocol: undefined,
          received: "",
          error: expect.stringMatching(/PROTOCOL_VERSION|ECONNRESET/),
        });
      });
    },
  );

  test("speaks only the suites of TLS 1.3 with AES-GCM and ChaCha20 [AGP-41]", async () => {
    const suites = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"];
    const weak = ["AES_128_CCM_SHA256", "AES_128_CCM_8_SHA256"];
    const accepted = await atEach(async (door) => {
      const outputs = await Promise.all(
        [...suites, ...weak].map((suite) => sClient(door, "-tls1_3", "-alpn", "h2", "-ciphersuites", `TLS_${suite}`)),
      );
      return [...suites, ...weak].filter((suite, i) => outputs[i]?.includes(`Cipher is TLS_${suite}`));
    });
    expect(accepted).toEqual(doors.map(() => suites));
  });

  test("refuses a client without certificate and says so [AGP-42]", async () => {
    await atEach(async (door) => {
      const outcome = await sayOverTls(door, { ...tlsOf(undefined, stranger.trust) }, h2Preface);
      expect(outcome.received).toContain("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING");
    });
  });

  test("agrees on a fresh key in every handshake, resumes no session and takes no early data [AGP-43]", async () => {
    const tls = tlsOf(stranger.identity.tls(), stranger.trust);
    await atEach(async (door) => {
      const output = await sClient(door, "-tls1_3", "-alpn", "h2");
      expect(output).toContain("New, TLSv1.3");
      expect(output).toMatch(/(Server|Peer) Temp Key: (X25519|ECDH)/);
      expect(output).not.toMatch(/Max Early Data: [1-9]/);
      expect(await isResumed(door, tls)).toBe(false);
    });
  });
});

describe("the A2A endpoint, the one that speaks plain HTTP (C-27),", () => {
  const path = "/agents/green.example/people/bob/.well-known/agent-card.json";

  /** Status of a GET with these headers. */
  const statusOf = (headers: Readonly<Record<string, string>>): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const { host, port } = targetOf(endpointUrl);
      requestHttp({ host, port, path, headers, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });

  test("is reached from this machine only", () => {
    const { port } = targetOf(endpointUrl);
    expect(sockets.filter((socket) => socket.port === port)).toEqual([{ protocol: "tcp", port, isLoopback: true }]);
  });

  test("gives nothing to web pages of other hosts, nor under another name for this machine", async () => {
    const { port } = targetOf(endpointUrl);
    for (const headers of [
      { host: `rebound.example:${port}` },
      { host: `127.0.0.1:${port}`, origin: "https://page.example" },
      { host: `127.0.0.1:${port}`, origin: "null" },
    ])
      expect([401, 403]).toContain(await statusOf(headers));
  });

  test("serves programs of its own Unix user and of no other", async ({ skip }) => {
    const { port } = targetOf(endpointUrl);
    expect(await statusOf({ host: `127.0.0.1:${port}` })).toBe(404);
    if (process.getuid?.() !== 0) return skip("only root starts programs of another user");
    if ("missing" in python) return skip(python.missing);
    const script = `import http.client
c = http.client.HTTPConnection("127.0.0.1", ${port})
c.request("GET", "${path}")
r = c.getresponse()
print(r.status, r.read().decode())`;
    const run = (uid: number) =>
      spawnSync("python3", ["-c", script], { uid, gid: uid, cwd: "/", encoding: "utf8", env: python.env }).stdout;
    expect(run(0)).toMatch(/^404 /);
    expect(run(65_534)).toMatch(/^403 .*CAUSEWAY_FORWARDING_NOT_ALLOWED/);
  });

  test("with --token-file serves whoever has the token, from a file that others cannot read", async () => {
    const file = join(world.home.directory, "a2a-token");
    const common = ["--home", world.home.directory, "--domain", "blue.example", "--json"];
    const name = "blue.example/a2a-with-token";
    const { url } = await world.supervisor.start({
      name,
      args: ["a2a", "--listen", "0", "--as", "blue.example/cli/a2a-with-token", "--token-file", file, ...common],
      logFile: world.home.logFile(name),
    });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const token = readFileSync(file, "utf8").trim();
    const status = async (authorization?: string) =>
      (await fetch(`${url}${path}`, authorization === undefined ? {} : { headers: { authorization } })).status;
    expect([await status(), await status("Bearer nonsense"), await status(`Bearer ${token}`)]).toEqual([401, 401, 404]);
    chmodSync(file, 0o644);
    const refused = await causeway("a2a", "--listen", "0", "--token-file", file, ...common);
    expect(refusalIn(refused)).toMatchObject({
      code: "CAUSEWAY_CONFIG_INVALID",
      message: expect.stringContaining(`chmod 600 ${file}`),
    });
  });
});
