/** Brings up a whole domain on this machine: authority first, then tokens for the rest, then gateways and registry. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DomainConfig } from "../config/domain.ts";
import type { Home } from "../home.ts";
import { gatewayDirectory, registryDirectory } from "./directories.ts";
import { tokenFile } from "./identity.ts";
import { Operator } from "./operator.ts";
import { gatewayToken, registryToken, type TokenRequest } from "./service-tokens.ts";
import type { Supervisor } from "./supervisor.ts";

/** Starts every service of the domain that `configFile` describes. Resolves when all of them serve. */
export async function startDomain(options: {
  readonly home: Home;
  readonly config: DomainConfig;
  readonly configFile: string;
  readonly supervisor: Supervisor;
  /** Called as each service serves. */
  readonly onServing?: (name: string, url: string) => void;
}): Promise<void> {
  const { home, config, configFile, supervisor } = options;
  const launch = async (name: string, ...args: string[]): Promise<void> => {
    const full = `${config.domain}/${name}`;
    const service = await supervisor.start({
      name: full,
      args: [...args, "--config", configFile, "--home", home.directory],
      nodeFlags: args[0] === "gateway" ? gatewayNodeFlags : [],
      logFile: home.logFile(full),
    });
    options.onServing?.(full, service.url);
  };
  await launch("authority", "authority");
  {
    await using operator = await Operator.open(config);
    await layTokens(config, operator);
  }
  // Level 2 first: it is what the others dial.
  const byLevel = config.gateways.toSorted((a, b) => b.level - a.level);
  await Promise.all(byLevel.map((gateway) => launch(gateway.name, "gateway", gateway.name)));
  if (config.registry !== undefined) await launch("registry", "registry");
}

/**
 * Received buffers live for one turn of the event loop. A young generation that fits into the processor's cache is
 * collected often enough for them to be freed by that, instead of by major collections (docs/operations/performance.md).
 * scripts/run.mjs gives the same to a gateway that is started by itself.
 */
const gatewayNodeFlags = ["--max-semi-space-size=2"];

/** A one-time token beside each service that has no identity yet. */
async function layTokens(config: DomainConfig, operator: Operator): Promise<void> {
  const lay = async (directory: string, request: TokenRequest): Promise<void> => {
    if (existsSync(join(directory, "identity"))) return;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { token } = await operator.authority.createToken(request);
    writeFileSync(join(directory, tokenFile), token, { mode: 0o600 });
  };
  for (const gateway of config.gateways)
    await lay(gatewayDirectory(config, gateway.name), gatewayToken(config, gateway));
  if (config.registry !== undefined) await lay(registryDirectory(config), registryToken(config));
}
