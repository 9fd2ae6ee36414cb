/** What the topics machine asks its driver to do, and what it answers. */
import type { AgentId, GatewayUri, UnixMs } from "@causeway/core-base";
import type { LinkId } from "@causeway/core-wire";
import type { TopicName } from "./topic-name.ts";

/** What agents may do with a topic (`agp.TopicPolicy`). */
export interface TopicPolicy {
  /** SPIFFE IDs, or prefixes that end in '/'; empty means everyone of the owner's domain. */
  readonly publishers: readonly string[];
  /** SPIFFE IDs, or prefixes that end in '/'; empty means everyone that is trusted. */
  readonly subscribers: readonly string[];
  /** 0 for never. */
  readonly idleExpiryMs: number;
  /** What happens to a subscriber that reads too slowly (`agp.TopicOverflow`). Default 0, drop the oldest. */
  readonly overflow: number;
  /** Publications that the owner keeps for those who join later: 0 to 100. Default 0. */
  readonly retained: number;
  /** How long it keeps them, in milliseconds; 0 for as long as it runs. */
  readonly retainedMs: number;
}

/** One topic. */
export interface Topic {
  readonly topic: TopicName;
  readonly owner: AgentId;
  readonly policy: TopicPolicy;
  readonly createdUnixMs: UnixMs;
}

/** Effects in the order in which they have to be performed. */
export type TopicsEffect =
  /** Send a serialised Frame (TopicInterest) to the neighbour's data link. */
  | { readonly kind: "send"; readonly peer: GatewayUri; readonly frame: Uint8Array }
  /** Keep the topic over restarts; `restore` takes it back. */
  | { readonly kind: "persist"; readonly topic: Topic }
  | { readonly kind: "erase"; readonly topic: TopicName }
  | {
      readonly kind: "event";
      readonly type: "topic.created" | "topic.changed" | "topic.deleted" | "topic.expired";
      /** The topic as it is now, or was last. */
      readonly topic: Topic;
      readonly subject: TopicName;
      readonly cause: string;
    };

/** A neighbour as topics see it. */
export interface TopicPeer {
  readonly uri: GatewayUri;
  readonly level: 1 | 2;
}

/** Where a topic message came in. */
export type TopicArrival =
  | { readonly kind: "agent"; readonly link: LinkId; readonly agentId: AgentId }
  | { readonly kind: "peer"; readonly peer: GatewayUri };
