import { availableParallelism } from "node:os";

/** What the machine has. */
export interface Machine {
  readonly cores: number;
  readonly platform: string;
}

/**
 * How many IO workers a port gets that leaves it to the machine: none on two cores or fewer, where threads have nothing
 * to run on, and none where the system does not spread the connections of a shared port; otherwise a core for each of at
 * most four, and one for the main thread.
 */
export function autoWorkers(
  { cores, platform }: Machine = { cores: availableParallelism(), platform: process.platform },
): number {
  return platform !== "linux" || cores <= 2 ? 0 : Math.min(workersAutoMax, cores - 1);
}

const workersAutoMax = 4;
