/** The process of a domain's authority: CA keys in a vault, its own server identity, the first operator. */
import { join } from "node:path";
import { createScheduler } from "@causeway/adapter-clock";
import { type Caller, callerOf, connectionLimits, createPort, h2LimitsOf } from "@causeway/adapter-h2";
import {
  applicantIdentity,
  createIdentity,
  generateKeyPair,
  type Identity,
  type KeyVault,
  loadIdentity,
  nodeCrypto,
  openKeyVault,
} from "@causeway/adapter-keys";
import { openAuthorityStore } from "@causeway/adapter-sqlite";
import { watchProcess } from "@causeway/adapter-telemetry";
import { peerOrApplicant, serverOptions } from "@causeway/adapter-tls";
import {
  type AgentId,
  CallTally,
  defaults,
  type Log,
  openMetricsType,
  parseAgentId,
  parseDomain,
} from "@causeway/core-base";
import { encodePem, type Role, TrustStore } from "@causeway/core-identity";
import { aca } from "@causeway/core-wire";
import {
  type Authority,
  type AuthorityLimits,
  applicantPaths,
  authorityRoutes,
  monitorPaths,
  openAuthority,
} from "@causeway/service-authority";
import { createClient } from "@connectrpc/connect";
import type { DomainConfig } from "../config/domain.ts";
import { authorityDirectory, operatorDirectory } from "./directories.ts";
import { holdFolder } from "./folder-lock.ts";
import type { RunningService } from "./lifecycle.ts";
import { dialTransport, revoked, unixNow } from "./wiring.ts";

/** How often the authority looks whether its own identities are due. */
const ownRenewalMs = 60_000;

export async function startAuthority(
  config: DomainConfig,
  log: Log,
  read?: () => DomainConfig,
): Promise<RunningService> {
  const directory = authorityDirectory(config);
  const held = holdFolder(directory);
  const vaultAt = (path: string): Promise<KeyVault> =>
    openKeyVault({ directory: path, masterKeyFile: config.masterKeyFile });
  const caKeys = await vaultAt(join(directory, "ca"));
  const store = openAuthorityStore({ path: join(directory, "authority.db") });
  const trust = new TrustStore(nodeCrypto);
  const server = new OwnIdentity(
    await vaultAt(join(directory, "identity")),
    parseAgentId(`${config.domain}/authority`),
    "authority",
    config.authority.url,
  );
  const operator = new OwnIdentity(
    await vaultAt(operatorDirectory(config)),
    parseAgentId(`${config.domain}/operator/admin`),
    "operator",
    config.authority.url,
  );

  // Lists are fetched as a stranger: the other authority's view of our own lists may be as stale as ours of its.
  const stranger = generateKeyPair("p256");
  const authority = await openAuthority(
    {
      domain: parseDomain(config.domain),
      url: config.authority.url,
      ...limitsOf(config),
    },
    {
      store,
      keys: { root: () => caKeys.keyOrCreate("root", "p256"), issuing: await caKeys.keyOrCreate("issuing", "p256") },
      crypto: nodeCrypto,
      scheduler: createScheduler(),
      log,
      limitsBeside: connectionLimits,
      processUsage: watchProcess(),
      ...(read && { readLimits: () => limitsOf(read()) }),
      fetchForeignCrls: async (domain, url, signal) => {
        const transport = dialTransport({
          url,
          identity: () => applicantIdentity(nodeCrypto, stranger, unixNow()),
          trust: trust.forLists(),
          expect: { roles: ["authority"], domain: parseDomain(domain) },
        });
        try {
          return (await createClient(aca.AuthorityService, transport).getCrl({}, { signal })).crls;
        } finally {
          transport.close();
        }
      },
    },
  );
  const follow = (state: aca.TrustState): void => {
    for (const { domain, message } of trust.replace(state)) log.warn("trust.bundle_refused", { domain, message });
  };
  follow(authority.trust());
  await server.ensure(authority, config.authority.hosts);
  await operator.ensure(authority, []);

  const tlsIdentity = () => {
    const { key, chainPem } = server.current.tls();
    // The root goes along, so that someone who knows only its fingerprint can pin it.
    return { key, chainPem: chainPem + encodePem("CERTIFICATE", authority.root) };
  };
  const calls = new CallTally();
  const port = createPort({
    tls: () => serverOptions(tlsIdentity()),
    host: config.authority.host,
    port: config.authority.port,
    authenticate: (socket): Caller => {
      const who = peerOrApplicant(socket, trust, nodeCrypto, unixNow());
      return who.kind === "peer" ? who.peer : { applicant: true, spki: who.spki };
    },
    applicantPaths,
    monitorPaths,
    services: authorityRoutes(authority, callerOf, log, calls),
    pages: new Map([
      ["/metrics", (caller) => ({ contentType: openMetricsType, body: authority.metrics(caller, calls) })],
    ]),
    limits: h2LimitsOf(config.authority.limits),
    log,
  });
  authority.onTrust((state) => {
    follow(state);
    port.disconnect((peer) => trust.isRevoked(peer), revoked());
  });
  const address = await port.start();
  authority.start();
  const renewal = setInterval(() => {
    Promise.all([server.ensure(authority, config.authority.hosts), operator.ensure(authority, [])]).then(
      ([renewed]) => renewed && port.renewTls(),
      (cause: unknown) => log.error("authority.own_renewal_failed", {}, cause),
    );
  }, ownRenewalMs);
  return {
    url: address.url,
    reload: (by) => authority.reload(by),
    async stop() {
      clearInterval(renewal);
      await authority.stop();
      await port.stop({ deadlineMs: 2_000 });
      store.close();
      held[Symbol.dispose]();
    },
  };
}

const limitsOf = ({ authority }: DomainConfig): Partial<AuthorityLimits> => ({
  ...authority.limits,
  leafLifetimeMs: authority.certificateLifetimeMs,
});

/** An identity that the authority's own machine holds: issued without a request over the network, renewed in place. */
class OwnIdentity {
  readonly #vault: KeyVault;
  readonly #spiffeId: AgentId;
  readonly #role: Role;
  readonly #authorityUrl: string;
  #identity: Identity | undefined;

  constructor(vault: KeyVault, spiffeId: AgentId, role: Role, authorityUrl: string) {
    this.#vault = vault;
    this.#spiffeId = spiffeId;
    this.#role = role;
    this.#authorityUrl = authorityUrl;
  }

  get current(): Identity {
    if (this.#identity === undefined) throw new Error("the identity was not made yet");
    return this.#identity;
  }

  /** Issues when there is none or two thirds of its lifetime are over. True when a new one was issued. */
  async ensure(authority: Authority, hosts: readonly string[]): Promise<boolean> {
    this.#identity ??= await loadIdentity(this.#vault);
    if (this.#identity !== undefined && !isDue(this.#identity)) return false;
    this.#identity = await createIdentity({
      vault: this.#vault,
      spiffeId: this.#spiffeId,
      role: this.#role,
      authorityUrl: this.#authorityUrl,
      issue: (requests) => authority.issueOwn({ spiffeId: this.#spiffeId, role: this.#role, hosts, requests }),
    });
    return true;
  }
}

function isDue(identity: Identity): boolean {
  const now = Date.now();
  return identity
    .validity()
    .some((v) => now >= v.notBeforeUnixMs + (v.notAfterUnixMs - v.notBeforeUnixMs) * defaults.renewAt);
}
