/** Bounds of direct links, each with its default and what happens there. */
export interface DirectLimits {
  /** Direct links at once, dialled and accepted together; further ones are refused with `CAUSEWAY_LIMIT_COUNT`. */
  readonly linksMax: number;
  /** A link over which nothing came or went for this long is closed. */
  readonly idleMs: number;
  /** From dialling, or from the accepted connection, until both sides have said who they are. */
  readonly helloMs: number;
  /** Addresses of other agents that are remembered; the one learned first goes first. */
  readonly addressesMax: number;
  /** Agents that were told the own address; the one told first may be told again. */
  readonly toldMax: number;
  /** Key packages that one agent gets over direct links in a minute. */
  readonly keyPackagesPerMinute: number;
}

export const directLimits: DirectLimits = {
  linksMax: 64,
  idleMs: 300_000,
  helloMs: 10_000,
  addressesMax: 1_024,
  toldMax: 4_096,
  keyPackagesPerMinute: 30,
};
