import type { AgentId, CausewayError, ErrorFacts, GatewayUri, Instant, Machine, Now } from "@causeway/core-base";
import type { agp, FrameScan, LinkId } from "@causeway/core-wire";
import type { Topic, TopicArrival, TopicPeer, TopicsEffect } from "./effects.ts";

/** Copies of one message. The arrays belong to the caller. */
export interface FanOut {
  /** Local attachments, the publisher's own link left out. */
  readonly links: readonly LinkId[];
  /** Neighbours, each once. Call `decrementTtl` once before sending to them; empty when the TTL is used up. */
  readonly peers: readonly GatewayUri[];
  /** Set when the message may not be published: answer the publisher. */
  readonly refusal?: ErrorFacts;
  /** Why there is nothing to do: a second copy, nobody interested. */
  readonly reason: "fan-out" | "duplicate" | "no-subscriber" | "refused" | "ttl-exhausted";
}

export interface TopicsOptions {
  readonly self: GatewayUri;
  readonly level: 1 | 2;
  /** Grows at each restart. */
  readonly epoch: bigint;
  readonly topicsMax?: number;
  readonly subscriptionsPerLinkMax?: number;
  readonly originsMax?: number;
  readonly duplicatesMax?: number;
}

/** Topic table, subscriptions and interest of one gateway. */
export class Topics implements Machine<TopicsEffect> {
  constructor(_options: TopicsOptions) {}
  /** Takes back what was persisted. */
  restore(_now: Now, _topics: readonly Topic[]): void {
    throw new Error("not yet");
  }
  /** Serves create, describe, list and delete for an authenticated caller; refusals are in the result. */
  handleCommand(_now: Now, _caller: AgentId, _command: agp.TopicCommand): agp.TopicResult {
    throw new Error("not yet");
  }
  /** Returns undefined, or why not. */
  handleSubscribe(_now: Now, _link: LinkId, _subscriber: AgentId, _pattern: string): CausewayError | undefined {
    throw new Error("not yet");
  }
  handleUnsubscribe(_now: Now, _link: LinkId, _pattern: string): CausewayError | undefined {
    throw new Error("not yet");
  }
  /** Ends every subscription of a link. */
  handleLinkDown(_now: Now, _link: LinkId): void {
    throw new Error("not yet");
  }
  handlePeerUp(_now: Now, _peer: TopicPeer): void {
    throw new Error("not yet");
  }
  handlePeerDown(_now: Now, _peer: GatewayUri): void {
    throw new Error("not yet");
  }
  /** Returns why the frame was refused, undefined when it was taken or rightly ignored. */
  handleInterest(_now: Now, _from: GatewayUri, _interest: agp.TopicInterest): ErrorFacts | undefined {
    throw new Error("not yet");
  }
  /** Who gets the scanned topic message. */
  fanOut(_now: Now, _scan: FrameScan, _arrival: TopicArrival): FanOut {
    throw new Error("not yet");
  }
  topics(): readonly Topic[] {
    throw new Error("not yet");
  }
  drain(): readonly TopicsEffect[] {
    throw new Error("not yet");
  }
  deadline(): Instant | undefined {
    throw new Error("not yet");
  }
  handleTimeout(_now: Now): void {
    throw new Error("not yet");
  }
}
