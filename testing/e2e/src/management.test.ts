/** Limits, metrics and tables of a running domain, as its operator and a monitoring system have them (AAP-103, ANA-48). */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { dirname, join } from "node:path";
import { loadIdentity, loadTrust, nodeCrypto, openKeyVault } from "@causeway/adapter-keys";
import { clientOptions } from "@causeway/adapter-tls";
import { TrustStore } from "@causeway/core-identity";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import { operatorDirectory } from "../../../apps/cli/src/processes/directories.ts";
import { unixNow } from "../../../apps/cli/src/processes/wiring.ts";
import { answerIn, causeway } from "./adversary/program.ts";
import { debianTools } from "./debian.ts";
import { startWorld, until, type World } from "./world.ts";

/** What Prometheus's own clients are tested with. */
const python = debianTools({
  name: "python-prometheus",
  packages: ["python3", "python3-prometheus-client"],
  check: ["python3", "-c", "import prometheus_client.openmetrics.parser"],
});
const readWithPrometheus = `
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
print(json.dumps({f.name: [f.type, [[s.labels, s.value] for s in f.samples]] for f in families}))
`;
let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

const cli = <T>(...args: readonly string[]): Promise<T> => answerIn<T>(world, ...args);

interface LimitRow {
  readonly service: string;
  readonly name: string;
  readonly value: string | number;
  readonly setBy: string;
}

const valuesOf = async (name: string): Promise<Record<string, string>> => {
  const { limits } = await cli<{ limits: LimitRow[] }>("limits");
  return Object.fromEntries(
    limits.filter((each) => each.name === name).map((each) => [each.service, String(each.value)]),
  );
};

/** The lines that a gateway has written. */
const logOf = (gateway: string): readonly Readonly<Record<string, unknown>>[] =>
  readFileSync(world.home.logFile(`blue.example/${gateway}`), "utf8")
    .split("\n")
    .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Record<string, unknown>] : []));

/** A plain GET over HTTP/2 with the operator's certificate, as a monitoring system makes it. */
async function get(path: string): Promise<{ readonly status: unknown; readonly type: unknown; readonly text: string }> {
  const [config] = world.network.configs;
  const vault = await openKeyVault({ directory: operatorDirectory(config), masterKeyFile: config.masterKeyFile });
  const identity = await loadIdentity(vault);
  const state = await loadTrust(vault);
  if (identity === undefined || state === undefined) throw new Error("the operator has no identity here");
  const trust = new TrustStore(nodeCrypto);
  trust.replace(state);
  const tls = clientOptions({ identity: identity.tls(), trust, expect: { roles: ["gateway"] }, now: unixNow });
  const session = connect(config.gateways[0]?.url ?? "", tls);
  try {
    const stream = session.request({ ":path": path });
    const answered = new Promise<Record<string, unknown>>((resolve, reject) => {
      stream.once("response", resolve);
      session.once("error", reject);
    });
    let text = "";
    for await (const chunk of stream.setEncoding("utf8")) text += chunk;
    const { ":status": status, "content-type": type } = await answered;
    return { status, type, text };
  } finally {
    session.close();
  }
}

test("an operator lists, sets and reloads limits of gateways and the registry on the command line [AAP-103]", {
  timeout: 120_000,
}, async () => {
  expect(await valuesOf("heldMessagesMax")).toEqual({ "gateway gw1": "100", "gateway gw2": "100" });
  expect(await valuesOf("queriesPerMinute")).toMatchObject({ registry: expect.stringMatching(/^\d+$/) });
  const { changes } = await cli<{ changes: unknown[] }>("limits", "set", "heldMessagesMax", "7", "--gateway", "gw1");
  expect(changes).toHaveLength(1);
  expect(await valuesOf("heldMessagesMax")).toEqual({ "gateway gw1": "7", "gateway gw2": "100" });
  const { limits } = await cli<{ limits: LimitRow[] }>("limits", "list", "--changed", "--gateway", "gw1");
  expect(limits).toMatchObject([{ name: "heldMessagesMax", setBy: "spiffe://blue.example/operator/admin" }]);

  // The file says otherwise, and a signal makes it count.
  const file = world.home.configFile("blue.example");
  const before = readFileSync(file, "utf8");
  const changed = before.replace("name: gw1,", "name: gw1, limits: { heldMessagesMax: 31 },");
  expect(changed).not.toBe(before);
  writeFileSync(file, changed);
  process.kill(world.service("blue.example/gw1").pid ?? 0, "SIGHUP");
  await until("the reload", async () => (await valuesOf("heldMessagesMax"))["gateway gw1"] === "31");
  writeFileSync(file, before);
  await cli("limits", "reload");
  expect(await valuesOf("heldMessagesMax")).toEqual({ "gateway gw1": "100", "gateway gw2": "100" });
});

test("so they are of the authority: a bound that is set counts for the next call, and ends with a reload [AAP-103]", {
  timeout: 120_000,
}, async () => {
  const rows = async () => (await cli<{ limits: LimitRow[] }>("limits", "list", "--authority")).limits;
  expect(new Set((await rows()).map(({ service }) => service))).toEqual(new Set(["authority"]));
  expect(await valuesOf("tokenLifetimeMsMax")).toEqual({ authority: "2592000000" });
  const token = () => cli("cert", "token", "blue.example/management/later", "--hours", "2");
  await token();
  await cli("limits", "set", "tokenLifetimeMsMax", "3600000", "--authority");
  await expect(token()).rejects.toMatchObject({ stdout: expect.stringContaining("CAUSEWAY_LIMIT_COUNT") });
  expect(await valuesOf("connection.handshakeMs")).toMatchObject({ authority: "10000" });
  expect(await cli("limits", "reload", "--authority")).toMatchObject({
    services: [{ service: "authority", changed: [{ name: "tokenLifetimeMsMax", from: 3_600_000, to: 2_592_000_000 }] }],
  });
  await token();

  // The lifetime of certificates stands elsewhere in the file than the others.
  const file = world.home.configFile("blue.example");
  const before = readFileSync(file, "utf8");
  const changed = before.replace(
    "authority: {",
    "authority: { certificateLifetimeMs: 600000, limits: { applicationsMax: 3 },",
  );
  expect(changed).not.toBe(before);
  writeFileSync(file, changed);
  try {
    process.kill(world.service("blue.example/authority").pid ?? 0, "SIGHUP");
    await until("the reload", async () => (await valuesOf("applicationsMax"))["authority"] === "3");
    expect(await valuesOf("leafLifetimeMs")).toEqual({ authority: "600000" });
  } finally {
    writeFileSync(file, before);
  }
  await cli("limits", "reload", "--authority");
  expect(await valuesOf("leafLifetimeMs")).toEqual({ authority: "86400000" });
});

test("a rule written to the file counts from SIGHUP on, and one taken out ends with the reload, in the same process [AAP-7]", {
  timeout: 120_000,
}, async () => {
  const alice = await world.agent("blue.example/management/alice");
  const bob = await world.agent("green.example/management/bob");
  bob.onRequest("echo", (request) => request.data);
  const card = { name: "Bob", description: "Echoes", version: "1" };
  await bob.register({ ...card, skills: [{ id: "echo", description: "Says again what management said" }] });
  await until("the way to bob", async () =>
    (await alice.discover("says again what management said")).matches.some((match) => match.agentId === bob.id),
  );
  const ask = async (text: string): Promise<unknown> =>
    (await alice.request(bob.id, { method: "echo", data: { text } })).data;
  expect(await ask("one")).toEqual({ text: "one" });

  const { pid } = world.service("blue.example/gw2");
  const file = world.home.configFile("blue.example");
  const before = readFileSync(file, "utf8");
  const rule = "{ name: no-green, effect: deny, source: blue.example, target: green.example }";
  const changed = before.replace("name: gw2,", `name: gw2, policy: [${rule}],`);
  expect(changed).not.toBe(before);
  writeFileSync(file, changed);
  process.kill(pid ?? 0, "SIGHUP");
  const text = "no-green: deny from blue.example to green.example";
  try {
    await until("the rule", () => logOf("gw2").some(({ event, by }) => event === "policy.changed" && by === "SIGHUP"));
    await expect(ask("two")).rejects.toMatchObject({ code: "CAUSEWAY_FORWARDING_NOT_ALLOWED" });
    // An acknowledgement of the answer before may be denied as well.
    const denied = logOf("gw2").filter(({ event }) => event === "forwarding.policy_denied");
    expect(denied.length).toBeGreaterThan(0);
    for (const line of denied)
      expect(line).toMatchObject({ source: alice.id, target: bob.id, rule: "no-green", ruleNumber: 1, ruleText: text });
  } finally {
    writeFileSync(file, before);
  }
  expect(await cli("limits", "reload", "--gateway", "gw2")).toMatchObject({
    services: [{ service: "gateway gw2", changed: [], rules: { added: [], removed: [text], reordered: false } }],
  });
  expect(await ask("three")).toEqual({ text: "three" });
  expect(world.service("blue.example/gw2").pid).toBe(pid);
});

test("the cap on an agent's discovery queries is changed while the registry runs, and counts for the next query [ANA-48]", {
  timeout: 120_000,
}, async () => {
  const agent = await world.agent("blue.example/management/seeker");
  await agent.discover("anything");
  await cli("limits", "set", "queriesPerMinute", "1", "--registry");
  await agent.discover("anything").catch(() => undefined);
  await expect(agent.discover("anything")).rejects.toMatchObject({ code: "CAUSEWAY_LIMIT_RATE" });
  await cli("limits", "set", "queriesPerMinute", "600000", "--registry");
  await until("the new rate to fill up", () =>
    agent.discover("anything").then(
      () => true,
      () => false,
    ),
  );
});

test("GET /metrics with an operator's certificate answers what Prometheus's own parser reads: each table with its bound, counters, the process [AAP-103]", {
  timeout: 120_000,
}, async ({ skip }) => {
  const { status, type, text } = await get("/metrics");
  expect([status, type]).toEqual([200, "application/openmetrics-text; version=1.0.0; charset=utf-8"]);
  if ("missing" in python) return skip(python.missing);
  const read = spawnSync("python3", ["-c", readWithPrometheus], { env: python.env, input: text, encoding: "utf8" });
  expect(read.stderr).toBe("");
  const families = JSON.parse(read.stdout) as Record<string, [string, [Record<string, string>, number][]]>;
  const sample = (name: string, table: string): number | undefined =>
    families[name]?.[1].find(([labels]) => labels["table"] === table)?.[1];
  expect(sample("causeway_table_entries_max", "attachments")).toBe(100_000);
  expect(sample("causeway_table_entries", "peer_links")).toBeGreaterThan(0);
  expect(sample("causeway_table_bytes_max", "mailboxes")).toBe(1_073_741_824);
  expect(families["causeway_gateway_messages_in"]?.[0]).toBe("counter");
  expect(families["process_cpu_seconds"]?.[1][0]?.[1]).toBeGreaterThan(0);
  expect(families["process_resident_memory_bytes"]?.[1][0]?.[1]).toBeGreaterThan(10_000_000);
  const { gateways } = await cli<{ gateways: { gateway: string; text: string }[] }>("metrics");
  expect(gateways.map((each) => [each.gateway, each.text.endsWith("# EOF\n")])).toEqual([
    ["gw1", true],
    ["gw2", true],
  ]);
});

describe("the tables of the gateways on the command line", () => {
  interface AttachmentRow {
    readonly gateway: string;
    readonly agentId: string;
    readonly state: string;
    readonly condition: string;
    readonly features: readonly string[];
    readonly sinceUnixMs: number;
    readonly expiresUnixMs: number;
    readonly lastHeardUnixMs: number;
    readonly messagesIn: number;
    readonly messagesOut: number;
  }
  const attachments = async (name: string) =>
    (await cli<{ attachments: AttachmentRow[] }>("attachment", "list", name)).attachments;
  /** As somebody at a terminal has them. */
  const lines = async (...words: readonly string[]): Promise<readonly string[]> => {
    const options = ["--home", world.home.directory, "--domain", "blue.example"];
    const { exitCode, stdout, stderr } = await causeway(...words, ...options);
    expect([exitCode, stderr]).toEqual([0, ""]);
    return stdout.trimEnd().split("\n");
  };

  test("attachment list shows agents with what they say of themselves and their counters [AAP-64] [AAP-83] [ANA-100]", {
    timeout: 120_000,
  }, async () => {
    const ann = await world.agent("blue.example/tables/ann");
    const ben = await world.agent("blue.example/tables/ben");
    ben.onRequest("ping", () => "pong");
    await ann.request(ben.id, { method: "ping" });
    const [annRow, benRow, ...others] = (await attachments("blue.example/tables")).toSorted((a, b) =>
      a.agentId < b.agentId ? -1 : 1,
    );
    expect(others).toEqual([]);
    expect(annRow).toMatchObject({ gateway: "gw1", agentId: ann.id, state: "ATTACHED", condition: "running" });
    expect(annRow?.features).toContain("mls/1");
    expect(annRow?.sinceUnixMs).toBeLessThanOrEqual(annRow?.lastHeardUnixMs ?? 0);
    expect(annRow?.expiresUnixMs).toBeGreaterThan(annRow?.lastHeardUnixMs ?? 0);
    expect(annRow?.messagesIn).toBeGreaterThan(0);
    expect(benRow?.messagesOut).toBeGreaterThan(0);
    const seen = ["running"];
    for (const condition of ["degraded", "offline"] as const) {
      ann.setCondition(condition);
      await until(`the agent to be seen as ${condition}`, async () => {
        const [row] = await attachments("blue.example/tables/ann");
        if (row !== undefined && row.condition !== seen.at(-1)) seen.push(row.condition);
        return row?.condition === condition;
      });
    }
    expect(seen).toEqual(["running", "degraded", "offline"]);
    const [head, ...rows] = await lines("attachment", "list", "blue.example/tables", "--limit", "1");
    expect(head).toMatch(/^gateway +agent +instance +state +says +model +since +until +heard +in +out +features$/);
    expect(rows).toEqual([
      expect.stringMatching(/^gw1 +blue\.example\/tables\/(ann|ben) .* ATTACHED +(offline|running) +stateful +2\d{3}-/),
      "gw1 has more than is shown; name an agent or namespace, or raise --limit",
    ]);
  });

  test("an agent that moves is listed at its new gateway alone [AAP-33]", { timeout: 120_000 }, async () => {
    const [config] = world.network.configs;
    const name = "blue.example/tables/mover";
    for (const at of ["gw1", "gw2"]) {
      const gateways = config.gateways.filter((gateway) => gateway.name === at);
      const agent = await connectAgent({ home: world.home, config: { ...config, gateways }, name });
      expect((await attachments(name)).map((row) => [row.gateway, row.state])).toEqual([[at, "ATTACHED"]]);
      await agent.close();
    }
    await until("the agent to be gone", async () => (await attachments(name)).length === 0);
  });

  test("route list and subscription list follow an agent that registers and one that subscribes [AGP-59]", {
    timeout: 120_000,
  }, async () => {
    const owner = await world.agent("blue.example/tables/owner");
    const skills = [{ id: "news", description: "Has news" }];
    await owner.register({ name: "Owner", description: "Has news", version: "1", skills });
    const topic = await owner.createTopic("news");
    const reader = await world.agent("blue.example/tables/reader");
    const subscription = await reader.subscribe(topic, () => undefined);
    const routes = async () =>
      (await cli<{ routes: Record<string, unknown>[] }>("route", "list", "blue.example/tables/owner")).routes;
    await until("the way at both gateways", async () => (await routes()).length === 2);
    expect((await routes()).map(({ gateway, kind, status }) => [gateway, kind, status])).toEqual([
      ["gw1", "local", "online"],
      ["gw2", "peer", "online"],
    ]);
    expect((await lines("route", "list", "--gateway", "gw1")).at(-1)).toMatch(
      /^gw1 +\* +uplink +https:.* default route$/,
    );

    const subscriptions = async () =>
      (await cli<{ subscriptions: Record<string, unknown>[] }>("subscription", "list")).subscriptions.filter(
        (each) => each["topic"] === topic,
      );
    await until("interest to be told", async () => (await subscriptions()).length === 3);
    const [gw1] = world.network.configs[0].gateways;
    expect(await subscriptions()).toMatchObject([
      // An owner hears its own topic.
      { gateway: "gw1", subscriber: owner.id, state: "ATTACHED", peer: "" },
      { gateway: "gw1", subscriber: reader.id, state: "ATTACHED", peer: "" },
      { gateway: "gw2", subscriber: gw1?.uri, state: "ANNOUNCED", peer: gw1?.uri },
    ]);
    expect(await lines("subscription", "list", "--gateway", "gw1")).toContainEqual(
      expect.stringMatching(/^gw1 +blue\.example\/tables\/owner\/news +blue\.example\/tables\/reader .* ATTACHED$/),
    );
    await subscription.close();
    await until("the subscription to end", async () => (await subscriptions()).length === 2);
    expect((await subscriptions()).map((each) => each["subscriber"])).toEqual([owner.id, gw1?.uri]);
  });
});

describe("with a gateway and the registry down", () => {
  /** The domain as it runs, with one more gateway, and a registry elsewhere: nobody listens on port 1. */
  let args: readonly string[] = [];
  beforeAll(() => {
    const file = world.home.configFile("blue.example");
    const url = world.network.configs[0].registry?.url ?? "";
    const down = "https://127.0.0.1:1";
    const text = readFileSync(file, "utf8").replace(`url: "${url}"`, `url: "${down}"`);
    expect(text).toContain(`url: "${down}"`);
    const copy = join(dirname(file), "with-more.yaml");
    writeFileSync(copy, `${text}  - { name: gw3, level: 1, listen: "127.0.0.1:1", url: "${down}", uplinks: [gw2] }\n`);
    args = ["--config", copy];
  });

  const failed = (service: string) => ({
    service,
    error: { code: "CAUSEWAY_UNREACHABLE", message: expect.stringContaining(`${service}: `) },
  });

  const nobody = "blue.example/management/nobody";
  test.each([
    [
      ["limits", "list"],
      ["gateway gw3", "registry"],
      { limits: expect.arrayContaining([expect.objectContaining({ service: "gateway gw2" })]) },
    ],
    [
      ["limits", "reload"],
      ["gateway gw3", "registry"],
      { services: [{ service: "gateway gw1" }, { service: "gateway gw2" }, { service: "authority" }] },
    ],
    [["limits", "set", "heldMessagesMax", "9"], ["gateway gw3", "registry"], { changes: [{ to: 9 }, { to: 9 }] }],
    [["limits", "set", "queriesPerMinute", "9"], ["gateway gw3", "registry"], { changes: [] }],
    [
      ["metrics"],
      ["gateway gw3", "registry"],
      { gateways: [{ gateway: "gw1" }, { gateway: "gw2" }], services: [{ service: "authority" }] },
    ],
    [["mailbox", "list"], ["gateway gw3"], { mailboxes: [], totals: [{ gateway: "gw1" }, { gateway: "gw2" }] }],
    [["mailbox", "show", nobody], ["gateway gw3"], { messages: [], total: 0 }],
    [["mailbox", "dead-letters"], ["gateway gw3"], { messages: [], total: 0 }],
    [["mailbox", "replay", "--all"], ["gateway gw3"], { replayed: 0, refused: 0 }],
    [["mailbox", "purge", nobody], ["gateway gw3"], { purged: 0 }],
    [
      ["peer", "list"],
      ["gateway gw3"],
      { peers: expect.arrayContaining([expect.objectContaining({ gateway: "gw1" })]) },
    ],
    [["attachment", "list", nobody], ["gateway gw3"], { attachments: [], truncated: [] }],
    [["route", "list", nobody], ["gateway gw3"], { routes: [], truncated: [] }],
    [["subscription", "list"], ["gateway gw3"], { subscriptions: expect.any(Array), truncated: [] }],
    [["explain", nobody], ["gateway gw3"], { summaries: [{ gateway: "gw1" }, { gateway: "gw2" }] }],
  ] as const)("%j shows what the others say, names who did not answer, and ends with 1", async (words, down, rest) => {
    const { exitCode, stdout, stderr } = await causeway(...words, "--json", ...args);
    expect([exitCode, stderr]).toEqual([1, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, ...rest, failures: down.map(failed) });
  });

  test("for people the result is on standard output and who did not answer on standard error", async () => {
    const { exitCode, stdout, stderr } = await causeway("limits", "set", "heldMessagesMax", "100", ...args);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^gateway gw1: heldMessagesMax is 100.*\ngateway gw2: heldMessagesMax is 100/);
    expect(stderr).toMatch(/^causeway: gateway gw3: .*127\.0\.0\.1:1.* \[CAUSEWAY_UNREACHABLE\]$/m);
    expect(stderr).toMatch(/^causeway: registry: .*127\.0\.0\.1:1.* \[CAUSEWAY_UNREACHABLE\]$/m);
  });

  test("who asks only one that is down gets its error, with its name", async () => {
    for (const words of [
      ["metrics"],
      ["limits", "set", "heldMessagesMax", "9"],
      ["mailbox", "list"],
      ["peer", "list"],
    ]) {
      const { exitCode, stdout } = await causeway(...words, "--gateway", "gw3", "--json", ...args);
      expect([words, exitCode]).toEqual([words, 1]);
      expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: failed("gateway gw3").error });
    }
  });

  test("a value that every gateway refuses is to be corrected in the command", async () => {
    const { exitCode, stdout } = await causeway(
      "limits",
      "set",
      "heldMessagesMax",
      "9999999999999999",
      "--json",
      ...args,
    );
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: "CAUSEWAY_CONFIG_INVALID" } });
  });
});
