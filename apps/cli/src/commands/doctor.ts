/** A check-up: what a domain on this machine needs, each with what to do when it is missing. */
import { existsSync, statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { DiscoveryOptions } from "@causeway/agent/node";
import type { DomainConfig } from "../config/domain.ts";
import type { Home } from "../home.ts";
import { connectAgent } from "../processes/agents.ts";
import { Operator } from "../processes/operator.ts";
import { sentenceOf } from "../terminal/failure.ts";
import { describeDiscovery } from "./find-gateway.ts";

type GatewayConfig = DomainConfig["gateways"][number];
type Neighbour = Pick<GatewayConfig, "url" | "uplinks" | "peers">;

/** One thing that was looked at. */
export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  /** What is there, or what is wrong and what to do. */
  readonly detail: string;
}

const freeBytesMin = 256 * 1024 * 1024;
const nodeMajorMin = 24;
const answerMs = 5_000;
const attachMs = 10_000;
/** A certificate is renewed long before; less than this says that renewal fails. */
const validMsMin = 3_600_000;

/** Looks at everything that can be looked at. Never throws. */
export async function examine(
  configure: () => DomainConfig,
  look?: { readonly home: Home; readonly discovery: DiscoveryOptions | undefined },
): Promise<readonly Finding[]> {
  const findings = new Findings();
  await findings.check("Node", () => {
    const major = Number(process.versions.node.split(".")[0]);
    if (major < nodeMajorMin) throw new Error(`found ${process.version}; install Node ${nodeMajorMin} or later`);
    return process.version;
  });
  const config = await findings.check("configuration", configure, (c) => `${c.domain}, data in ${c.dataDir}`);
  if (config !== undefined) await examineDomain(config, findings);
  if (config !== undefined && look?.discovery !== undefined)
    await examineDiscovery(config, look.home, look.discovery, findings);
  return findings.all;
}

async function examineDomain(config: DomainConfig, findings: Findings): Promise<void> {
  await findings.check("disk", () => {
    const free = freeBytes(config.dataDir);
    if (free < freeBytesMin)
      throw new Error(
        `${Math.round(free / 1e6)} MB free where ${config.dataDir} lies; a gateway refuses records when it is full. Free some space`,
      );
    return `${Math.round(free / 1e9)} GB free`;
  });
  await findings.check("master key", () => {
    if (!existsSync(config.masterKeyFile))
      throw new Error(`${config.masterKeyFile} does not exist; "causeway up" makes it, or restore it from a backup`);
    if ((statSync(config.masterKeyFile).mode & 0o077) !== 0)
      throw new Error(`${config.masterKeyFile} can be read by others; run: chmod 600 ${config.masterKeyFile}`);
    return config.masterKeyFile;
  });
  const operator = await findings.check(
    "operator identity",
    () => Operator.open(config),
    () => "can be opened",
  );
  if (operator === undefined) return;
  await using open = operator;
  const services = [
    { name: "authority", url: config.authority.url, role: "authority" as const },
    ...(config.registry ? [{ name: "registry", url: config.registry.url, role: "registry" as const }] : []),
    ...config.gateways.map((gateway) => ({ name: gateway.name, url: gateway.url, role: "gateway" as const })),
  ];
  for (const { name, url, role } of services) {
    await findings.check(`${name} at ${url}`, async () => {
      const peer = await open.probe(url, role);
      const until = new Date(peer.notAfterUnixMs).toISOString();
      if (peer.notAfterUnixMs - Date.now() < validMsMin)
        throw new Error(`${peer.spiffeId} has a certificate until ${until} only; its log says why it is not renewed`);
      return `${peer.spiffeId}, certificate until ${until}`;
    });
  }
  for (const gateway of config.gateways) await examinePeers(open, config, gateway, findings);
}

/** Whether an agent finds a gateway in these ways: it attaches one, which says what it came upon. */
async function examineDiscovery(
  config: DomainConfig,
  home: Home,
  discovery: DiscoveryOptions,
  findings: Findings,
): Promise<void> {
  const ways = discovery.methods.map(({ method }) => method).join(", ");
  await findings.check(`finding a gateway by ${ways}`, async () => {
    const name = `${config.domain}/cli/doctor`;
    const options = { instance: `doctor-${process.pid}`, advertise: false, timeoutMs: attachMs };
    await using agent = await connectAgent({ home, config, name, discovery, ...options });
    const { gateway, discovery: found } = agent.status();
    return describeDiscovery(gateway, found);
  });
}

async function examinePeers(
  operator: Operator,
  config: DomainConfig,
  gateway: GatewayConfig,
  findings: Findings,
): Promise<void> {
  await findings.check(`peers of ${gateway.name}`, async () => {
    const { peers } = await operator.gateway(gateway).listPeers({}, { timeoutMs: answerMs });
    return describePeers(neighboursOf(gateway, config.gateways), peers);
  });
}

/** URLs of the gateways that a gateway has to be connected to: those that it names, and those of its domain that name it. */
export function neighboursOf(gateway: Neighbour, all: readonly Neighbour[]): ReadonlySet<string> {
  const naming = all.filter((each) => [...each.uplinks, ...each.peers].includes(gateway.url));
  return new Set([...gateway.uplinks, ...gateway.peers, ...naming.map((each) => each.url)]);
}

/** Says how many are connected. Throws when one is lost or missing. A registry, which reads records, is none of them. */
export function describePeers(
  neighbours: ReadonlySet<string>,
  peers: readonly { readonly gatewayUri: string; readonly level: number; readonly syncState: string }[],
): string {
  const lost = peers.filter((peer) => peer.syncState !== "ESTABLISHED");
  if (lost.length > 0) throw new Error(lost.map((peer) => `${peer.gatewayUri} is ${peer.syncState}`).join(", "));
  const gateways = peers.filter((peer) => peer.level > 0);
  if (gateways.length < neighbours.size)
    throw new Error(
      `${gateways.length} of ${neighbours.size} configured peers are connected (${[...neighbours].join(", ")}); check their addresses and trust`,
    );
  return `${gateways.length} established`;
}

/** Where a folder lies, or will lie. */
function freeBytes(folder: string): number {
  if (!existsSync(folder)) return freeBytes(dirname(folder));
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

class Findings {
  readonly #all: Finding[] = [];

  get all(): readonly Finding[] {
    return this.#all;
  }

  /** Notes what `run` answers, or what it throws; answers undefined then. */
  async check<T>(
    name: string,
    run: () => T | Promise<T>,
    describe: (value: T) => string = String,
  ): Promise<T | undefined> {
    try {
      const value = await run();
      this.#all.push({ check: name, ok: true, detail: describe(value) });
      return value;
    } catch (thrown) {
      this.#all.push({ check: name, ok: false, detail: sentenceOf(thrown) });
      return undefined;
    }
  }
}
