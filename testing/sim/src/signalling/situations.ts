/** Soft against stateful attachment in situations that differ in what agents do (AAP-92). */
import { type CrowdOptions, type CrowdReport, runCrowd } from "./crowd.ts";

/** What agents do beside being there. */
export const situations: Readonly<Record<string, Pick<CrowdOptions, "trafficMs" | "stayMs">>> = {
  idle: {},
  "a message every 30 s": { trafficMs: 30_000 },
  "a stay of 10 min": { stayMs: 600_000 },
  "a stay of 2 min": { stayMs: 120_000 },
};

/** Both models in one situation. */
export interface Comparison {
  readonly situation: string;
  readonly stateful: CrowdReport;
  readonly soft: CrowdReport;
}

export function compare(size: Pick<CrowdOptions, "agents" | "minutes" | "seed">): readonly Comparison[] {
  return Object.entries(situations).map(([situation, what]) => ({
    situation,
    stateful: runCrowd({ model: "stateful", ...size, ...what }),
    soft: runCrowd({ model: "soft", ...size, ...what }),
  }));
}

/** True when soft attachments cost less everywhere, nobody who is there was given up, and nobody who is not is kept. */
export function isAsPromised(comparisons: readonly Comparison[]): boolean {
  return comparisons.every(({ stateful, soft }) => {
    const isLess =
      soft.perAgentHour.frames < stateful.perAgentHour.frames && soft.perAgentHour.bytes < stateful.perAgentHour.bytes;
    return isLess && [stateful, soft].every(({ reaped, ghosts }) => reaped === 0 && ghosts === 0);
  });
}
