/** The tables of a registry, as they are named and counted in its metrics (AAP-103). */
import type { TableSize } from "@causeway/core-base";

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
