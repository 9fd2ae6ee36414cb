/**
 * What an answer tells of the place where an agent is served (C-14, AAP-4, AAP-24). Agents learn of another domain at
 * most its border gateway: neither the serving gateway, nor the way to it, nor the origin statement that names it.
 */
import { type AgentId, agentOf, type Domain, domainOf } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { record as wire } from "@causeway/core-wire";

/**
 * The gateway that agents are told for agents of other domains: the one of the asker, or the first one of the other
 * domain on the way there.
 */
export type RemoteGateway = "own" | "border";

/** Who asks, as far as answers depend on it. */
export interface Asker {
  readonly domain: Domain;
  /** `all` for those who run the domain. */
  readonly remote: RemoteGateway | "all";
  /** The gateway that serves the asker; undefined when the registry does not know it. */
  readonly gatewayUri: string | undefined;
}

/** Where an agent is served, as the record base has it or as an asker may know it. */
export interface Place {
  readonly gatewayUri: string;
  readonly signedOrigin: wire.SignedOrigin | undefined;
  /** Newest first: from a gateway of the own domain to one of the agent's domain. */
  readonly path: readonly string[];
}

/** The asker that a caller is. `gatewayOfAgent` knows the serving gateways of agents. */
export function askerOf(
  caller: VerifiedPeer,
  policy: RemoteGateway,
  gatewayOfAgent: (agentId: AgentId) => string | undefined,
): Asker {
  const runsDomain = caller.role === "operator" || caller.role === "gateway";
  return {
    domain: caller.domain,
    remote: runsDomain ? "all" : policy,
    gatewayUri: gatewayOfAgent(agentOf(caller.spiffeId)),
  };
}

/** What `asker` may know of the place of an agent. */
export function disclosedPlace(agentId: AgentId, place: Place, asker: Asker): Place {
  const domain = domainOf(agentId);
  if (domain === asker.domain || asker.remote === "all") return place;
  // The newest entry of PATH is the gateway that this registry follows.
  const own = asker.gatewayUri || (place.path[0] ?? "");
  // A certified URI may name any host: what is not named under the other domain is not taken for its border.
  const border = asker.remote === "border" ? place.path.find((uri) => isNamedUnder(uri, domain)) : undefined;
  return { gatewayUri: border ?? own, signedOrigin: undefined, path: [] };
}

function isNamedUnder(uri: string, domain: Domain): boolean {
  const host = URL.parse(uri)?.hostname ?? "";
  return host === domain || host.endsWith(`.${domain}`);
}
