import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { loadIdentity, openKeyVault } from "@causeway/adapter-keys";
import type { Agent } from "@causeway/agent/node";
import { aca, decodeFrame, FrameScan, MlsScan, scanFrame, scanMls } from "@causeway/core-wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { linkFrames } from "./link-frames.ts";
import { countInMemory } from "./memory.ts";
import { Tap, tlsRecords } from "./tap.ts";
import { decrypt, versionOf } from "./tls13.ts";
import { startWorld, until, type World } from "./world.ts";

// Built at run time, so that no source file or command line has it.
const marker = ["mar", "ker", "-", Buffer.from("Zebra Quartz 4711").toString("hex")].join("");

let tap: Tap;
let world: World;
let alice: Agent;
let bob: Agent;
const heard: string[] = [];
/** Secrets of the gateways' TLS connections, which only Node's own flag gives away. */
const keyLogFolder = mkdtempSync(join(tmpdir(), "causeway-secrets-"));
const keyLogFile = join(keyLogFolder, "tls.log");

beforeAll(async () => {
  tap = new Tap();
  const environment = (service: string): NodeJS.ProcessEnv =>
    service.includes("/gw") ? { ...process.env, NODE_OPTIONS: `--tls-keylog=${keyLogFile}` } : process.env;
  world = await startWorld({ publicPort: (port) => tap.before(port) }, { environment });
  [alice, bob] = await Promise.all([world.agent("blue.example/people/alice"), world.agent("green.example/people/bob")]);
  bob.onMessage((message) => void heard.push(String(message.data)));
  bob.onRequest("echo", (request) => request.data);
  await bob.register({
    name: "Bob",
    description: "Listens",
    version: "1",
    skills: [{ id: "listen", description: "Listens" }],
  });
  await until("the way to bob", async () =>
    (await alice.discover("listens")).matches.some((m) => m.agentId === bob.id),
  );
  for (let i = 0; i < 20; i += 1) await alice.send(bob.id, `${marker} number ${i}`);
  expect((await alice.request(bob.id, { method: "echo", data: { secret: marker } })).data).toEqual({ secret: marker });
}, 120_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await tap?.[Symbol.asyncDispose]();
  rmSync(keyLogFolder, { recursive: true, force: true });
});

/** Both directions of every connection so far. */
const captures = () => {
  const [clients, servers] = (["client", "server"] as const).map((direction) =>
    tap.streams.filter((stream) => stream.direction === direction).map(({ bytes }) => Buffer.concat(bytes)),
  );
  return (clients ?? []).map((client, index) => ({ client, server: servers?.[index] ?? Buffer.alloc(0) }));
};

const needles = () => [
  Buffer.from(marker, "utf8"),
  Buffer.from(marker, "utf16le"),
  Buffer.from(Buffer.from(marker).toString("base64").slice(4, 40)),
];

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

/** The folders with sealed files. */
const vaultsBelow = (folder: string): ReadonlySet<string> =>
  new Set([...filesBelow(folder)].filter((path) => path.endsWith(".sealed")).map((path) => dirname(path)));

/** Whose link begins with this frame; undefined where it is no frame, since another service is spoken there. */
function linkKind(first: Buffer | undefined): "attachHello" | "peerOpen" | undefined {
  if (first === undefined || scanFrame(first, 0, first.length, new FrameScan()) !== undefined) return undefined;
  const { case: kind } = decodeFrame(first);
  return kind === "attachHello" || kind === "peerOpen" ? kind : undefined;
}

describe("what a message leaves behind", () => {
  test("the receiver has every message", () => {
    expect(heard).toHaveLength(20);
    expect(heard[0]).toContain(marker);
  });

  test("every byte of every connection is a TLS record, and content travels as application data [AGP-55]", () => {
    expect(tap.streams.length).toBeGreaterThan(10);
    for (const stream of tap.streams) {
      const bytes = Buffer.concat(stream.bytes);
      const types = tlsRecords(bytes);
      const firstData = types.indexOf(23);
      // After the first encrypted record nothing but encrypted records follows; TLS 1.3 hides handshakes and alerts in them.
      if (firstData >= 0) expect(types.slice(firstData).filter((type) => type !== 23 && type !== 20)).toEqual([]);
      for (const needle of needles()) expect(bytes.includes(needle)).toBe(false);
      expect(bytes.includes("spiffe://green.example/people/bob")).toBe(false);
    }
  });

  test("every connection is TLS 1.3; who has the keys of a link reads headers, and ciphertext of MLS behind them [ANA-44]", () => {
    const versions = captures().flatMap((each) => versionOf(each) ?? []);
    expect(versions.length).toBeGreaterThan(10);
    expect(new Set(versions)).toEqual(new Set([0x0304]));

    const keyLog = readFileSync(keyLogFile, "utf8");
    const links = captures().flatMap((each) => {
      const opened = decrypt(each, keyLog);
      const kind = opened && linkKind(linkFrames(opened.client)[0]);
      return opened && kind ? [{ kind, ...opened }] : [];
    });
    // The agents' links, and those of the gateways on the way between them.
    const kinds = links.map(({ kind }) => kind);
    expect([kinds.filter((kind) => kind === "attachHello").length >= 2, kinds.length >= 5]).toEqual([true, true]);
    const targets = new Set<string>();
    const scan = new MlsScan();
    let messages = 0;
    for (const { client, server } of links) {
      for (const needle of needles())
        expect([client.includes(needle), server.includes(needle)]).toEqual([false, false]);
      for (const frame of [...linkFrames(client), ...linkFrames(server)]) {
        const body = decodeFrame(frame);
        if (body.case !== "message") continue;
        messages += 1;
        targets.add(body.value.header?.target ?? "");
        expect(
          Object.keys(body.value)
            .filter((field) => !field.startsWith("$"))
            .sort(),
        ).toEqual(["header", "payload"]);
        expect(scanMls(body.value.payload, 0, body.value.payload.length, scan)).toBeUndefined();
      }
    }
    // Twenty messages and an exchange, each over five links.
    expect(messages).toBeGreaterThan(100);
    expect([...targets]).toEqual(expect.arrayContaining([alice.id, bob.id]));
  });

  // Needs /proc/PID/mem.
  test.skipIf(process.platform !== "linux")(
    "no gateway, registry or authority has the marker in its memory [AGP-25, AAP-73, AAP-80]",
    () => {
      const counts = world.supervisor.services.map(({ name, pid }) => ({
        name,
        found: countInMemory(pid ?? 0, needles()),
      }));
      expect(counts).toEqual(world.supervisor.services.map(({ name }) => ({ name, found: 0 })));
      // The search itself finds what is there: this process holds the marker.
      expect(countInMemory(process.pid, needles())).toBeGreaterThan(0);
    },
  );

  test("no gateway and no other service has a key of MLS, whose agents each have one: every key of every vault [AAP-80] [AAP-98]", async () => {
    const held = new Map<string, string[]>();
    for (const directory of vaultsBelow(world.home.directory)) {
      const vault = await openKeyVault({ directory, masterKeyFile: world.home.masterKeyFile, create: false });
      const identity = await loadIdentity(vault);
      const names = (await vault.names()).filter((each) => /^(key|pending)-/.test(each));
      if (identity === undefined) {
        expect(names, directory).toEqual([]);
        continue;
      }
      // Each file is a key that can be opened, and each is one of those that the identity knows.
      for (const each of names) expect(await vault.getKey(each), each).toBeDefined();
      expect(names, directory).toHaveLength(identity.purposes.length);
      const purposes = names.map((each) => each.split("-")[1] ?? "").sort();
      held.set(identity.spiffeId, purposes);
    }
    const holders = (purpose: string) => [...held].filter(([, has]) => has.includes(purpose)).map(([id]) => id);
    expect(holders("mls").sort()).toEqual([alice.id, bob.id].sort());
    const gateways = world.network.configs.flatMap(({ domain, gateways: own }) =>
      own.map(({ name }) => `spiffe://${domain}/gateway/${name}`),
    );
    expect(gateways.length).toBeGreaterThan(1);
    for (const gateway of gateways) expect(held.get(gateway), gateway).toEqual(["record", "tls"]);
    // What the authorities have certified says the same.
    for (const { authority } of world.network.operators) {
      const { certificates } = await authority.listCertificates({});
      expect(certificates.length).toBeGreaterThan(3);
      const certified = certificates.filter(({ purpose }) => purpose === aca.KeyPurpose.MLS);
      for (const { spiffeId } of certified) expect([alice.id, bob.id]).toContain(spiffeId);
    }
  });

  test("no file of the whole installation has it: data, logs, state of the agents [AGP-25, AGP-44]", () => {
    let files = 0;
    for (const path of filesBelow(world.home.directory)) {
      if (statSync(path).size === 0) continue;
      files += 1;
      const bytes = readFileSync(path);
      for (const needle of needles()) expect(bytes.includes(needle), path).toBe(false);
    }
    expect(files).toBeGreaterThan(20);
  });
});
