/** Bounds of direct links, each with its default and what happens there. */
export interface DirectLimits {
  /** Direct links at once, dialled and accepted together; further ones are refused with `CAUSEWAY_LIMIT_COUNT`. */
  readonly linksMax: number;
  /** A link over which nothing came or went for this long is closed. */
  readonly idleMs: number;
  /** From dialling, or from the accepted connection, until both sides have said who they are. */
  readonly helloMs: number;
  /** Messages of one direct link that are being decrypted and handed over; above it reading from that link pauses. */
  readonly receivingMax: number;
  /** Their bytes. At eight times either bound messages are dropped; their senders repeat them. */
  readonly receivingBytesMax: number;
  /** Questions of one direct link that are being answered; a link with more of them is ended with `CAUSEWAY_LIMIT_COUNT`. */
  readonly questionsMax: number;
  /** How often the other end of a link may say in a minute that it has a gateway or none; above it the link is ended. */
  readonly hellosPerMinute: number;
  /** After an attempt to dial that failed, the next one to the same agent waits so long. */
  readonly redialMs: number;
  /** Addresses of other agents that are remembered; the one learned first goes first. */
  readonly addressesMax: number;
  /** Agents that were told the own address, by their channels; the one told first may be told again. */
  readonly toldMax: number;
  /** How often one agent is told the own address in a minute, as often as it may start anew. */
  readonly tellsPerMinute: number;
  /** Key packages that one agent gets over direct links in a minute. */
  readonly keyPackagesPerMinute: number;
  /** Key packages that all agents together get over direct links in a minute; whoever asks then asks again later. */
  readonly keyPackagesPerMinuteTotal: number;
}

export const directLimits: DirectLimits = {
  linksMax: 64,
  idleMs: 300_000,
  helloMs: 10_000,
  receivingMax: 128,
  receivingBytesMax: 8_388_608,
  questionsMax: 16,
  hellosPerMinute: 30,
  redialMs: 1_000,
  addressesMax: 1_024,
  toldMax: 4_096,
  tellsPerMinute: 6,
  keyPackagesPerMinute: 30,
  keyPackagesPerMinuteTotal: 120,
};
