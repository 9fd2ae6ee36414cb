/** Gateways by DNS (AAP-56): SVCB records, services of DNS-SD, plain SRV; and the addresses of their targets in order. */
import {
  type BootstrapHint,
  formatEndpoint,
  orderSrv,
  orderSvcb,
  parseEndpoint,
  parseSvcb,
} from "@causeway/core-attachment";
import { assigned, refuse } from "@causeway/core-base";
import type { DnsClient } from "./dns-client.ts";

/** Kinds of records, in the order in which they are looked for. */
export type DnsRecordKind = "svcb" | "dns-sd" | "srv";

export interface DnsLookUpOptions {
  readonly client: DnsClient;
  readonly signal: AbortSignal;
  /** In [0, 1): chooses among SRV records of equal priority. */
  readonly fraction: () => number;
  readonly records?: readonly DnsRecordKind[];
  /** Default `_causeway`. */
  readonly label?: string;
  /** Default `_causeway._tcp`. */
  readonly service?: string;
  /** Of gateways whose record names none. */
  readonly port?: number;
}

/** Where a name says that a gateway is. */
interface Target {
  readonly host: string;
  readonly port: number;
  /** Used when the name has no address records. */
  readonly addresses: readonly string[];
}

/** Gateways of a domain. The first kind of record that exists decides. */
export async function gatewaysOf(domain: string, options: DnsLookUpOptions): Promise<readonly BootstrapHint[]> {
  const name = hostName(domain);
  for (const kind of options.records ?? kinds) {
    const targets = await lookUps[kind](name, options);
    if (targets.length > 0) return await hintsOf(targets.slice(0, targetsMax), options);
  }
  return [];
}

/** A gateway that is known by its own name: its SVCB records, else its addresses. */
export async function gatewayNamed(host: string, options: DnsLookUpOptions): Promise<readonly BootstrapHint[]> {
  const name = hostName(host);
  const targets = await lookUps.svcb(name, options);
  const own = { host: name, port: options.port ?? assigned.gatewayPort, addresses: [] };
  return await hintsOf(targets.length > 0 ? targets.slice(0, targetsMax) : [own], options);
}

type LookUp = (domain: string, options: DnsLookUpOptions) => Promise<readonly Target[]>;

const lookUps: Readonly<Record<DnsRecordKind, LookUp>> = {
  async svcb(domain, options) {
    let owner = `${options.label ?? assigned.dnsLabel}.${domain}`;
    for (let alias = 0; alias <= aliasesMax; alias++) {
      const { data } = await options.client.query(owner, "UNKNOWN_64", options.signal);
      const records = data.flatMap((rdata) => (rdata instanceof Uint8Array ? (parseSvcb(rdata) ?? []) : []));
      const aliased = records.find(({ priority }) => priority === 0);
      if (aliased === undefined) {
        return orderSvcb(records).map(({ target, port, addresses }) => ({
          host: target === "" ? owner : target,
          port: port ?? options.port ?? assigned.gatewayPort,
          addresses,
        }));
      }
      // An alias to nothing says that the domain has no gateways.
      if (aliased.target === "") return [];
      owner = aliased.target;
    }
    return [];
  },
  async "dns-sd"(domain, options) {
    const { data } = await options.client.query(serviceOf(domain, options), "PTR", options.signal);
    const instances = data.filter((name) => typeof name === "string").slice(0, targetsMax);
    const found = await Promise.all(
      instances.map(async (instance) => {
        const [services, texts] = await Promise.all([
          srvOf(instance, options),
          options.client.query(instance, "TXT", options.signal),
        ]);
        return isKnownVersion(texts.data) ? services : [];
      }),
    );
    return targetsOf(found.flat(), options);
  },
  async srv(domain, options) {
    return targetsOf(await srvOf(serviceOf(domain, options), options), options);
  },
};

interface Srv {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

async function srvOf(name: string, { client, signal }: DnsLookUpOptions): Promise<readonly Srv[]> {
  const { data } = await client.query(name, "SRV", signal);
  return data.flatMap((each) => {
    const { priority = 0, weight = 0, port = 0, target = "" } = (each ?? {}) as Partial<Srv>;
    return [{ priority, weight, port, target }];
  });
}

const targetsOf = (records: readonly Srv[], { fraction }: DnsLookUpOptions): readonly Target[] =>
  orderSrv(records, fraction).map(({ target, port }) => ({ host: target, port, addresses: [] }));

/** RFC 6763: `txtvers` says how to read the rest. We write 1, and take a service without it as of that version. */
function isKnownVersion(texts: readonly unknown[]): boolean {
  const strings = texts.flat().map(String);
  const version = strings.find((text) => text.toLowerCase().startsWith("txtvers="));
  return version === undefined || version.slice("txtvers=".length) === "1";
}

/** Every address of every target, in order; the name itself where DNS knows no address, as the system may. */
async function hintsOf(targets: readonly Target[], options: DnsLookUpOptions): Promise<readonly BootstrapHint[]> {
  const { client, signal } = options;
  const endpoints = await Promise.all(
    targets.map(async ({ host, port, addresses }) => {
      const [v4, v6] = await Promise.all([client.query(host, "A", signal), client.query(host, "AAAA", signal)]);
      const resolved = [...v4.data, ...v6.data].map(String);
      const hosts = resolved.length > 0 ? resolved : addresses.length > 0 ? addresses : [host];
      return hosts.flatMap((each) => formatEndpoint(each, port) ?? []);
    }),
  );
  return endpoints
    .flat()
    .filter((endpoint) => parseEndpoint(endpoint) !== undefined)
    .map((endpoint) => ({ method: "dns", endpoint, discover: true }));
}

function hostName(text: string): string {
  const name = text.toLowerCase().replace(/\.$/, "");
  if (namePattern.test(name) && name.length <= nameLengthMax) return name;
  throw refuse(
    "CAUSEWAY_CONFIG_INVALID",
    `expected a DNS name like blue.example, got ${JSON.stringify(text.slice(0, 100))}`,
  );
}

const serviceOf = (domain: string, { service = assigned.dnsService }: DnsLookUpOptions): string =>
  `${service}.${domain}`;

const kinds: readonly DnsRecordKind[] = ["svcb", "dns-sd", "srv"];
const namePattern = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;
const nameLengthMax = 240;
const aliasesMax = 4;
const targetsMax = 8;
