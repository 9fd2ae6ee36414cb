/** The two domains of the demo: configurations on free ports, every service its own process, trust exchanged. */

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { refuse } from "@causeway/core-base";
import { type DomainConfig, readDomainConfig } from "../config/domain.ts";
import type { Home } from "../home.ts";
import { authorityDirectory } from "../processes/directories.ts";
import { startDomain } from "../processes/domain.ts";
import { holdFolder } from "../processes/folder-lock.ts";
import { freePorts } from "../processes/free-ports.ts";
import { Operator } from "../processes/operator.ts";
import type { Supervisor } from "../processes/supervisor.ts";

export const domains = ["blue.example", "green.example"] as const;

/** Both domains with their configuration and operator. */
export interface DemoNetwork extends AsyncDisposable {
  readonly configs: readonly [DomainConfig, DomainConfig];
  readonly operators: readonly [Operator, Operator];
}

export interface NetworkOptions {
  /** Called as each service serves. */
  readonly onServing?: (name: string, url: string) => void;
  /** Port under which others reach a service that listens on `port`: for a proxy in front of it. Default the same. */
  readonly publicPort?: (port: number) => Promise<number>;
  /** Where a domain keeps its state. Default: a folder of the home. */
  readonly dataDir?: (domain: string) => string | undefined;
  /** Threads of each gateway that do TCP and TLS. Default: as many as the machine has cores for. */
  readonly workers?: number;
}

/** In a home that a demo made; only such a one is made anew. */
const markName = "made-by-demo";

/**
 * Starts both domains in a fresh home. What an earlier demo left there is removed; a home with domains that no demo
 * made is refused, and one that a demo still uses.
 */
export async function startNetwork(
  home: Home,
  supervisor: Supervisor,
  options: NetworkOptions = {},
): Promise<DemoNetwork> {
  const mark = join(home.directory, markName);
  const known = home.domains();
  if (known.length > 0 && !existsSync(mark)) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `${home.directory} holds ${known.join(", ")}, which no demo made and the demo would not touch; name another folder with --home`,
    );
  }
  for (const domain of known) {
    // Throws when an authority runs there.
    if (existsSync(home.configFile(domain)))
      holdFolder(authorityDirectory(readDomainConfig(home.configFile(domain))))[Symbol.dispose]();
  }
  for (const folder of ["domains", "agents", "keys", "logs"])
    rmSync(join(home.directory, folder), { recursive: true, force: true });
  home.ensure();
  writeFileSync(mark, "The demo removes domains, agents, keys and logs of this folder when it starts again.\n");
  const [blue, green] = await writeConfigs(home, options);
  const start = (config: DomainConfig) =>
    startDomain({
      home,
      config,
      configFile: home.configFile(config.domain),
      supervisor,
      ...(options.onServing && { onServing: options.onServing }),
    });
  await Promise.all([start(blue), start(green)]);
  const operators = [await Operator.open(blue), await Operator.open(green)] as const;
  await exchangeTrust(operators[0], operators[1]);
  return {
    configs: [blue, green],
    operators,
    async [Symbol.asyncDispose]() {
      await Promise.all(operators.map((operator) => operator[Symbol.asyncDispose]()));
    },
  };
}

async function writeConfigs(home: Home, options: NetworkOptions): Promise<readonly [DomainConfig, DomainConfig]> {
  const ports = await freePorts(8);
  const publicPorts = await Promise.all(ports.map((port) => options.publicPort?.(port) ?? port));
  const listen = (i: number): string => `listen: "127.0.0.1:${ports[i]}", url: "https://127.0.0.1:${publicPorts[i]}"`;
  const workers = options.workers ?? "auto";
  const write = (domain: string, offset: number, peers: readonly string[]): DomainConfig => {
    const file = home.configFile(domain);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(
      file,
      `domain: ${domain}
dataDir: ${JSON.stringify(options.dataDir?.(domain) ?? "data")}
masterKeyFile: ${JSON.stringify(home.masterKeyFile)}
authority: { ${listen(offset)} }
registry: { ${listen(offset + 1)}, gateway: gw2 }
gateways:
  - { name: gw1, level: 1, ${listen(offset + 2)}, uplinks: [gw2], workers: ${workers} }
  - { name: gw2, level: 2, ${listen(offset + 3)}, peers: ${JSON.stringify(peers)}, workers: ${workers} }
`,
      { mode: 0o600 },
    );
    return readDomainConfig(file);
  };
  const green = write("green.example", 4, []);
  const blue = write("blue.example", 0, [`https://127.0.0.1:${publicPorts[7]}`]);
  return [blue, green];
}

/** Each operator hands the other the bundle of the own domain: the only way in which trust comes about. */
async function exchangeTrust(a: Operator, b: Operator): Promise<void> {
  const [bundleA, bundleB] = await Promise.all([a.bundle(), b.bundle()]);
  await Promise.all([a.authority.addTrust({ bundle: bundleB }), b.authority.addTrust({ bundle: bundleA })]);
}

/** Ports that are free now. Held open together until all are known, so that none comes twice. */
