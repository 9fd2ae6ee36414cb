/** What is watched of a network while agents talk: memory of its processes, links, restarts. */
import { readFileSync } from "node:fs";
import type { World } from "../world.ts";

/** Memory of one process in MB. */
export interface MemoryLine {
  readonly process: string;
  readonly firstHalfMaxMb: number;
  readonly secondHalfMaxMb: number;
  /** The second half needs hardly more than the first one did. */
  readonly isBounded: boolean;
}

/** Takes samples until it is stopped. Without /proc there are none. */
export class MemoryWatch {
  readonly #samples = new Map<string, number[]>();
  readonly #timer: NodeJS.Timeout;

  constructor(world: World, everyMs: number) {
    const sample = (): void => {
      for (const { name, pid } of [...world.supervisor.services, { name: "agents", pid: process.pid }]) {
        const mb = residentMb(pid);
        if (mb !== undefined) this.#samples.set(name, [...(this.#samples.get(name) ?? []), mb]);
      }
    };
    sample();
    this.#timer = setInterval(sample, everyMs);
  }

  stop(): readonly MemoryLine[] {
    clearInterval(this.#timer);
    return [...this.#samples].map(([process, samples]) => {
      const half = Math.ceil(samples.length / 2);
      const firstHalfMaxMb = Math.max(...samples.slice(0, half));
      const secondHalfMaxMb = Math.max(firstOf(samples), ...samples.slice(half));
      const isBounded = secondHalfMaxMb <= firstHalfMaxMb * growthMax + growthMbMax;
      return { process, firstHalfMaxMb, secondHalfMaxMb, isBounded };
    });
  }
}

/** What has happened since the processes began. */
export interface Disturbances {
  /** Links between gateways that were lost. A gateway that starts anew counts from 0. */
  readonly linksLost: number;
  readonly restarts: number;
}

export async function disturbances({ network, supervisor }: World): Promise<Disturbances> {
  const texts = await Promise.all(
    network.operators.flatMap((operator) =>
      operator.config.gateways.map(async (gateway) => (await operator.metrics(gateway).readMetrics({})).text),
    ),
  );
  const linksLost = texts.reduce((sum, text) => {
    const [, count = "0"] = /^causeway_gateway_peer_links_down_total (\d+)/m.exec(text) ?? [];
    return sum + Number(count);
  }, 0);
  return { linksLost, restarts: supervisor.services.reduce((sum, { restarts }) => sum + restarts, 0) };
}

function residentMb(pid: number | undefined): number | undefined {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return kilobytes === undefined ? undefined : Math.round(Number(kilobytes) / 1_024);
  } catch {
    // No /proc here, or the process is gone, which its restart tells.
    return undefined;
  }
}

const firstOf = (samples: readonly number[]): number => samples[0] ?? 0;

/** A heap grows to where its collector is content: by a quarter, and by so much of a small one. */
const growthMax = 1.25;
const growthMbMax = 48;
