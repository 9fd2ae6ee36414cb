/** Where an agent on Node looks for gateways: a list, or the methods that it was configured with. */

import { create } from "@bufbuild/protobuf";
import { systemRandom } from "@causeway/adapter-clock";
import { createDiscovery, type DiscoveryMethod } from "@causeway/adapter-discovery";
import type { OfferPolicy } from "@causeway/core-attachment";
import { type AgentId, type Domain, refuse } from "@causeway/core-base";
import { ars } from "@causeway/core-wire";
import type { Connector, RegistryPort } from "../connector.ts";

export type { DiscoveryMethod };

/** How to find a gateway. */
export interface DiscoveryOptions {
  /** Tried one after the other. At most 16. */
  readonly methods: readonly DiscoveryMethod[];
  /**
   * What tells offers of one method apart, the most important first: `domain` (the agent's own), `load` (the lowest) and
   * `delay` (the quickest answer). Default in this order.
   */
  readonly prefer?: readonly ("domain" | "load" | "delay")[];
}

export interface DiscoveryPlace {
  readonly domain: Domain;
  readonly agentId: AgentId;
  readonly gateways: readonly string[];
  readonly registry: RegistryPort | undefined;
  readonly discovery: DiscoveryOptions | undefined;
}

/** The connector's part that finds gateways. */
export function discoveryOf(place: DiscoveryPlace): Pick<Connector, "sources" | "lookUp" | "offerPolicy"> {
  const { domain, gateways, registry, discovery } = place;
  if (discovery === undefined) {
    // Asked without an offer: the list is the order, and the handshake is all that is needed.
    const hints = gateways.map((endpoint) => ({ method: "static" as const, endpoint, discover: false }));
    return { sources: [{ method: "static", hints }], lookUp: async () => [] };
  }
  const { methods, prefer } = discovery;
  const found = createDiscovery(methods, {
    domain,
    now: () => performance.now(),
    fraction: () => systemRandom.fraction(),
    ...(registry && { directory: (signal: AbortSignal) => directoryOf(registry, domain, signal) }),
  });
  return {
    sources: found.sources,
    lookUp: (source, signal) => found.lookUp(source, signal),
    offerPolicy: { ...(prefer && { order: prefer }) } satisfies OfferPolicy,
  };
}

/** Hosts of the gateways that serve agents of the domain, as the registry names them (AAP-55). */
async function directoryOf(registry: RegistryPort, domain: Domain, signal: AbortSignal): Promise<readonly string[]> {
  const request = create(ars.DiscoverRequestSchema, { domains: [domain], limit: agentsMax });
  const { matches } = await registry.discover(request, signal);
  const hosts = matches.flatMap(({ gatewayUri }) => (URL.canParse(gatewayUri) ? [new URL(gatewayUri).hostname] : []));
  const unique = [...new Set(hosts)];
  if (unique.length > 0) return unique;
  throw refuse("CAUSEWAY_UNREACHABLE", `the registry names no gateway of ${domain}`);
}

/** Agents whose gateways are looked at. */
const agentsMax = 20;
