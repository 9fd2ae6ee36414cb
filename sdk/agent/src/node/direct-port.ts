/** Direct links between agents on Node: a port of HTTP/2 and TLS 1.3 that takes agents of the own domain and nobody else. */
import { createPort } from "@causeway/adapter-h2";
import type { IdentityKeeper } from "@causeway/adapter-keys";
import { serverOptions, verifiedPeerOf } from "@causeway/adapter-tls";
import { asUnixMs, domainOf, type Log, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { DirectListener, DirectPort } from "../connector.ts";
import { directUrl } from "../direct/addresses.ts";
import type { DirectOptions } from "../direct/ways.ts";
import { dialLink } from "./transports.ts";

/** Direct links of an agent on Node. */
export interface NodeDirectOptions extends DirectOptions {
  /** Where to take links of other agents of the own domain; port 0 for any free one. Default: nowhere. */
  readonly listen?: { readonly host: string; readonly port: number };
  /** `https://host:port` under which others reach that. Default: what `listen` says. */
  readonly url?: string;
}

type Identity = Pick<IdentityKeeper, "spiffeId" | "domain" | "identity" | "trust" | "onRenewed">;

/** The connector's part for direct links. Throws `CAUSEWAY_CONFIG_INVALID`. */
export function directPort(keeper: Identity, { listen, url }: NodeDirectOptions, log: Log): DirectPort {
  const given = url === undefined ? undefined : directUrl(url);
  if (listen && given === undefined && wildcards.has(listen.host)) {
    const problem = `expected direct.url, the address under which others reach ${listen.host}:${listen.port}, got none`;
    throw refuse("CAUSEWAY_CONFIG_INVALID", problem);
  }
  return {
    dial: async (address, agent, signal) => {
      if (domainOf(agent) !== keeper.domain) throw foreign(keeper.domain, agent);
      const expect = { roles: ["agent"], domain: keeper.domain, spiffeId: agent } as const;
      return dialLink({ url: address, identity: () => keeper.identity.tls(), trust: keeper.trust, expect }, signal);
    },
    ...(listen && { listen: (onLink) => listenOn(keeper, listen, given, onLink, log) }),
  };
}

async function listenOn(
  keeper: Identity,
  { host, port }: { readonly host: string; readonly port: number },
  url: string | undefined,
  onLink: Parameters<NonNullable<DirectPort["listen"]>>[0],
  log: Log,
): Promise<DirectListener> {
  const opened = createPort({
    tls: () => serverOptions(keeper.identity.tls()),
    host,
    port,
    authenticate: (socket) => judged(keeper, verifiedPeerOf(socket, keeper.trust, asUnixMs(Date.now()))),
    onLink,
    log,
    limits: { sessionsMax, sessionsPerPeerMax, streamsPerSessionMax: 1, handshakeMs, idleMs: handshakeMs },
  });
  const address = await opened.start();
  const stop = keeper.onRenewed(() => opened.renewTls());
  return {
    url: url ?? address.url,
    close: async () => {
      stop();
      await opened.stop({ deadlineMs: stopMs });
    },
  };
}

/** The client, when it is an agent of the own domain (ANA-95). */
function judged({ domain }: Identity, peer: VerifiedPeer): VerifiedPeer {
  if (peer.domain !== domain) throw foreign(domain, peer.spiffeId);
  if (peer.role === "agent") return peer;
  throw refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `expected an agent of ${domain} on a direct link, got ${peer.spiffeId} certified as ${peer.role}`,
  );
}

function foreign(domain: string, agent: string): Error {
  return refuse(
    "CAUSEWAY_DIRECT_NOT_ALLOWED",
    `expected an agent of ${domain} on a direct link, got ${agent}; agents of other domains are reached through gateways`,
  );
}

const wildcards = new Set(["0.0.0.0", "::", ""]);
/** TLS connections at once, those whose handshake is not finished included; the links on them have a bound of their own. */
const sessionsMax = 256;
const sessionsPerPeerMax = 4;
/** For the TLS handshake, and again until the connection carries a link. */
const handshakeMs = 10_000;
const stopMs = 500;
