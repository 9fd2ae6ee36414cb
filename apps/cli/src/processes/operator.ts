/** The operator of a domain on this machine: the identity that the authority made at its first start. */
import { existsSync } from "node:fs";
import { createScheduler, systemRandom } from "@causeway/adapter-clock";
import { type IdentityKeeper, openIdentityKeeper, openKeyVault } from "@causeway/adapter-keys";
import { parseAgentId, parseDomain, refuse } from "@causeway/core-base";
import { aca, admin } from "@causeway/core-wire";
import { type Client, createClient } from "@connectrpc/connect";
import type { DomainConfig, GatewayConfig } from "../config/domain.ts";
import { operatorDirectory } from "./directories.ts";
import { connectAuthority, dialTransport, fetchRoot } from "./wiring.ts";

/** The kinds of services of a domain. */
export type ServiceRole = "authority" | "gateway" | "registry";

/** Calls services of a domain in the name of its operator. */
export class Operator implements AsyncDisposable {
  readonly config: DomainConfig;
  readonly #keeper: IdentityKeeper;
  readonly #transports = new Set<{ close(): void }>();

  private constructor(config: DomainConfig, keeper: IdentityKeeper) {
    this.config = config;
    this.#keeper = keeper;
  }

  /** Throws when the operator's identity is not on this machine. */
  static async open(config: DomainConfig): Promise<Operator> {
    const directory = operatorDirectory(config);
    if (!existsSync(directory)) {
      throw refuse(
        "CAUSEWAY_IDENTITY_NOT_ENROLLED",
        `expected the operator's identity of ${config.domain} in ${directory}, got none; the authority makes it at its first start (causeway up), on its machine`,
      );
    }
    const vault = await openKeyVault({ directory, masterKeyFile: config.masterKeyFile });
    return new Operator(
      config,
      await openIdentityKeeper({
        scheduler: createScheduler(),
        random: systemRandom,
        vault,
        connect: connectAuthority,
        fetchRoot,
      }),
    );
  }

  get authority(): Client<typeof aca.AuthorityService> {
    return this.#keeper.authority;
  }

  /** The admin service of one gateway. */
  gateway(gateway: GatewayConfig): Client<typeof admin.GatewayAdminService> {
    return createClient(admin.GatewayAdminService, this.#dial(gateway.url, "gateway"));
  }

  limits(url: string, role: ServiceRole): Client<typeof admin.LimitsService> {
    return createClient(admin.LimitsService, this.#dial(url, role));
  }

  metrics({ url }: { readonly url: string }, role: ServiceRole = "gateway"): Client<typeof admin.MetricsService> {
    return createClient(admin.MetricsService, this.#dial(url, role));
  }

  /** Who serves at a URL, after a complete handshake. */
  async probe(url: string, role: ServiceRole): Promise<{ readonly spiffeId: string; readonly notAfterUnixMs: number }> {
    const transport = this.#dial(url, role);
    const peer = await transport.connect(AbortSignal.timeout(5_000));
    return { spiffeId: peer.spiffeId, notAfterUnixMs: peer.notAfter };
  }

  /** The configured gateway of this name, or every one. */
  gateways(name?: string): readonly GatewayConfig[] {
    const chosen = this.config.gateways.filter((gateway) => name === undefined || gateway.name === name);
    if (chosen.length > 0) return chosen;
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `${this.config.domain} has no gateway ${name ?? ""} (known: ${this.config.gateways.map((g) => g.name).join(", ") || "none"})`,
    );
  }

  /** A one-time token for an agent of this domain. */
  async agentToken(name: string): Promise<string> {
    const spiffeId = parseAgentId(name);
    return (await this.authority.createToken({ spiffeId, role: "agent" })).token;
  }

  /** The trust bundle of the own domain. */
  async bundle(): Promise<aca.TrustBundle> {
    const { state } = await this.authority.getTrust({});
    const own = state?.bundles.find((bundle) => bundle.domain === this.config.domain);
    if (own === undefined)
      throw refuse("CAUSEWAY_INTERNAL", `the authority of ${this.config.domain} has no bundle of its own domain`);
    return own;
  }

  #dial(url: string, role: ServiceRole) {
    const transport = dialTransport({
      url,
      identity: () => this.#keeper.identity.tls(),
      trust: this.#keeper.trust,
      expect: { roles: [role], domain: parseDomain(this.config.domain) },
    });
    this.#transports.add(transport);
    return transport;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const transport of this.#transports) transport.close();
    await this.#keeper.stop();
  }
}
