/** The tables of an authority, as they are named and counted in its metrics (AAP-103). */
import type { TableSize } from "@causeway/core-base";

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
