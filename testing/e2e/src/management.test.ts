/** Limits and metrics of a running domain, as its operator and a monitoring system have them (AAP-103, ANA-48). */
import { execFile, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadIdentity, loadTrust, nodeCrypto, openKeyVault } from "@causeway/adapter-keys";
import { clientOptions } from "@causeway/adapter-tls";
import { TrustStore } from "@causeway/core-identity";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { operatorDirectory } from "../../../apps/cli/src/processes/directories.ts";
import { unixNow } from "../../../apps/cli/src/processes/wiring.ts";
import { causeway } from "./adversary/program.ts";
import { debianTools } from "./debian.ts";
import { startWorld, until, type World } from "./world.ts";

const program = fileURLToPath(new URL("../../../apps/cli/src/main.ts", import.meta.url));
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

async function cli<T>(...args: readonly string[]): Promise<T> {
  const words = [program, ...args, "--json", "--home", world.home.directory, "--domain", "blue.example"];
  return JSON.parse((await promisify(execFile)(process.execPath, words, { maxBuffer: 1e8 })).stdout) as T;
}

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
      { services: [{ service: "gateway gw1" }, { service: "gateway gw2" }] },
    ],
    [["limits", "set", "heldMessagesMax", "9"], ["gateway gw3", "registry"], { changes: [{ to: 9 }, { to: 9 }] }],
    [["limits", "set", "queriesPerMinute", "9"], ["gateway gw3", "registry"], { changes: [] }],
    [["metrics"], ["gateway gw3"], { gateways: [{ gateway: "gw1" }, { gateway: "gw2" }] }],
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
