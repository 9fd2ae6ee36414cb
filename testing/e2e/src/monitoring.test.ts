/** A monitoring system with the certificate that it gets, and what it may not do with it (AAP-103). */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePorts } from "../../../apps/cli/src/processes/free-ports.ts";
import { answerIn, causeway, refusalIn } from "./adversary/program.ts";
import { debianTools } from "./debian.ts";
import { startWorld, until, type World } from "./world.ts";

const prometheus = debianTools({ name: "prometheus", packages: ["prometheus"], check: ["prometheus", "--version"] });
const curl = debianTools({ name: "curl", packages: ["curl"], check: ["curl", "--http2", "--version"] });
const page = readFileSync(new URL("../../../docs/operations/monitoring.md", import.meta.url), "utf8");

let world: World;
let folder: string;

beforeAll(async () => {
  world = await startWorld();
  folder = join(world.home.directory, "etc", "prometheus", "causeway");
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

const monitor = (...more: readonly string[]): Promise<{ spiffeId: string; notAfterUnixMs: number }> =>
  answerIn(world, "monitor", folder, "--once", ...more);

/** What curl gets with the files of the monitor: the status, and the body below it. */
function read(url: string, ...more: readonly string[]): { readonly exitCode: number | null; readonly text: string } {
  const files = ["cacert", "cert", "key"].flatMap((kind) => [
    `--${kind}`,
    join(folder, `${kind === "cacert" ? "ca" : kind}.pem`),
  ]);
  const args = ["--silent", "--show-error", "--http2", "--write-out", "\n%{http_code}", ...files, ...more, url];
  const { status, stdout } = spawnSync("curl", args, { encoding: "utf8", env: "env" in curl ? curl.env : process.env });
  return { exitCode: status, text: stdout };
}

const urlOf = (service: string): string => world.service(service).url;
const post = ["--request", "POST", "--header", "content-type: application/json", "--data", "{}"];

test("curl reads /metrics with the files of causeway monitor --once, which come again as they are [AAP-103]", {
  timeout: 120_000,
}, async ({ skip }) => {
  if ("missing" in curl) return skip(curl.missing);
  const { spiffeId, notAfterUnixMs } = await monitor();
  expect(spiffeId).toBe("spiffe://blue.example/monitor/prometheus");
  expect(await monitor()).toMatchObject({ spiffeId, notAfterUnixMs });
  for (const service of ["gw1", "gw2", "registry", "authority"]) {
    const { text } = read(`${urlOf(`blue.example/${service}`)}/metrics`);
    const start = service.startsWith("gw") ? "gateway" : service;
    expect(text).toContain(`\ncauseway_${start}_start_time_seconds `);
    expect(text).toMatch(/^# TYPE causeway_table_entries gauge$/m);
    expect(text).toMatch(/\n# EOF\n\n200$/);
  }
});

test("another user gets the files with a token, a home of its own and a copy of the configuration, and again without the token", {
  timeout: 120_000,
}, async () => {
  const own = mkdtempSync(join(tmpdir(), "causeway-monitor-"));
  try {
    const config = join(own, "blue.yaml");
    copyFileSync(world.home.configFile("blue.example"), config);
    const { token } = await answerIn<{ token: string }>(world, "cert", "token", "--monitor", "other");
    const once = ["--once", "--name", "other", "--json", "--home", join(own, "home"), "--config", config];
    const run = (...more: readonly string[]) => causeway("monitor", join(own, "etc"), ...once, ...more);
    const first = await run("--token", token);
    expect(JSON.parse(first.stdout)).toMatchObject({ ok: true, spiffeId: "spiffe://blue.example/monitor/other" });
    expect((await run()).stdout).toBe(first.stdout);
    expect(readdirSync(join(own, "etc")).toSorted()).toEqual(["ca.pem", "cert.pem", "key.pem"]);
    await answerIn(world, "cert", "revoke", "blue.example/monitor/other", "--reason", "key-compromise");
    const revoked = await run();
    expect(revoked.exitCode).toBe(1);
    expect(refusalIn(revoked).code).toBe("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
});

test("with the same files it is refused everything else, by every service, and by other domains", {
  timeout: 120_000,
}, async ({ skip }) => {
  if ("missing" in curl) return skip(curl.missing);
  await monitor();
  const calls: readonly (readonly [service: string, path: string])[] = [
    ["gw1", "causeway.admin.v1.GatewayAdminService/Status"],
    ["gw1", "causeway.admin.v1.GatewayAdminService/Drain"],
    ["gw1", "causeway.admin.v1.LimitsService/ListLimits"],
    ["gw1", "causeway.admin.v1.MetricsService/ReadMetrics"],
    ["gw1", "causeway.aap.v1.DiscoveryService/Discover"],
    ["gw1", "causeway.amsp.v1.SyncService/Status"],
    ["registry", "causeway.ars.v1.RegistryService/Discover"],
    ["registry", "causeway.ars.v1.RegistryService/GetRecord"],
    ["registry", "causeway.admin.v1.LimitsService/ListLimits"],
    ["registry", "causeway.admin.v1.MetricsService/ReadMetrics"],
    ["authority", "causeway.admin.v1.LimitsService/SetLimit"],
    ["authority", "causeway.aca.v1.AuthorityService/CreateToken"],
    ["authority", "causeway.aca.v1.AuthorityService/ListCertificates"],
    ["authority", "causeway.aca.v1.AuthorityService/Revoke"],
  ];
  for (const [service, path] of calls) {
    const { text } = read(`${urlOf(`blue.example/${service}`)}/${path}`, ...post);
    expect([path, text]).toEqual([path, expect.stringMatching(/a monitor reads \/metrics and nothing else.*\n403$/s)]);
  }
  const link = read(
    `${urlOf("blue.example/gw1")}/causeway.agp.v1.AgentGatewayService/Link`,
    ...["--request", "POST", "--header", "content-type: application/grpc", "--data", ""],
    ...["--dump-header", "-"],
  );
  expect(link.text).toMatch(/grpc-message: .*expected an agent or a gateway, got the monitor/);
  // Green trusts blue, and tells its monitor nothing all the same.
  for (const service of ["gw2", "registry"]) {
    expect(read(`${urlOf(`green.example/${service}`)}/metrics`, "--insecure").text).toMatch(
      /expected an operator or a monitor of green\.example, got the monitor spiffe:\/\/blue.*\n403$/s,
    );
  }
  expect(read(`${urlOf("green.example/authority")}/metrics`, "--insecure").text).toMatch(/DOMAIN_FOREIGN.*\n403$/s);
});

test("Prometheus scrapes every service with the configuration of docs/operations/monitoring.md, and its rules are good [AAP-103]", {
  timeout: 180_000,
}, async ({ skip }) => {
  if ("missing" in prometheus) return skip(prometheus.missing);
  await monitor();
  const [scraping = "", rules = ""] = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml]) => yaml);
  const etc = join(world.home.directory, "etc", "prometheus");
  const targets = ["authority", "registry", "gw1", "gw2"].map((name) => new URL(urlOf(`blue.example/${name}`)).host);
  const config = `global: { scrape_interval: 1s }\n${scraping}`
    .replaceAll("/etc/prometheus/", `${etc}/`)
    .replace(/targets: .*/, `targets: ${JSON.stringify(targets)}`);
  mkdirSync(etc, { recursive: true });
  writeFileSync(join(etc, "prometheus.yml"), config);
  writeFileSync(join(etc, "causeway-rules.yml"), rules);
  const checked = spawnSync("promtool", ["check", "config", join(etc, "prometheus.yml")], {
    encoding: "utf8",
    env: prometheus.env,
  });
  expect([checked.status, checked.stdout]).toEqual([0, expect.stringContaining("SUCCESS: 3 rules found")]);

  const [port] = await freePorts(1);
  const process = spawn(
    "prometheus",
    [
      `--config.file=${join(etc, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(world.home.directory, "tsdb")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { env: prometheus.env, stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  process.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString("utf8")).slice(-4_000);
  });
  try {
    const api = `http://127.0.0.1:${port}/api/v1`;
    const query = async (expression: string): Promise<readonly Sample[]> => {
      const answer = await fetch(`${api}/query?query=${encodeURIComponent(expression)}`).catch(() => undefined);
      if (answer?.ok !== true) return [];
      return ((await answer.json()) as { data: { result: Sample[] } }).data.result;
    };
    await until("every service to be scraped", async () => (await query("up == 1")).length === 4, 60_000).catch(
      async (cause: unknown) => {
        const told = await fetch(`${api}/targets`).then((answer) => answer.text());
        throw new Error(`${told}\n${said}`, { cause });
      },
    );
    const bounds = await query('causeway_table_entries_max{table="attachments"}');
    expect(bounds.map(({ metric, value }) => [metric["instance"], value[1]]).toSorted()).toEqual(
      targets
        .slice(2)
        .map((target) => [target, "100000"])
        .toSorted(),
    );
    expect(await query('causeway_table_entries{table=~"catalogue|trust_watchers"}')).toHaveLength(2);
    const full = /expr: (causeway_table_entries .*)/.exec(rules)?.[1] ?? "";
    expect((await query(full.replaceAll("> 0.8", ">= 0"))).length).toBeGreaterThan(10);
  } finally {
    await end(process);
  }
});

test("causeway monitor keeps on until it is told to end, and a revoked certificate reads nothing [AAP-103]", {
  timeout: 120_000,
}, async ({ skip }) => {
  if ("missing" in curl) return skip(curl.missing);
  const main = new URL("../../../apps/cli/src/main.ts", import.meta.url).pathname;
  const args = ["monitor", folder, "--name", "grafana", "--json", "--domain", "blue.example"];
  const running = spawn(process.execPath, [...process.execArgv, main, ...args, "--home", world.home.directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [first] = (await once(running.stdout, "data")) as [Buffer];
  expect(JSON.parse(first.toString("utf8"))).toMatchObject({
    ok: true,
    spiffeId: "spiffe://blue.example/monitor/grafana",
  });
  const url = `${urlOf("blue.example/gw1")}/metrics`;
  expect(read(url).text).toMatch(/\n200$/);
  await answerIn(world, "cert", "revoke", "blue.example/monitor/grafana", "--reason", "key-compromise");
  await until("the revocation to be known", () => !read(url).text.endsWith("\n200"));
  running.kill("SIGTERM");
  expect((await once(running, "exit"))[0]).toBe(0);
  const { stdout } = await causeway(
    "cert",
    "token",
    "--monitor",
    "no/segment",
    "--home",
    world.home.directory,
    "--json",
    "--domain",
    "blue.example",
  );
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: "CAUSEWAY_NAME_INVALID" } });
});

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

async function end(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null) return;
  const exited = once(process, "exit");
  process.kill("SIGTERM");
  await exited;
}
