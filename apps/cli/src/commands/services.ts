/** `authority`, `gateway`, `registry`: one service in this process. `up`: a whole domain in child processes. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { createLog } from "@causeway/adapter-telemetry";
import { parseDomain, refuse } from "@causeway/core-base";
import type { Command } from "commander";
import { type DomainConfig, readDomainConfig } from "../config/domain.ts";
import { runService } from "../processes/lifecycle.ts";
import { exitCodeOf, interruption } from "../terminal/interruption.ts";
import { tokenOf } from "./acting.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";

interface ServiceOptions extends CommonOptions {
  readonly token?: string;
}

export function addServiceCommands(program: Command): void {
  withCommonOptions(program.command("authority"))
    .description("run the certificate authority (ACA) of a domain")
    .action(async (options: ServiceOptions) => {
      const { config, log, read } = open(options, "authority");
      const { startAuthority } = await import("../processes/authority.ts");
      await runService(log, () => startAuthority(config, log, read));
    });

  withCommonOptions(program.command("gateway <name>"))
    .description("run one gateway of a domain")
    .option("--workers <count>", "threads that do TCP and TLS, or auto, in place of what the configuration says")
    .option("--token <token>", "join token, on the first start")
    .action(async (name: string, options: ServiceOptions & { readonly workers?: string }) => {
      const { config, log, read } = open(options, `gateway/${name}`);
      const { startGateway } = await import("../processes/gateway.ts");
      await runService(log, (signal) =>
        startGateway(withWorkers(config, name, options.workers), name, log, { ...tokenOf(options), signal, read }),
      );
    });

  withCommonOptions(program.command("registry"))
    .description("run the registration server (ARS) of a domain")
    .option("--token <token>", "join token, on the first start")
    .action(async (options: ServiceOptions) => {
      const { config, log, read } = open(options, "registry");
      const { startRegistry } = await import("../processes/registry.ts");
      await runService(log, (signal) => startRegistry(config, log, { ...tokenOf(options), signal, read }));
    });

  withCommonOptions(program.command("up"))
    .description("run every service of a domain on this machine; with --domain and no configuration yet, make one")
    .action(up);
}

function open(options: ServiceOptions, service: string) {
  const { home } = contextOf(options);
  const read = () => home.config(options);
  const config = read();
  return { config, read, log: createLog({ level: config.logLevel, fields: { domain: config.domain, service } }) };
}

/** The configuration with so many workers for a gateway; as it is when none are given. */
function withWorkers(config: DomainConfig, name: string, given: string | undefined): DomainConfig {
  if (given === undefined) return config;
  const workers: number | "auto" | undefined =
    given === "auto" ? given : /^\d{1,2}$/.test(given) ? Number(given) : undefined;
  if (workers === undefined || (workers !== "auto" && workers > workersMax))
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected --workers auto or 0 to 64, got ${JSON.stringify(given)}`);
  const gateways = config.gateways.map((each) => (each.name === name ? { ...each, workers } : each));
  return { ...config, gateways };
}

/** As the schema of the configuration has it. */
const workersMax = 64;

async function up(options: CommonOptions): Promise<void> {
  const stop = interruption();
  const { out, home } = contextOf(options);
  const file = options.config ?? (await configFileOf(options));
  const config = options.config === undefined ? readDomainConfig(file) : home.config(options);
  const { startDomain } = await import("../processes/domain.ts");
  const { Supervisor } = await import("../processes/supervisor.ts");
  await using supervisor = new Supervisor({
    onNotice: (_service, description) => process.stderr.write(`${description}\n`),
  });
  const started = startDomain({
    home,
    config,
    configFile: file,
    supervisor,
    onServing: (name, url) => out.line(`${out.style.good("up")}  ${name.padEnd(32)} ${url}`),
  });
  const interrupted = await out.during(`starting ${config.domain}`, Promise.race([started, stop]));
  if (interrupted !== undefined) {
    // What is not up yet ends with an error that nobody waits for.
    started.catch(() => undefined);
    process.exitCode = exitCodeOf(interrupted);
    return;
  }
  out.result(
    {
      ok: true,
      domain: config.domain,
      configuration: file,
      services: supervisor.services.map(({ name, url, pid }) => ({ name, url, pid })),
    },
    () =>
      `${config.domain} is up. Configuration: ${file}. Attach an agent: causeway attach http://127.0.0.1:PORT --name ${config.domain}/tools/NAME`,
  );
  await stop;
  out.line("stopping ...");
}

/** The configuration of a domain of the home; a first one is written for a domain that has none yet. */
async function configFileOf(options: CommonOptions): Promise<string> {
  const { home } = contextOf(options);
  const domain = options.domain ?? process.env["CAUSEWAY_DOMAIN"];
  if (domain === undefined) {
    if (home.domains().length > 0) return home.configFile(home.config({}).domain);
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `no domain is set up in ${home.directory}; name the one to set up with --domain, or a configuration with --config`,
    );
  }
  const file = home.configFile(parseDomain(domain));
  if (!existsSync(file)) writeFirstConfig(file, domain);
  return file;
}

/** One gateway at the edge, one in the core. */
function writeFirstConfig(file: string, domain: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(
    file,
    `domain: ${domain}
authority: { listen: "127.0.0.1:7400" }
registry: { listen: "127.0.0.1:7401", gateway: core }
gateways:
  - { name: edge, level: 1, listen: "127.0.0.1:7402", uplinks: [core] }
  - { name: core, level: 2, listen: "127.0.0.1:7403" }
`,
    { mode: 0o600 },
  );
}
