/** One more gateway for a domain of a world, with a configuration of its own. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { World } from "../world.ts";
import { configOf } from "./credentials.ts";

export interface ExtraGateway {
  /** `domain/name` */
  readonly name: string;
  /** host:port; port 0 for any free one. Default any. */
  readonly listen?: string;
  readonly limits?: Readonly<Record<string, number>>;
  /** What its domain prescribes. Default: nothing. */
  readonly gatewayUse?: "always" | "prefer" | "never";
}

/** Writes a configuration for a Level-1 gateway and gets a join token for it: what `causeway gateway` takes. */
export async function describeGateway(world: World, gateway: ExtraGateway): Promise<readonly string[]> {
  const config = configOf(world, gateway.name);
  const operator = world.network.operators.find((each) => each.config === config);
  const short = gateway.name.slice(config.domain.length + 1);
  const core = config.gateways.find(({ level }) => level === 2)?.url ?? "";
  const folder = join(world.home.directory, "extra", short);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "causeway.yaml");
  // YAML is a superset of JSON.
  writeFileSync(
    file,
    JSON.stringify({
      domain: config.domain,
      dataDir: "data",
      masterKeyFile: config.masterKeyFile,
      ...(gateway.gatewayUse && { gatewayUse: gateway.gatewayUse }),
      authority: { listen: new URL(config.authority.url).host },
      gateways: [
        {
          name: short,
          level: 1,
          listen: gateway.listen ?? "127.0.0.1:0",
          uplinks: [core],
          ...(gateway.limits && { limits: gateway.limits }),
        },
      ],
    }),
  );
  const token = await operator?.authority.createToken({
    spiffeId: `spiffe://${config.domain}/gateway/${short}`,
    role: "gateway",
    hosts: ["127.0.0.1"],
    gateway: { gatewayUri: `https://${short}.${config.domain}/amsp`, level: 1, namespaces: [] },
  });
  return ["gateway", short, "--config", file, "--token", token?.token ?? "", "--home", world.home.directory];
}

/** Starts it; its URL once it serves. Stopped with the world. */
export async function startGateway(world: World, gateway: ExtraGateway): Promise<string> {
  const args = await describeGateway(world, gateway);
  const { url } = await world.supervisor.start({ name: gateway.name, args, logFile: world.home.logFile(gateway.name) });
  return url;
}
