/** State of one link at the gateway. Which members exist depends on how far the handshake came: evidence is in the type. */
import type { ErrorFacts, Instant, UnixMs } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { LinkId } from "@causeway/core-wire";
import type { Due } from "./due-queue.ts";
import type { Attachment, Condition, LeaseTimes } from "./effects.ts";
import { type GatewayInput, type GatewayState, gatewayTransitions } from "./gateway-transitions.ts";
import type { HelloFacts } from "./hello.ts";

/** What a lease keeps of its hello: not the nonce, which is a view of the whole hello. */
export type LeaseFacts = Omit<HelloFacts, "nonce">;

/** A handshake between challenge and proof. */
export interface Challenge {
  readonly facts: HelloFacts;
  readonly hello: Uint8Array;
  readonly challenge: Uint8Array;
}

/** The authenticated connection of a link. */
export interface Channel {
  readonly peer: VerifiedPeer;
  /** tls-exporter (RFC 9266). */
  readonly exporter: Uint8Array;
  /** tls-server-end-point (RFC 5929); read only when a hello asks for it. */
  readonly serverEndPoint: (() => Uint8Array | undefined) | undefined;
}

export class GatewaySession implements Due {
  readonly link: LinkId;
  readonly peer: VerifiedPeer;
  /** Of the kind that the hello named; until then the exporter's. */
  binding: Uint8Array;
  /** Hash of the certificate that was shown on this connection (RFC 5929). */
  readonly serverEndPoint: (() => Uint8Array | undefined) | undefined;
  /** When a handshake or an ending is given up, or a stale attachment is removed. */
  until: Instant;
  queuedAt: Instant | undefined;
  isLinkUp = true;
  challenge: Challenge | undefined;
  /** Set from the lease to the end. */
  lease: LeaseState | undefined;
  #state: GatewayState = "offered";

  constructor(link: LinkId, channel: Channel, until: Instant) {
    this.link = link;
    this.peer = channel.peer;
    this.binding = channel.exporter;
    this.serverEndPoint = channel.serverEndPoint;
    this.until = until;
  }

  get state(): GatewayState {
    return this.#state;
  }

  get isAttached(): boolean {
    return this.#state === "attached" || this.#state === "stale";
  }

  get isHandshake(): boolean {
    return this.#state === "offered" || this.#state === "challenged";
  }

  /** Takes the transition, or throws: a missing pair is a defect of this room. */
  enter(input: GatewayInput): void {
    const next = gatewayTransitions[this.#state][input];
    if (next === undefined) throw new Error(`attachment: no transition from ${this.#state} by ${input}`);
    this.#state = next;
  }

  /** The attachment as it is now. */
  view(): Attachment | undefined {
    const { lease } = this;
    if (lease === undefined) return undefined;
    const { facts } = lease;
    return {
      link: this.link,
      agentId: facts.agentId,
      instance: facts.instance,
      peer: this.peer,
      model: facts.model,
      features: facts.features,
      attachmentSequence: facts.attachmentSequence,
      times: lease.times,
      leaseId: lease.leaseId,
      advertise: facts.advertise,
      messagesPerSecondMax: facts.messagesPerSecondMax,
      state: this.#state,
      condition: lease.condition,
      since: lease.since,
      lastSeen: lease.lastSeen,
      lastSeenUnix: lease.lastSeenUnix,
    };
  }
}

/** What an attachment carries. */
export interface LeaseState {
  /** As they were when it was granted. */
  readonly times: LeaseTimes;
  readonly facts: LeaseFacts;
  readonly leaseId: Uint8Array;
  readonly since: UnixMs;
  /** When the certificate ends, on the monotonic clock. */
  readonly certifiedUntil: Instant;
  lastSeen: Instant;
  lastSeenUnix: UnixMs;
  lastHeartbeat: bigint;
  condition: Condition;
}

/** Key of an agent instance. */
export const instanceKey = (facts: { readonly agentId: string; readonly instance: string }): string =>
  `${facts.agentId}/@${facts.instance}`;

/** True for facts of an error rather than of a hello. */
export const isRefusal = (result: HelloFacts | ErrorFacts): result is ErrorFacts => "code" in result;
