/** Agents that run inside a process of the program: enrolled with an operator's token, kept under the home. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Agent, connect, type DiscoveryOptions } from "@causeway/agent/node";
import { domainOf, isCausewayError, type Log, parseAgentId, refuse, shortName, silentLog } from "@causeway/core-base";
import type { DomainConfig } from "../config/domain.ts";
import type { Home } from "../home.ts";
import { Operator } from "./operator.ts";

export interface AgentOptions {
  readonly home: Home;
  /** The domain on this machine; needed without `token` or without `discovery`. */
  readonly config?: DomainConfig;
  /** `domain/namespace/name`. */
  readonly name: string;
  /** Instead of a token that the operator of this machine makes. */
  readonly token?: string;
  readonly instance?: string;
  /** Gateways that it is attached to at once. Default 1. */
  readonly attachments?: number;
  /** Default true. */
  readonly advertise?: boolean;
  /** Messages that it takes each second. Default: any. */
  readonly messagesPerSecondMax?: number;
  /** Ways to find a gateway, in place of the gateways of `config`. */
  readonly discovery?: DiscoveryOptions;
  /** URL of the registry, in place of that of `config`. */
  readonly registry?: string;
  readonly log?: Log;
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
  /** Milliseconds for the first attachment. Default 30,000. */
  readonly timeoutMs?: number;
}

/** Connects an agent through the Level-1 gateways of its domain; enrols it first when it has no identity yet. */
export async function connectAgent(options: AgentOptions): Promise<Agent> {
  const { home, config, discovery, registry = config?.registry?.url } = options;
  const id = parseAgentId(options.name);
  if (config !== undefined && domainOf(id) !== config.domain) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a name under ${config.domain}, got ${options.name}; choose its domain with --domain ${domainOf(id)}`,
    );
  }
  const dataDir = home.agentDirectory(shortName(id));
  const gateways = config?.gateways.toSorted((a, b) => a.level - b.level).map((gateway) => gateway.url) ?? [];
  if (gateways.length === 0 && discovery === undefined)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `${domainOf(id)} has no gateway to attach to; add one under gateways`);
  const connectWith = (token: string | undefined): Promise<Agent> =>
    connect({
      name: id,
      dataDir,
      gateway: gateways,
      masterKeyFile: home.masterKeyFile,
      log: options.log ?? silentLog,
      ...(registry !== undefined && { registry }),
      ...(discovery && { discovery }),
      ...(token !== undefined && { token }),
      ...(options.instance !== undefined && { instance: options.instance }),
      ...(options.attachments !== undefined && { attachments: options.attachments }),
      ...(options.advertise !== undefined && { advertise: options.advertise }),
      ...(options.messagesPerSecondMax !== undefined && { messagesPerSecondMax: options.messagesPerSecondMax }),
      ...(options.signal && { signal: options.signal }),
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    });
  if (options.token !== undefined) return await connectWith(options.token);
  if (!existsSync(join(dataDir, "identity"))) return await connectWith(await mintToken(options));
  try {
    return await connectWith(undefined);
  } catch (thrown) {
    // An enrolment that was interrupted leaves keys without certificates.
    if (!isCausewayError(thrown) || thrown.code !== "CAUSEWAY_IDENTITY_NOT_ENROLLED") throw thrown;
    return await connectWith(await mintToken(options));
  }
}

async function mintToken({ config, name }: AgentOptions): Promise<string> {
  if (config === undefined)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a join token for ${name}, got none; the operator makes one`);
  await using operator = await Operator.open(config);
  return await operator.agentToken(name);
}
