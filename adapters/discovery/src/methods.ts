/** The ways to find a gateway, as an agent is configured with them. */
import { type BootstrapHint, type BootstrapSource, parseEndpoint } from "@causeway/core-attachment";
import { assigned, refuse } from "@causeway/core-base";
import { gatewaysInDhcpFiles } from "./dhcp-files.ts";
import { type DnsRecordKind, gatewayNamed, gatewaysOf } from "./dns.ts";
import { DnsClient } from "./dns-client.ts";

/** One way to find a gateway. What it yields are hints: every gateway has to prove itself. */
export type DiscoveryMethod =
  /** A list of gateways: addresses, names or URLs. */
  | { readonly method: "static"; readonly gateways: readonly string[] }
  /** One address at which the nearest of several gateways answers. */
  | {
      readonly method: "anycast";
      /** Default: the documented private ones. */
      readonly address?: string | readonly string[];
      /** True: ask in a datagram, which several gateways may answer. They have to be configured for it. Default false. */
      readonly datagram?: boolean;
    }
  | {
      readonly method: "dns";
      /** Domain whose records are read. Default: the agent's own. */
      readonly domain?: string;
      /** Default: the system's. */
      readonly servers?: readonly string[];
      /** Default `svcb`, `dns-sd`, `srv`: the first kind that exists counts. */
      readonly records?: readonly DnsRecordKind[];
      /** Label of SVCB records. Default `_causeway`. */
      readonly label?: string;
      /** Service of DNS-SD and SRV records. Default `_causeway._tcp`. */
      readonly service?: string;
      /** Of gateways whose record names none. Default 7443. */
      readonly port?: number;
    }
  | {
      readonly method: "dhcp";
      /** What a DHCP client stores. Default: where the common clients keep their leases. */
      readonly files?: readonly string[];
      /** Default 224. */
      readonly option?: number;
      /** Of gateways that are named without one. Default 7443. */
      readonly port?: number;
    }
  /** What the domain's registry names as gateways of its agents, resolved by DNS. */
  | { readonly method: "directory"; readonly servers?: readonly string[] };

export interface DiscoveryDeps {
  /** The agent's domain. */
  readonly domain: string;
  /** Milliseconds of a clock that does not jump. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly fraction: () => number;
  /** Names of gateway hosts that the registry knows; needed for `directory`. */
  readonly directory?: (signal: AbortSignal) => Promise<readonly string[]>;
}

/** Sources for the attachment machine, and what answers its look-ups. */
export interface DiscoverySources {
  readonly sources: readonly BootstrapSource[];
  /** What the source with this index yields. Rejects with a typed error. */
  lookUp(source: number, signal: AbortSignal): Promise<readonly BootstrapHint[]>;
}

/** Throws `CAUSEWAY_CONFIG_INVALID` for a method that cannot work. */
export function createDiscovery(methods: readonly DiscoveryMethod[], deps: DiscoveryDeps): DiscoverySources {
  if (methods.length === 0 || methods.length > methodsMax) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected 1 to ${methodsMax} discovery methods, got ${methods.length}; leave discovery out for a list of gateways`,
    );
  }
  const parts = methods.map((method) => partOf(method, deps));
  return {
    sources: parts.map(({ source }) => source),
    lookUp: async (source, signal) => (await parts[source]?.lookUp?.(signal)) ?? [],
  };
}

interface Part {
  readonly source: BootstrapSource;
  readonly lookUp?: (signal: AbortSignal) => Promise<readonly BootstrapHint[]>;
}

function partOf(method: DiscoveryMethod, deps: DiscoveryDeps): Part {
  switch (method.method) {
    case "static":
      return listOf("static", method.gateways);
    case "anycast": {
      const address = method.address ?? [assigned.anycastAddress, assigned.anycastAddressV6];
      return listOf("anycast", typeof address === "string" ? [address] : address, method.datagram);
    }
    case "dns": {
      const client = new DnsClient({ now: deps.now, ...(method.servers && { servers: method.servers }) });
      const { method: _, domain = deps.domain, servers: __, ...more } = method;
      const { fraction } = deps;
      return {
        source: { method: "dns" },
        lookUp: (signal) => gatewaysOf(domain, { ...more, client, signal, fraction }),
      };
    }
    case "dhcp":
      return { source: { method: "dhcp" }, lookUp: () => gatewaysInDhcpFiles(method) };
    case "directory": {
      const { directory, fraction } = deps;
      if (directory === undefined)
        throw refuse("CAUSEWAY_CONFIG_INVALID", "expected the URL of a registry for the method directory, got none");
      const client = new DnsClient({ now: deps.now, ...(method.servers && { servers: method.servers }) });
      return {
        source: { method: "directory" },
        async lookUp(signal) {
          const hosts = await directory(signal);
          const found = await Promise.all(hosts.map((host) => gatewayNamed(host, { client, signal, fraction })));
          return found.flat().map((hint) => ({ ...hint, method: "directory" }));
        },
      };
    }
  }
}

function listOf(method: "static" | "anycast", texts: readonly string[], isDatagram = false): Part {
  if (texts.length === 0)
    throw refuse("CAUSEWAY_CONFIG_INVALID", `expected a gateway for the method ${method}, got none`);
  const hints = texts.map((text) => {
    const endpoint = parseEndpoint(text, isDatagram ? assigned.discoveryPort : assigned.gatewayPort);
    if (endpoint !== undefined)
      return { method, endpoint: isDatagram ? endpoint.replace("https:", "udp:") : endpoint, discover: true };
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a gateway like https://host:port or an address, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  });
  return { source: { method, hints } };
}

const methodsMax = 16;
