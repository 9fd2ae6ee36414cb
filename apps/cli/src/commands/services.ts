/** `authority`, `gateway`, `registry`: one service in this process. `up`: a whole domain in child processes. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { createLog } from "@causeway/adapter-telemetry";
import { parseDomain, refuse } from "@causeway/core-base";
import type { Command } from "commander";
import { type DomainConfig, readDomainConfig } from "../config/domain.ts";
import { startAuthority } from "../processes/authority.ts";
import { startDomain } from "../processes/domain.ts";
import { startGateway } from "../processes/gateway.ts";
import { runService } from "../processes/lifecycle.ts";
import { startRegistry } from "../processes/registry.ts";
import { Supervisor } from "../processes/supervisor.ts";
import { type CommonOptions, contextOf, withCommonOptions } from "./context.ts";

interface ServiceOptions extends CommonOptions {
  readonly token?: string;
}

export function addServiceCommands(program: Command): void {
  withCommonOptions(program.command("authority"))
    .description("run the certificate authority (ACA) of a domain")
    .action(async (options: ServiceOptions) => {
      const { config, log } = open(options, "authority");
      await runService(log, () => startAuthority(config, log));
    });

  withCommonOptions(program.command("gateway <name>"))
    .description("run one gateway of a domain")
    .option("--token <token>", "join token, on the first start")
    .action(async (name: string, options: ServiceOptions) => {
      const { config, log } = open(options, `gateway/${name}`);
      await runService(log, (signal) => startGateway(config, name, log, { ...tokenOf(options), signal }));
    });

  withCommonOptions(program.command("registry"))
    .description("run the registration server (ARS) of a domain")
    .option("--token <token>", "join token, on the first start")
    .action(async (options: ServiceOptions) => {
      const { config, log } = open(options, "registry");
      await runService(log, (signal) => startRegistry(config, log, { ...tokenOf(options), signal }));
    });

  withCommonOptions(program.command("up"))
    .description("run every service of a domain on this machine; with --domain and no configuration yet, make one")
    .action(up);
}

function open(options: ServiceOptions, service: string) {
  const { home } = contextOf(options);
  const config = home.config(options);
  return { config, log: createLog({ level: config.logLevel, fields: { domain: config.domain, service } }) };
}

const tokenOf = (options: ServiceOptions) => (options.token === undefined ? {} : { token: options.token });

async function up(options: CommonOptions): Promise<void> {
  const { out, home } = contextOf(options);
  const configFile =
    options.config ?? configFor(home.configFile(options.domain ?? home.domains()[0] ?? ""), options.domain);
  const config: DomainConfig = readDomainConfig(configFile);
  await using supervisor = new Supervisor({
    onExit: (_service, description) => out.line(out.style.bad(description)),
  });
  const stop = new Promise<void>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve());
  });
  await out.during(
    `starting ${config.domain}`,
    startDomain({
      home,
      config,
      configFile,
      supervisor,
      onServing: (name, url) => out.line(`${out.style.good("up")}  ${name.padEnd(32)} ${url}`),
    }),
  );
  out.result(
    {
      ok: true,
      domain: config.domain,
      services: supervisor.services.map(({ name, url, pid }) => ({ name, url, pid })),
    },
    () =>
      `${config.domain} is up. Configuration: ${configFile}. Attach an agent: causeway attach http://127.0.0.1:PORT --name ${config.domain}/tools/NAME`,
  );
  await stop;
  out.line("stopping ...");
}

/** A minimal configuration for a first domain: one gateway that is both edge and core. */
function configFor(file: string, domain: string | undefined): string {
  if (existsSync(file)) return file;
  if (domain === undefined)
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      "name the domain to set up with --domain, or a configuration with --config",
    );
  parseDomain(domain);
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
  return file;
}
