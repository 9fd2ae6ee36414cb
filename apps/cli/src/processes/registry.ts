/** The process of a domain's registry. */
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { createSentenceEmbedder } from "@causeway/adapter-embedder";
import { connectionLimits, h2LimitsOf, peerOf } from "@causeway/adapter-h2";
import { nodeCrypto } from "@causeway/adapter-keys";
import { openRegistryStore } from "@causeway/adapter-sqlite";
import { watchProcess } from "@causeway/adapter-telemetry";
import { type Log, openMetricsType, parseAgentId, parseDomain, refuse } from "@causeway/core-base";
import { LimitsAdmin } from "@causeway/core-wire";
import { Registry, type RegistryLimits, registryRoutes, SyncReader } from "@causeway/service-registry";
import type { DomainConfig, RegistryConfig } from "../config/domain.ts";
import { registryDirectory } from "./directories.ts";
import { holdFolder } from "./folder-lock.ts";
import { openServiceIdentity } from "./identity.ts";
import type { RunningService } from "./lifecycle.ts";
import { dialTransport, servePort } from "./wiring.ts";

export async function startRegistry(
  config: DomainConfig,
  log: Log,
  options: { readonly token?: string; readonly signal: AbortSignal; readonly read?: () => DomainConfig },
): Promise<RunningService> {
  const own = registryIn(config);
  const { read } = options;
  const directory = registryDirectory(config);
  const held = holdFolder(directory);
  const domain = parseDomain(config.domain);
  const keeper = await openServiceIdentity({
    directory,
    masterKeyFile: config.masterKeyFile,
    spiffeId: parseAgentId(`${config.domain}/registry`),
    log,
    ...options,
  });
  const store = openRegistryStore({ path: join(directory, "registry.db") });
  const scheduler = createScheduler();
  const registry = new Registry(
    { domain, remoteGateway: own.remoteGateway, ...limitsOf(own) },
    {
      store,
      trust: keeper.trust,
      crypto: nodeCrypto,
      scheduler,
      log,
      signer: () => keeper.identity.signer("record"),
      ...(own.semantic && { embedder: createSentenceEmbedder() }),
      limitsBeside: connectionLimits,
      processUsage: watchProcess(),
    },
  );
  const reader = new SyncReader({
    self: { spiffeId: keeper.spiffeId, domain },
    trust: keeper.trust,
    crypto: nodeCrypto,
    random: systemRandom,
    scheduler,
    log,
    dial: async (url, signal) => {
      const transport = dialTransport({
        url,
        identity: () => keeper.identity.tls(),
        trust: keeper.trust,
        expect: { roles: ["gateway"], domain },
        limits: h2LimitsOf(own.limits),
      });
      return { transport, peer: await transport.connect(signal), close: () => transport.close() };
    },
    follow: (agentId, record) => registry.follow(agentId, record),
  });
  const limits = new LimitsAdmin({
    limits: registry.limits,
    read: read && (() => ({ limits: limitsOf(registryIn(read())) })),
    log,
  });
  const routes = registryRoutes(registry, limits, peerOf);
  const { port, address } = await servePort({
    keeper,
    host: own.host,
    port: own.port,
    log,
    services: routes.services,
    pages: new Map([["/metrics", (caller) => ({ contentType: openMetricsType, body: routes.metrics(caller) })]]),
    limits: h2LimitsOf(own.limits),
  });
  registry.start();
  reader.start([own.gateway]);
  return {
    url: address.url,
    reload: (by) => void limits.reload(by),
    async stop() {
      await reader[Symbol.asyncDispose]();
      registry.stop();
      await port.stop({ deadlineMs: 2_000 });
      await keeper.stop();
      store.close();
      held[Symbol.dispose]();
    },
  };
}

function registryIn(config: DomainConfig): RegistryConfig {
  if (config.registry !== undefined) return config.registry;
  throw refuse("CAUSEWAY_CONFIG_INVALID", `the configuration of ${config.domain} has no registry`);
}

const limitsOf = ({ queriesPerMinute, limits }: RegistryConfig): Partial<RegistryLimits> => ({
  ...limits,
  queriesPerMinute,
});
