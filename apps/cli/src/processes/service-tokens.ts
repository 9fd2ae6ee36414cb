/** What the authority has to certify for the services of a domain, from its configuration. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
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

/** Throws `CAUSEWAY_CONFIG_INVALID` when the domain has no registry. */
export function registryToken(config: DomainConfig): TokenRequest {
  if (config.registry === undefined)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `the configuration of ${config.domain} has no registry`);
  return { spiffeId: `spiffe://${config.domain}/registry`, role: "registry", hosts: [...config.registry.hosts] };
}
