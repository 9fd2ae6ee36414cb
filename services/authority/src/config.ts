import { type Domain, defaults, refuse } from "@causeway/core-base";

/** Configuration of an authority. Times in milliseconds. */
export interface AuthorityConfig {
  readonly domain: Domain;
  /** https://host:port under which agents reach this authority; goes into join tokens and the trust bundle. */
  readonly url: string;
  /** Lifetime of leaf certificates. Default 24 h, from 1 min to 7 days. */
  readonly leafLifetimeMs?: number;
  /** Default 365 days; certified again under the same key when a third is left. */
  readonly issuingLifetimeMs?: number;
  /** Default 3,650 days. */
  readonly rootLifetimeMs?: number;
  /** From thisUpdate to nextUpdate of a CRL; a new one is made after a third of it. Default 24 h, at least 3 min. */
  readonly crlLifetimeMs?: number;
  /** How often CRLs of other domains are fetched. Default 60 s. */
  readonly crlRefreshMs?: number;
  /** How long after its expiry an identity may come back by proving its key. Default 30 days; 0 for never. */
  readonly lapsedMs?: number;
  /** Longest lifetime of a join token. Default 30 days. */
  readonly tokenLifetimeMsMax?: number;
  /** How long an application waits for a decision. Default 7 days. */
  readonly applicationLifetimeMs?: number;
  /** Applications that wait for a decision; further ones are refused. Default 1,000. */
  readonly applicationsMax?: number;
  /** WatchTrust streams; further ones are refused. Default 100,000. */
  readonly watchersMax?: number;
  /** Other domains that are trusted. Default 10,000. */
  readonly foreignDomainsMax?: number;
  /**
   * How long certificates are kept in the archive after they expired, and revoked record keys on the CRL. Default and
   * least 90 days, the greatest age of a signature that is still accepted.
   */
  readonly archiveMs?: number;
  /** Certificates of one purpose that one identity may hold at once; further renewals are refused. Default 30. */
  readonly certificatesPerIdentityMax?: number;
}

/** The configuration with every default in place. */
export type AuthoritySettings = Required<AuthorityConfig>;

/** Fills in defaults and checks bounds. Throws `CAUSEWAY_CONFIG_INVALID`. */
export function resolveSettings(config: AuthorityConfig): AuthoritySettings {
  if (!/^https:\/\/[^/\s?#@]+:\d{1,5}$/.test(config.url)) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected the authority's url as https://host:port, got ${JSON.stringify(config.url.slice(0, 100))}`,
    );
  }
  const settings: AuthoritySettings = { ...settingDefaults, ...withoutUndefined(config) };
  bounded("leafLifetimeMs", settings.leafLifetimeMs, minute, 7 * day);
  bounded("issuingLifetimeMs", settings.issuingLifetimeMs, 2 * settings.leafLifetimeMs, settings.rootLifetimeMs);
  bounded("crlLifetimeMs", settings.crlLifetimeMs, 3 * minute, 30 * day);
  bounded("archiveMs", settings.archiveMs, signatureAgeMsMax, 3_650 * day);
  bounded("crlRefreshMs", settings.crlRefreshMs, 1_000, day);
  return settings;
}

function bounded(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw refuse("CAUSEWAY_CONFIG_INVALID", `expected ${name} from ${min} to ${max} ms, got ${value}`);
}

function withoutUndefined(config: AuthorityConfig): AuthorityConfig {
  // Object.entries loses the types; only members that are undefined are left out.
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined),
  ) as unknown as AuthorityConfig;
}

const minute = 60_000;
const day = 86_400_000;
/** As in core/records, which a certificate authority does not know otherwise. */
const signatureAgeMsMax = 90 * day;

const settingDefaults = {
  leafLifetimeMs: defaults.certificateLifetimeMs,
  issuingLifetimeMs: 365 * day,
  rootLifetimeMs: 3_650 * day,
  crlLifetimeMs: day,
  crlRefreshMs: defaults.crlRefreshMs,
  lapsedMs: 30 * day,
  tokenLifetimeMsMax: 30 * day,
  applicationLifetimeMs: 7 * day,
  applicationsMax: 1_000,
  watchersMax: 100_000,
  foreignDomainsMax: 10_000,
  archiveMs: signatureAgeMsMax,
  certificatesPerIdentityMax: 30,
} as const;
