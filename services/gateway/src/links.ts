/** Every open AGP link of this gateway, by number. */
import type { GatewayUri, Instant } from "@causeway/core-base";
import type { Arrival } from "@causeway/core-forwarding";
import type { VerifiedPeer } from "@causeway/core-identity";
import { asLinkId, type LinkId } from "@causeway/core-wire";
import type { BulkIntake } from "./bulk-flow.ts";
import type { GatewayLimits, Link, PeerConfig } from "./ports.ts";
import { TokenBucket } from "./token-bucket.ts";

/** What a link is, which says what may come over it. */
export type LinkRole =
  /** An agent in its handshake. */
  | { readonly kind: "agent-handshake" }
  | { readonly kind: "agent"; readonly arrival: Extract<Arrival, { kind: "agent" }> }
  /** A gateway dialled us; its PeerOpen is awaited. */
  | { readonly kind: "peer-accepting" }
  /** We dialled a gateway; its PeerAccept is awaited. */
  | { readonly kind: "peer-opening"; readonly config: PeerConfig }
  | {
      readonly kind: "peer";
      readonly arrival: Extract<Arrival, { kind: "peer" }>;
      readonly level: 1 | 2;
      /** Protocols that it named when it connected. */
      readonly features: readonly string[];
      readonly config: PeerConfig | undefined;
    }
  | { readonly kind: "closed" };

/** Why reading from a link is stopped. It goes on when no reason is left. */
type PauseReason = string;

/** By number and by size. */
interface Rates {
  readonly messageRate: TokenBucket;
  readonly byteRate: TokenBucket;
}

/** One link and what is counted of it. */
export class LinkEntry {
  readonly id: LinkId;
  readonly link: Link;
  readonly messageRate: TokenBucket;
  readonly byteRate: TokenBucket;
  /** Of control frames, which have a rate of their own; made with the first one. */
  #control: Rates | undefined;
  /** What the agent takes, by its own word; undefined for anything. */
  deliveryRate: TokenBucket | undefined = undefined;
  role: LinkRole;
  messagesIn = 0;
  messagesOut = 0;
  /** Messages refused by a rate limit, less those that passed since. */
  floodLevel = 0;
  /** A neighbour that has said that it goes out of service. */
  isLeaving = false;
  /** Made with the first bulk that it brings. */
  bulk: BulkIntake | undefined = undefined;
  /** Made at the first pause. */
  #pauses: Set<PauseReason> | undefined;

  constructor(id: LinkId, link: Link, role: LinkRole, limits: GatewayLimits, now: Instant) {
    this.id = id;
    this.link = link;
    this.role = role;
    const { messages, bytes, seconds } = ratesOf(link, limits);
    this.messageRate = new TokenBucket(messages, messages * seconds, now);
    this.byteRate = new TokenBucket(bytes, bytes * seconds, now);
  }

  /** Limits have changed. */
  applyRates(limits: GatewayLimits): void {
    const { messages, bytes, seconds } = ratesOf(this.link, limits);
    this.messageRate.setRate(messages, messages * seconds);
    this.byteRate.setRate(bytes, bytes * seconds);
    this.bulk?.applyRates(limits, factorOf(this.link, limits));
    if (this.#control === undefined) return;
    const control = controlRatesOf(this.link, limits);
    this.#control.messageRate.setRate(control.messages, control.messages * control.seconds);
    this.#control.byteRate.setRate(control.bytes, control.bytes * control.seconds);
  }

  /** The rates of control frames. */
  controlRates(limits: GatewayLimits, now: Instant): Rates {
    if (this.#control === undefined) {
      const { messages, bytes, seconds } = controlRatesOf(this.link, limits);
      this.#control = {
        messageRate: new TokenBucket(messages, messages * seconds, now),
        byteRate: new TokenBucket(bytes, bytes * seconds, now),
      };
    }
    return this.#control;
  }

  get peer(): VerifiedPeer {
    return this.link.peer;
  }

  /** Agent ID or gateway URI, for logs. */
  get name(): string {
    return this.role.kind === "peer" ? this.role.arrival.peer : this.peer.spiffeId;
  }

  pause(reason: PauseReason): void {
    this.#pauses ??= new Set();
    if (this.#pauses.size === 0) this.link.pause();
    this.#pauses.add(reason);
  }

  resume(reason: PauseReason): void {
    const pauses = this.#pauses;
    if (pauses?.delete(reason) === true && pauses.size === 0 && this.role.kind !== "closed") this.link.resume();
  }
}

const factorOf = (link: Link, limits: GatewayLimits): number =>
  link.peer.role === "gateway" ? limits.peerRateFactor : 1;

interface PerSecond {
  readonly messages: number;
  readonly bytes: number;
  /** Of burst. */
  readonly seconds: number;
}

/** A control frame costs more than a message: there may never be more of them. */
function controlRatesOf(link: Link, limits: GatewayLimits): PerSecond {
  const { messages, bytes, seconds } = ratesOf(link, limits);
  const factor = factorOf(link, limits);
  return {
    messages: Math.min(limits.agentControlMessagesPerSecond * factor, messages),
    bytes: Math.min(limits.agentControlBytesPerSecond * factor, bytes),
    seconds,
  };
}

function ratesOf(link: Link, limits: GatewayLimits): PerSecond {
  const factor = factorOf(link, limits);
  return {
    messages: limits.agentMessagesPerSecond * factor,
    bytes: limits.agentBytesPerSecond * factor,
    seconds: limits.rateBurstSeconds,
  };
}

/** The table of links. */
export class Links {
  readonly #limits: GatewayLimits;
  readonly #entries = new Map<LinkId, LinkEntry>();
  readonly #peers = new Map<GatewayUri, LinkEntry>();
  #last = 0;

  constructor(limits: GatewayLimits) {
    this.#limits = limits;
  }

  add(link: Link, role: LinkRole, now: Instant): LinkEntry {
    const entry = new LinkEntry(asLinkId(++this.#last), link, role, this.#limits, now);
    this.#entries.set(entry.id, entry);
    return entry;
  }

  get(id: LinkId): LinkEntry | undefined {
    return this.#entries.get(id);
  }

  remove(entry: LinkEntry): void {
    entry.role = { kind: "closed" };
    this.#entries.delete(entry.id);
  }

  all(): readonly LinkEntry[] {
    return [...this.#entries.values()];
  }

  /** The data link to a neighbour. */
  peer(uri: GatewayUri): LinkEntry | undefined {
    return this.#peers.get(uri);
  }

  peers(): readonly LinkEntry[] {
    return [...this.#peers.values()];
  }

  setPeer(uri: GatewayUri, entry: LinkEntry | undefined): void {
    if (entry === undefined) this.#peers.delete(uri);
    else this.#peers.set(uri, entry);
  }
}
