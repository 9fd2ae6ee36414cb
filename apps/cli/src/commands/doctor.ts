/** A check-up: what a domain on this machine needs, each with what to do when it is missing. */
import { existsSync, statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { CausewayError } from "@causeway/core-base";
import type { DomainConfig } from "../config/domain.ts";
import { Operator } from "../processes/operator.ts";
import type { CommonOptions, Context } from "./context.ts";

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
}

const freeBytesMin = 256 * 1024 * 1024;
const nodeMajorMin = 24;

/** Prints every finding; answers the exit code. */
export async function doctor({ out, home }: Context, options: CommonOptions): Promise<number> {
  const findings: Finding[] = [];
  const check = async (name: string, run: () => string | Promise<string>): Promise<void> => {
    try {
      findings.push({ check: name, ok: true, detail: await run() });
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      const detail = error.code === "CAUSEWAY_INTERNAL" && thrown instanceof Error ? thrown.message : error.message;
      findings.push({ check: name, ok: false, detail });
    }
  };
  await check("Node", () => {
    const major = Number(process.versions.node.split(".")[0]);
    if (major < nodeMajorMin) throw new Error(`found ${process.version}; install Node ${nodeMajorMin} or later`);
    return process.version;
  });
  let config: DomainConfig | undefined;
  await check("configuration", () => {
    config = home.config(options);
    return `${config.domain}, data in ${config.dataDir}`;
  });
  if (config !== undefined) await checkDomain(config, check);
  out.result({ ok: findings.every((f) => f.ok), findings }, () =>
    findings.map((f) => `${f.ok ? out.style.good("ok  ") : out.style.bad("FAIL")} ${f.check}: ${f.detail}`).join("\n"),
  );
  return findings.every((f) => f.ok) ? 0 : 1;
}

async function checkDomain(
  config: DomainConfig,
  check: (name: string, run: () => string | Promise<string>) => Promise<void>,
): Promise<void> {
  await check("disk", () => {
    const place = existsSync(config.dataDir) ? config.dataDir : dirname(config.dataDir);
    const { bavail, bsize } = statfsSync(place);
    const free = bavail * bsize;
    if (free < freeBytesMin)
      throw new Error(
        `${Math.round(free / 1e6)} MB free where ${config.dataDir} lies; a gateway refuses records when it is full. Free some space`,
      );
    return `${Math.round(free / 1e9)} GB free`;
  });
  await check("master key", () => {
    if (!existsSync(config.masterKeyFile))
      throw new Error(`${config.masterKeyFile} does not exist; "causeway up" makes it, or restore it from a backup`);
    const mode = statSync(config.masterKeyFile).mode & 0o077;
    if (mode !== 0)
      throw new Error(`${config.masterKeyFile} can be read by others; run: chmod 600 ${config.masterKeyFile}`);
    return config.masterKeyFile;
  });
  let operator: Operator | undefined;
  await check("operator identity", async () => {
    operator = await Operator.open(config);
    return "can be opened";
  });
  if (operator === undefined) return;
  await using open = operator;
  const services = [
    { name: "authority", url: config.authority.url, role: "authority" as const },
    ...(config.registry ? [{ name: "registry", url: config.registry.url, role: "registry" as const }] : []),
    ...config.gateways.map((gateway) => ({ name: gateway.name, url: gateway.url, role: "gateway" as const })),
  ];
  for (const { name, url, role } of services) {
    await check(`${name} at ${url}`, async () => {
      const peer = await open.probe(url, role);
      return `${peer.spiffeId}, certificate until ${new Date(peer.notAfterUnixMs).toISOString()}`;
    });
  }
  for (const gateway of config.gateways) {
    await check(`peers of ${gateway.name}`, async () => {
      const { peers } = await open.gateway(gateway).listPeers({}, { timeoutMs: 5_000 });
      const lost = peers.filter((peer) => peer.syncState !== "ESTABLISHED");
      if (lost.length > 0) throw new Error(lost.map((peer) => `${peer.gatewayUri} is ${peer.syncState}`).join(", "));
      const expected = gateway.uplinks.length + gateway.peers.length;
      if (peers.length < expected)
        throw new Error(
          `${peers.length} of ${expected} configured peers are connected; check their addresses and trust`,
        );
      return `${peers.length} established`;
    });
  }
}
