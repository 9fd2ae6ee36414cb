import { type AnyLimitTable, type LimitTable, LiveLimits, limitsBeside } from "@causeway/core-base";

/** Bounds of a registry, each with a default in `registryLimits`. */
export interface RegistryLimits {
  /** Discovery queries of one agent in a minute (ANA-48). */
  readonly queriesPerMinute: number;
  /** Registrations and deregistrations of one caller in a minute. */
  readonly registrationsPerMinute: number;
  /** Validity of a receipt; a gateway stops announcing a record whose receipt ran out. */
  readonly receiptMs: number;
  /** How long a deregistered profile stays in the audit view. */
  readonly retentionMs: number;
  /** Registrations; further ones are refused. */
  readonly registrationsMax: number;
}

const day = 86_400_000;

/** Default bounds. */
export const registryLimits: RegistryLimits = {
  queriesPerMinute: 60,
  registrationsPerMinute: 60,
  receiptMs: day,
  retentionMs: 30 * day,
  registrationsMax: 1_000_000,
};

const own: LimitTable<RegistryLimits> = {
  defaults: registryLimits,
  rules: {
    queriesPerMinute: { min: 1, max: 1_000_000, effect: "at once" },
    registrationsPerMinute: { min: 1, max: 1_000_000, effect: "at once" },
    receiptMs: { min: 60_000, max: 365 * day, effect: "for new" },
    retentionMs: { min: 0, max: 3_650 * day, effect: "at once" },
    registrationsMax: { min: 1, max: 100_000_000, effect: "at once" },
  },
};

/** The limits of a registry with this configuration, and of what it runs on. */
export function createRegistryLimits(
  configured: Partial<RegistryLimits>,
  beside?: AnyLimitTable,
): LiveLimits<RegistryLimits> {
  return new LiveLimits({ ...limitsBeside(own, beside), configured });
}
