/** The process of one gateway. */
import { join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { serveDatagrams } from "@causeway/adapter-discovery";
import {
  autoWorkers,
  connectionLimits,
  h2LimitsOf,
  type Port,
  peerOf,
  weighConnectionMemory,
} from "@causeway/adapter-h2";
import { nodeCrypto } from "@causeway/adapter-keys";
import { openMailboxStore } from "@causeway/adapter-segments";
import { openGatewayStore } from "@causeway/adapter-sqlite";
import { watchProcess } from "@causeway/adapter-telemetry";
import { type Log, openMetricsType, parseAgentId, parseDomain, parseGatewayUri, refuse } from "@causeway/core-base";
import { createGateway, type DialOptions } from "@causeway/service-gateway";
import type { DomainConfig, GatewayConfig } from "../config/domain.ts";
import { gatewayDirectory } from "./directories.ts";
import { holdFolder } from "./folder-lock.ts";
import { openServiceIdentity } from "./identity.ts";
import type { RunningService } from "./lifecycle.ts";
import { dialLink, dialTransport, servePort } from "./wiring.ts";

export async function startGateway(
  config: DomainConfig,
  name: string,
  log: Log,
  options: { readonly token?: string; readonly signal: AbortSignal; readonly read?: () => DomainConfig },
): Promise<RunningService> {
  const own = gatewayIn(config, name);
  const { read } = options;
  const directory = gatewayDirectory(config, name);
  const held = holdFolder(directory);
  const keeper = await openServiceIdentity({
    directory,
    masterKeyFile: config.masterKeyFile,
    spiffeId: parseAgentId(`${config.domain}/gateway/${name}`),
    log,
    ...options,
  });
  const store = openGatewayStore({ path: join(directory, "gateway.db") });
  const mailboxes = openMailboxStore({ directory: join(directory, "mailboxes"), sync: own.mailboxSync, log });
  const identity = () => keeper.identity.tls();
  const limits = h2LimitsOf(own.limits);
  weighConnectionMemory(limits.sessionsMax);
  const dial = ({ url, expect }: DialOptions) => ({
    url,
    identity,
    trust: keeper.trust,
    expect: { roles: [expect.role], ...(expect.gatewayUri && { gatewayUri: expect.gatewayUri }) },
    limits,
  });
  let port: Port | undefined;
  const gateway = createGateway(
    {
      gatewayUri: parseGatewayUri(own.uri),
      domain: parseDomain(config.domain),
      level: own.level,
      endpoint: own.url,
      peers: [
        ...own.uplinks.map((url) => ({ url, kind: "uplink" as const })),
        ...own.peers.map((url) => ({ url, kind: "peer" as const })),
      ],
      gatewayUse: config.gatewayUse,
      ...(own.attachmentModels && { attachmentModels: own.attachmentModels }),
      ...(own.channelBindings && { channelBindings: own.channelBindings }),
      policy: own.policy,
      unknownTargets: own.unknownTargets,
      limits: own.limits,
    },
    {
      store,
      mailboxes,
      endOfTurn: setImmediate,
      scheduler: createScheduler(),
      random: systemRandom,
      crypto: nodeCrypto,
      trust: keeper.trust,
      identity: {
        spiffeId: keeper.spiffeId,
        tlsSigner: () => keeper.identity.signer("tls"),
        recordSigner: () => keeper.identity.signer("record"),
      },
      dial: {
        link: (options) => dialLink(dial(options), options.signal),
        sync: (options) => dialTransport(dial(options)),
      },
      log,
      callerOf: peerOf,
      processUsage: watchProcess(),
      ...(read && { readConfig: () => gatewayIn(read(), name) }),
      limitsBeside: connectionLimits,
      disconnect: (revoked) => port?.disconnect(revoked) ?? 0,
      workerConnections: () => port?.workerConnections ?? [],
      onTrustChange: (run) => keeper.onTrust(run),
    },
  );
  // The port first: a gateway that cannot listen must not appear at its neighbours.
  const served = await servePort({
    keeper,
    host: own.host,
    port: own.port,
    workers: own.workers === "auto" ? autoWorkers() : own.workers,
    limits,
    log,
    services: (router) => gateway.routes(router),
    onLink: (link) => gateway.handleLink(link),
    pages: new Map([["/metrics", (caller) => ({ contentType: openMetricsType, body: gateway.metrics(caller) })]]),
  });
  port = served.port;
  const datagrams =
    own.datagrams &&
    (await serveDatagrams({ ...own.datagrams, handle: (source, bytes) => gateway.handleDatagram(source, bytes) }));
  await gateway.start({ signal: options.signal });
  return {
    url: served.address.url,
    ended: gateway.ended,
    reload: (by) => gateway.reload(by),
    async stop() {
      await datagrams?.stop();
      await gateway.stop({ deadlineMs: 2_000 });
      await port?.stop({ deadlineMs: 2_000 });
      mailboxes.close();
      await keeper.stop();
      held[Symbol.dispose]();
    },
  };
}

function gatewayIn(config: DomainConfig, name: string): GatewayConfig {
  const found = config.gateways.find((gateway) => gateway.name === name);
  if (found !== undefined) return found;
  const known = config.gateways.map((gateway) => gateway.name).join(", ") || "none";
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    `the configuration of ${config.domain} has no gateway ${JSON.stringify(name)} (known: ${known})`,
  );
}
