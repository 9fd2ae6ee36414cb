/** What a registry counts and holds, in the text format that Prometheus reads (AAP-103). */
import {
  type CallTally,
  openMetricsText,
  type ProcessUsage,
  processFamilies,
  type TableSize,
  tableFamilies,
} from "@causeway/core-base";

/** What each table holds. */
export const registryTables = {
  registrations: "Agents of the domain that are registered.",
  catalogue: "Agents that can be found: registered here, or followed from the gateway.",
  followed_records: "Records followed from the Level-2 gateway.",
  query_callers: "Callers whose searches are being counted.",
  registration_callers: "Callers whose registrations are being counted.",
} as const;

/** How full each is. */
export type RegistryTableSizes = Readonly<Record<keyof typeof registryTables, TableSize>>;

/** What the text is made of. */
export interface RegistryMetricsParts {
  readonly sizes: RegistryTableSizes;
  readonly calls: CallTally;
  readonly usage: ProcessUsage | undefined;
  readonly startedUnixMs: number;
}

/** The text of now. */
export function registryMetricsText({ sizes, calls, usage, startedUnixMs }: RegistryMetricsParts): string {
  return openMetricsText([
    ...tableFamilies(sizes),
    ...calls.families("causeway_registry"),
    ...processFamilies(usage, "causeway_registry_start_time_seconds", startedUnixMs),
  ]);
}
