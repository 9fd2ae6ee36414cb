/** What the authority has to certify for the services of a domain, from its configuration. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type AgentId, parseAgentId, refuse } from "@causeway/core-base";
import type { aca } from "@causeway/core-wire";
import type { DomainConfig, GatewayConfig } from "../config/domain.ts";

/** Names exactly the service that the token is for. */
export type TokenRequest = MessageInitShape<typeof aca.CreateTokenRequestSchema> & { readonly spiffeId: string };

export function gatewayToken(config: DomainConfig, gateway: GatewayConfig): TokenRequest {
  return {
    spiffeId: `spiffe://${config.domain}/gateway/${gateway.name}`,
    role: "gateway",
    hosts: [...gateway.hosts],
    gateway: { gatewayUri: gateway.uri, level: gateway.level, namespaces: [] },
  };
}

/** For a monitoring system, which may read metrics. Throws for a name that is not one segment. */
export function monitorToken(config: DomainConfig, name: string): TokenRequest {
  return { spiffeId: monitorId(config.domain, name), role: "monitor" };
}

/** The name of a monitoring system in its certificate. */
export function monitorId(domain: string, name: string): AgentId {
  if (/^[A-Za-z0-9._-]{1,64}$/.test(name)) return parseAgentId(`${domain}/monitor/${name}`);
  throw refuse(
    "CAUSEWAY_NAME_INVALID",
    `expected a name of a monitor like prometheus (letters, digits, '.', '-', '_'), got ${JSON.stringify(name.slice(0, 80))}`,
  );
}

/** Throws `CAUSEWAY_CONFIG_INVALID` when the domain has no registry. */
export function registryToken(config: DomainConfig): TokenRequest {
  if (config.registry === undefined)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `the configuration of ${config.domain} has no registry`);
  return { spiffeId: `spiffe://${config.domain}/registry`, role: "registry", hosts: [...config.registry.hosts] };
}
