/** The connector of a Node process: a keeper's identity, links over adapters/h2, state in files. */
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { askByDatagram } from "@causeway/adapter-discovery";
import type { ClientTransport } from "@causeway/adapter-h2";
import { type IdentityKeeper, type KeyVault, nodeCrypto } from "@causeway/adapter-keys";
import { decodeDatagramAnswer, encodeDatagramDiscover } from "@causeway/core-attachment";
import { asUnixMs, CausewayError, type Log } from "@causeway/core-base";
import { aap, ars } from "@causeway/core-wire";
import { createEndToEnd, FileCounter, FileStateStore } from "@causeway/e2ee";
import { type Client, createClient } from "@connectrpc/connect";
import type { Connector, IdentityPort, RegistryPort } from "../connector.ts";
import { directPort, type NodeDirectOptions } from "./direct-port.ts";
import { type DiscoveryOptions, discoveryOf } from "./gateway-discovery.ts";
import { type Dial, dialLink, dialTransport } from "./transports.ts";

export interface NodeConnectorOptions {
  readonly keeper: IdentityKeeper;
  readonly vault: KeyVault;
  readonly dataDir: string;
  readonly masterKeyFile: string;
  readonly gateways: readonly string[];
  readonly registry: string | undefined;
  readonly discovery: DiscoveryOptions | undefined;
  readonly direct: NodeDirectOptions;
  readonly log: Log;
  /** Lets others use the directory; called last. */
  readonly release: () => void;
}

/** Composes the adapters. Does no IO by itself. */
export function nodeConnector(options: NodeConnectorOptions): Connector {
  const { keeper, vault, dataDir, masterKeyFile, log } = options;
  const direct = directPort(keeper, options.direct, log);
  const scheduler = createScheduler();
  const store = new FileStateStore(join(dataDir, "state"));
  const name = createHash("sha256").update(keeper.spiffeId).digest("hex").slice(0, 16);
  // Beside the master key: a data directory that is put back from an old copy is then noticed.
  const counter = new FileCounter(dirname(masterKeyFile), `${basename(masterKeyFile)}.${name}`);
  const from = (url: string, expect: Dial["expect"]): Dial => ({
    url,
    identity: () => keeper.identity.tls(),
    trust: keeper.trust,
    expect,
  });
  const registry =
    options.registry === undefined
      ? undefined
      : new Registry(from(options.registry, { roles: ["registry"], domain: keeper.domain }));
  keeper.onRenewed(() => registry?.renew());
  keeper.onAlarm(({ kind, error }) => log.warn("agent.identity_alarm", { kind, code: error?.code }));
  // Waiting for a gateway to come back has no socket that would keep the process running.
  const alive = setInterval(() => undefined, 2 ** 30);
  return {
    identity: identityOf(keeper),
    ...discoveryOf({ ...options, domain: keeper.domain, agentId: keeper.spiffeId, registry }),
    dial: (candidate, signal) =>
      dialLink(
        from(candidate.endpoint, {
          roles: ["gateway"],
          domain: keeper.domain,
          ...(candidate.gatewayId && { spiffeId: candidate.gatewayId }),
          ...(candidate.gatewayUri && { gatewayUri: candidate.gatewayUri }),
        }),
        signal,
      ),
    discoverGateway: async (endpoint, request, signal) => {
      const transport = dialTransport(from(endpoint, { roles: ["gateway"], domain: keeper.domain }));
      try {
        return await named(createClient(aap.DiscoveryService, transport).discover(request, { signal }));
      } finally {
        transport.close();
      }
    },
    discoverByDatagram: (endpoint, { nonce, requiredFeatures }, onAnswer, signal) =>
      askByDatagram(
        endpoint,
        (cookie) =>
          encodeDatagramDiscover(nodeCrypto, {
            agentId: keeper.spiffeId,
            salt: systemRandom.bytes(saltBytes),
            nonce,
            requiredFeatures,
            ...(cookie && { cookie }),
          }),
        (bytes) => {
          const answer = decodeDatagramAnswer(bytes, nonce);
          if (answer?.case === "offer") onAnswer(answer.value);
          return answer?.case === "cookie" ? answer.value : undefined;
        },
        signal,
      ),
    direct,
    registry,
    scheduler,
    nextTurn: (run) => void setImmediate(run),
    random: systemRandom,
    store,
    createEndToEnd: (basics) =>
      createEndToEnd({ ...basics, store, stateKey: vault.deriveKey("end-to-end state"), counter }),
    log,
    close: async () => {
      clearInterval(alive);
      registry?.close();
      await keeper.stop();
      options.release();
    },
  };
}

/** Of the hash that stands for the Agent ID in a datagram. */
const saltBytes = 16;

function identityOf(keeper: IdentityKeeper): IdentityPort {
  return {
    agentId: keeper.spiffeId,
    crypto: nodeCrypto,
    trust: keeper.trust,
    signer: (purpose) => keeper.identity.signer(purpose),
    mls: () => ({ chain: keeper.identity.signer("mls").chain, privateKey: keeper.identity.mlsPrivateKey() }),
    notAfter: () => asUnixMs(Math.min(...keeper.identity.validity().map(({ notAfterUnixMs }) => notAfterUnixMs))),
    onTrust: (listener) => keeper.onTrust(() => listener()),
    onRenewed: (listener) => keeper.onRenewed(() => listener()),
  };
}

/** The registry over one connection that is dialled on demand, and anew after a renewal. */
class Registry implements RegistryPort {
  readonly #transport: ClientTransport;
  readonly #client: Client<typeof ars.RegistryService>;

  constructor(dial: Dial) {
    this.#transport = dialTransport(dial);
    this.#client = createClient(ars.RegistryService, this.#transport);
  }

  register(request: ars.RegisterRequest, signal: AbortSignal): Promise<ars.RegisterResponse> {
    return named(this.#client.register(request, { signal }));
  }

  async deregister(request: ars.DeregisterRequest, signal: AbortSignal): Promise<void> {
    await named(this.#client.deregister(request, { signal }));
  }

  discover(request: ars.DiscoverRequest, signal: AbortSignal): Promise<ars.DiscoverResponse> {
    return named(this.#client.discover(request, { signal }));
  }

  getRecord(request: ars.GetRecordRequest, signal: AbortSignal): Promise<ars.GetRecordResponse> {
    return named(this.#client.getRecord(request, { signal }));
  }

  renew(): void {
    this.#transport.close();
  }

  close(): void {
    this.#transport.close();
  }
}

/** What a call failed with, as an error of the table. */
async function named<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    throw CausewayError.from(thrown);
  }
}
