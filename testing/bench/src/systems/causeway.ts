import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { BenchDomain } from "../certificates.ts";
import { type Core, messageOf, type Processes } from "../processes.ts";
import type { LeaseTimes, RelaySystem, RunningGateway } from "../system.ts";

/** Our gateway: admission, header scan, forwarding table, limits, MLS framing check. */
export function causewaySystem(domain: BenchDomain): RelaySystem {
  return {
    name: "causeway",
    description:
      "the gateway service with SQLite store, agents attached with leases, rates of one agent and quotas of mailboxes set out of the way; client: ready-made frames on a link, one write for each turn, no SDK and no MLS work",
    prepare: async () => ({ version: "this checkout" }),
    start: (processes, workDir) => startCauseway(domain, processes, workDir, { workers: 0, core: 0 }),
  };
}

/** Our gateway, which also tells how many agents it lists. */
interface RunningCauseway extends RunningGateway {
  attachments(): Promise<number>;
}

/** Starts our gateway, with the default times of leases where `times` has no others. */
export async function startCauseway(
  domain: BenchDomain,
  processes: Processes,
  workDir: string,
  { workers, core, times = {} }: { readonly workers: number; readonly core: Core; readonly times?: LeaseTimes },
): Promise<RunningCauseway> {
  const child = processes.node(new URL("../gateways/causeway.ts", import.meta.url), core, gatewayFlags);
  const ready = messageOf(child, isReady, "the gateway");
  const trustState = domain.trustState();
  const directory = mkdtempSync(join(workDir, "gateway-"));
  const gatewayUri = `https://gw1.${domain.name}/amsp`;
  const identity = domain.identity("gateway/gw1", "gateway");
  child.send({ identity, gatewayUri, trustState, directory, workers, times });
  const { url } = await ready;
  const client = (role: string) => ({
    client: "causeway" as const,
    settings: { url, trustState, identity: domain.identity(`bench/${role}`) },
  });
  return {
    pid: child.pid ?? 0,
    clients: { sender: client("sender"), receiver: client("receiver") },
    async attachments() {
      const answer = messageOf(child, isCount, "the gateway's list of attachments");
      child.send("attachments");
      return (await answer).attachments;
    },
    stop: () => processes.end(child),
  };
}

/** As `causeway gateway` is started (scripts/run.mjs). */
const gatewayFlags = ["--max-semi-space-size=2"];

const isReady = (message: unknown): message is { readonly url: string } =>
  typeof message === "object" && message !== null && "url" in message;

const isCount = (message: unknown): message is { readonly attachments: number } =>
  typeof message === "object" && message !== null && "attachments" in message;
