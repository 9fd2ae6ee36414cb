import {
  type AnyLimitTable,
  type Domain,
  defaults,
  type LimitTable,
  LiveLimits,
  limitsBeside,
  refuse,
} from "@causeway/core-base";

/** Bounds and timers of an authority. Times in milliseconds. */
export interface AuthorityLimits {
  /** Lifetime of leaf certificates. From 1 min to 7 days. */
  readonly leafLifetimeMs: number;
  /** Of the issuing certificate; certified again under the same key when a third is left. */
  readonly issuingLifetimeMs: number;
  /** Of the root, when it is made. */
  readonly rootLifetimeMs: number;
  /** From thisUpdate to nextUpdate of a CRL; made anew after a third of it, and when it changes. At least 3 min. */
  readonly crlLifetimeMs: number;
  /** How often CRLs of other domains are fetched. */
  readonly crlRefreshMs: number;
  /** How long after its expiry an identity may come back by proving its key; 0 for never. */
  readonly lapsedMs: number;
  /** Longest lifetime of a join token. */
  readonly tokenLifetimeMsMax: number;
  /** How long an application waits for a decision. */
  readonly applicationLifetimeMs: number;
  /** Applications that wait for a decision; further ones are refused. */
  readonly applicationsMax: number;
  /** WatchTrust streams; further ones are refused. */
  readonly watchersMax: number;
  /** Other domains that are trusted. */
  readonly foreignDomainsMax: number;
  /**
   * How long certificates are kept in the archive after they expired, and revoked record keys on the CRL. Default and
   * least 90 days, the greatest age of a signature that is still accepted.
   */
  readonly archiveMs: number;
  /** Certificates of one purpose that one identity may hold at once; further renewals are refused. */
  readonly certificatesPerIdentityMax: number;
}

/** Configuration of an authority: limits that are left out have their default. */
export interface AuthorityConfig extends Partial<AuthorityLimits> {
  readonly domain: Domain;
  /** https://host:port under which agents reach this authority; goes into join tokens and the trust bundle. */
  readonly url: string;
}

/** Domain, URL and the limits of now: they follow changes, so read them at each use. */
export type AuthoritySettings = AuthorityLimits & Pick<AuthorityConfig, "domain" | "url">;

/** The limits of this configuration, and of what the authority runs on. Throws `CAUSEWAY_CONFIG_INVALID`. */
export function createAuthorityLimits(config: AuthorityConfig, beside?: AnyLimitTable): LiveLimits<AuthorityLimits> {
  const { domain: _domain, url: _url, ...configured } = config;
  return new LiveLimits({ ...limitsBeside(own, beside), configured });
}

/** Checks the rest of the configuration. Throws `CAUSEWAY_CONFIG_INVALID`. */
export function settingsOf({ domain, url }: AuthorityConfig, limits: AuthorityLimits): AuthoritySettings {
  if (!/^https:\/\/[^/\s?#@]+:\d{1,5}$/.test(url)) {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected the authority's url as https://host:port, got ${JSON.stringify(url.slice(0, 100))}`,
    );
  }
  const settings = { domain, url };
  for (const name of Object.keys(authorityLimits) as (keyof AuthorityLimits)[])
    Object.defineProperty(settings, name, { enumerable: true, get: () => limits[name] });
  return settings as AuthoritySettings;
}

const minute = 60_000;
const day = 86_400_000;
const countMax = 10_000_000;
/** As in core/records, which a certificate authority does not know otherwise. */
const signatureAgeMsMax = 90 * day;

/** Default bounds. */
export const authorityLimits: AuthorityLimits = {
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
};

const own: LimitTable<AuthorityLimits> = {
  defaults: authorityLimits,
  rules: {
    leafLifetimeMs: { min: minute, max: 7 * day, effect: "for new" },
    issuingLifetimeMs: { min: 2 * minute, max: 36_500 * day, effect: "for new" },
    rootLifetimeMs: { min: 2 * minute, max: 36_500 * day, effect: "after a restart" },
    crlLifetimeMs: { min: 3 * minute, max: 30 * day, effect: "for new" },
    crlRefreshMs: { min: 1_000, max: day, effect: "after a restart" },
    lapsedMs: { min: 0, max: 3_650 * day, effect: "at once" },
    tokenLifetimeMsMax: { min: minute, max: 365 * day, effect: "for new" },
    applicationLifetimeMs: { min: minute, max: 365 * day, effect: "at once" },
    applicationsMax: { min: 1, max: countMax, effect: "at once" },
    watchersMax: { min: 1, max: countMax, effect: "at once" },
    foreignDomainsMax: { min: 1, max: countMax, effect: "at once" },
    archiveMs: { min: signatureAgeMsMax, max: 3_650 * day, effect: "at once" },
    certificatesPerIdentityMax: { min: 2, max: 10_000, effect: "at once" },
  },
  contradiction({ leafLifetimeMs, issuingLifetimeMs, rootLifetimeMs }) {
    if (2 * leafLifetimeMs > issuingLifetimeMs)
      return `expected leafLifetimeMs of at most half of issuingLifetimeMs, got ${leafLifetimeMs} and ${issuingLifetimeMs}`;
    if (issuingLifetimeMs > rootLifetimeMs)
      return `expected issuingLifetimeMs of at most rootLifetimeMs, got ${issuingLifetimeMs} and ${rootLifetimeMs}`;
    return undefined;
  },
};

/** What may be set, and when it counts. */
export const authorityLimitRules = own.rules;
