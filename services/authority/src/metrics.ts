/** What an authority counts and holds, in the text format that Prometheus reads (AAP-103). */
import {
  type CallTally,
  openMetricsText,
  type ProcessUsage,
  processFamilies,
  type TableSize,
  tableFamilies,
} from "@causeway/core-base";

/** What each table holds. */
export const authorityTables = {
  applications: "Applications that wait for a decision.",
  certificates: "Certificates in the store, expired ones in the archive included; counted once a minute.",
  tokens: "Join tokens in the store, used and expired ones in the archive included; counted once a minute.",
  foreign_domains: "Other domains that are trusted.",
  trust_watchers: "Connections that follow the trust state.",
} as const;

/** How full each is. */
export type AuthorityTableSizes = Readonly<Record<keyof typeof authorityTables, TableSize>>;

/** What the text is made of. */
export interface AuthorityMetricsParts {
  readonly sizes: AuthorityTableSizes;
  readonly calls: CallTally;
  readonly usage: ProcessUsage | undefined;
  readonly startedUnixMs: number;
}

/** The text of now. */
export function authorityMetricsText({ sizes, calls, usage, startedUnixMs }: AuthorityMetricsParts): string {
  return openMetricsText([
    ...tableFamilies(sizes),
    ...calls.families("causeway_authority"),
    ...processFamilies(usage, "causeway_authority_start_time_seconds", startedUnixMs),
  ]);
}
