/** What measurements with many connections share. */
import type { BenchDomain } from "../certificates.ts";
import type { BenchOptions } from "../options.ts";
import { cpuSeconds, type Processes } from "../processes.ts";
import type { RelaySystem, RunningGateway } from "../system.ts";
import type { Crowd } from "./crowd.ts";
import type { EndSpec } from "./end.ts";

/** What a row is measured with. */
export interface CrowdContext {
  readonly system: RelaySystem;
  readonly domain: BenchDomain;
  readonly options: BenchOptions;
  readonly processes: Processes;
  readonly workDir: string;
}

/** Figures of one measurement, by name. */
export type Figures = Readonly<Record<string, number>>;

export async function withGateway(
  context: CrowdContext,
  work: (gateway: RunningGateway) => Promise<Figures>,
  isStoring = false,
): Promise<Figures> {
  const gateway = await context.system.start(context.processes, context.workDir, isStoring);
  try {
    return await work(gateway);
  } finally {
    await gateway.stop();
  }
}

export function who({ system, domain }: CrowdContext, path: string): EndSpec {
  return system.name === "causeway" ? { name: path, identity: domain.identity(path) } : { name: path };
}

export const full = ({ system, domain }: CrowdContext, path: string): string =>
  system.name === "causeway" ? `spiffe://${domain.name}/${path}` : path;

export async function counted(crowd: Crowd, gateway: RunningGateway) {
  const { total, at } = await crowd.ask({ do: "count" }, "count");
  return { total, at, cpu: cpuSeconds(gateway.pid) ?? Number.NaN };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** With few messages a second the compiler needs longer to see what is hot. */
export const warmUpMsMin = 3_000;
/** Attachments of one identity, below the limit for one agent. */
export const instancesEach = 30;
