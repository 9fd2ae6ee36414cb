/** The gateway with none, one and two IO workers: what it relays, and which threads it costs. */
import type { BenchDomain } from "../certificates.ts";
import { type Figures, sleep, warmUpMsMin } from "../crowd/context.ts";
import { Crowd } from "../crowd/crowd.ts";
import type { EndSpec } from "../crowd/end.ts";
import type { Figure } from "../figures.ts";
import type { BenchOptions } from "../options.ts";
import type { Processes } from "../processes.ts";
import type { RunningGateway } from "../system.ts";
import { startCauseway } from "../systems/causeway.ts";
import { threadCpuOf } from "./thread-cpu.ts";

/** How many workers are compared. */
export const workerCounts: readonly number[] = [0, 1, 2];

/** Messages that go to and fro between pairs of agents. */
interface Load {
  readonly name: string;
  readonly pairs: number;
  readonly size: number;
  /** Messages that each pair has under way. */
  readonly outstanding: number;
}

/** The loads of the row: pairs that keep the gateway busy, and pairs with one message under way, of which none can be batched. */
function loadsOf(sizes: readonly number[]): readonly Load[] {
  const busy = sizes.map((size) => ({
    name: `${size}`,
    pairs: busyPairs,
    size,
    outstanding: Math.max(8, Math.min(512, Math.floor(outstandingBytes / size))),
  }));
  return [...busy, { name: "1024, one each", pairs: 64, size: 1_024, outstanding: 1 }];
}

/** Measures all loads at a gateway with so many workers. Gateway and agents may use every core. */
export async function measureWorkers(
  workers: number,
  domain: BenchDomain,
  options: BenchOptions,
  processes: Processes,
  workDir: string,
): Promise<Figures> {
  const gateway = await startCauseway(domain, processes, workDir, { workers, core: "any" });
  try {
    const figures: Record<string, number> = {};
    for (const load of loadsOf(options.sizes)) {
      const measured = await measureLoad(load, gateway, domain, options, processes);
      for (const [name, value] of Object.entries(measured))
        figures[`workers ${workers}, ${load.name}: ${name}`] = value;
    }
    return figures;
  } finally {
    await gateway.stop();
  }
}

async function measureLoad(
  load: Load,
  gateway: RunningGateway,
  domain: BenchDomain,
  options: BenchOptions,
  processes: Processes,
): Promise<Figures> {
  const ends = (side: string, other: string): EndSpec[] =>
    Array.from({ length: load.pairs }, (_, i) => ({
      name: `bench/${side}${i}`,
      identity: domain.identity(`bench/${side}${i}`),
      target: { agent: `spiffe://${domain.name}/bench/${other}${i}` },
    }));
  const replying = await Crowd.open(processes, gateway, ends("b", "a"), "any");
  const asking = await Crowd.open(processes, gateway, ends("a", "b"), "any");
  try {
    await replying.ask({ do: "prepare", size: load.size, isEchoing: true }, "prepare");
    await asking.ask({ do: "prepare", size: load.size, isEchoing: false }, "prepare");
    asking.tell({ do: "ping", outstanding: load.outstanding });
    await sleep(Math.max(warmUpMsMin, options.warmUpMs));
    const before = { ...(await asking.ask({ do: "count" }, "count")), cpu: threadCpuOf(gateway.pid) };
    await sleep(options.floodMs);
    const after = { ...(await asking.ask({ do: "count" }, "count")), cpu: threadCpuOf(gateway.pid) };
    await asking.ask({ do: "stop" }, "stop");
    // There and back.
    const messages = 2 * (after.total - before.total);
    if (messages === 0) throw new Error(`no message of ${load.size} bytes came back`);
    const micros = (kind: "main" | "workers" | "others"): number =>
      ((after.cpu[kind] - before.cpu[kind]) * 1e6) / messages;
    return {
      "messages/s": (messages * 1_000) / (after.at - before.at),
      "main µs": micros("main"),
      "workers µs": micros("workers"),
      "other µs": micros("others"),
    };
  } finally {
    await Promise.all([replying.end(), asking.end()]);
  }
}

/** The figures as lines: for each load and count of workers the median of the rounds. */
export function workerLines(figures: readonly Figure[]): readonly (readonly string[])[] {
  const medians = new Map<string, number>();
  for (const [name, group] of Map.groupBy(figures, (figure) => figure.name)) {
    const sorted = group.map(({ value }) => value).sort((a, b) => a - b);
    medians.set(name, sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN);
  }
  const heads = [...new Set([...medians.keys()].flatMap((name) => /^(workers \d+, .*): /.exec(name)?.[1] ?? []))];
  return heads.map((head) => {
    const [, workers = "", load = ""] = /^workers (\d+), (.*)$/.exec(head) ?? [];
    const cell = (name: string, digits: number): string =>
      (medians.get(`${head}: ${name}`) ?? Number.NaN).toFixed(digits);
    return [load, workers, cell("messages/s", 0), cell("main µs", 2), cell("workers µs", 2), cell("other µs", 2)];
  });
}

/** Titles of `workerLines`. */
export const workerTitles: readonly string[] = [
  "payload",
  "workers",
  "messages/s",
  "main thread µs",
  "workers µs",
  "other threads µs",
];

const busyPairs = 8;
/** Of one pair. */
const outstandingBytes = 262_144;
