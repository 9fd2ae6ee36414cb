/**
 * What the forwarding table is made of (AAP-23, AMSP-24): candidates that the record base offers, attachments of this
 * gateway, prefix routes and the default uplink; and the deltas by which they change.
 */
import type { AgentId, GatewayUri, SpiffeId } from "@causeway/core-base";
import type { LinkId } from "@causeway/core-wire";

/** Liveness as `record.AgentStatus` has it: 1 online, 2 degraded, 3 offline, 4 deregistered. */
export type RouteStatus = 1 | 2 | 3 | 4;

/** How an agent can be reached by one origin. One for each (agent, origin). */
export interface RouteCandidate {
  readonly agentId: AgentId;
  /** Serving gateway. */
  readonly origin: GatewayUri;
  /** `local`: this gateway serves the agent. `peer`: the neighbour that the record base prefers for this origin. */
  readonly via: { readonly kind: "local" } | { readonly kind: "peer"; readonly peer: GatewayUri };
  /** Level-2 gateways on the way, newest first. */
  readonly path: readonly GatewayUri[];
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly status: RouteStatus;
  /** False while the neighbour is lost (C-12). */
  readonly applicable: boolean;
  /** Of the live attachment at the origin; orders several origins of one agent (AAP-95). */
  readonly attachmentSequence: bigint;
  /** Skill ids of the agent's card; default none. */
  readonly skills?: readonly string[];
}

/** One live attachment at this gateway. */
export interface LocalAttachment {
  readonly agentId: AgentId;
  readonly instance: string;
  readonly link: LinkId;
  readonly attachmentSequence: bigint;
  /** True while heartbeats are missed: messages are held. */
  readonly stale: boolean;
  /** True while the agent says that it does not run as it should: others are preferred (ANA-103). Default false. */
  readonly degraded?: boolean;
}

/** One change of the table. */
export type TableDelta =
  | { readonly kind: "put"; readonly candidate: RouteCandidate }
  | { readonly kind: "withdraw"; readonly agentId: AgentId; readonly origin: GatewayUri }
  /** Adds or replaces the attachment of (agent, instance). */
  | { readonly kind: "attach"; readonly attachment: LocalAttachment }
  /** Ends it, but only if it still is the one of this link. */
  | { readonly kind: "detach"; readonly agentId: AgentId; readonly instance: string; readonly link: LinkId }
  /** A data link to the neighbour is up or down. */
  | { readonly kind: "peer"; readonly peer: GatewayUri; readonly isUp: boolean }
  /** A prefix of whole segments, for example `spiffe://green.example`, leads to a neighbour; undefined takes it back. */
  | { readonly kind: "prefix"; readonly prefix: string; readonly peer: GatewayUri | undefined }
  /** Where everything unknown goes (a Level-1 gateway's Level-2); undefined for nowhere. */
  | { readonly kind: "uplink"; readonly peer: GatewayUri | undefined };

/** Why a candidate was chosen, or why nothing was. */
export type RouteReason =
  | "local-attachment"
  | "named-instance"
  | "sticky-instance"
  | "least-loaded-instance"
  | "only-candidate"
  | "applicable-first"
  | "online-first"
  | "newest-attachment"
  | "local-first"
  | "shortest-path"
  | "lowest-origin"
  | "better-way-leads-back"
  | "longest-prefix"
  | "return-path"
  | "default-uplink"
  | "asked-for"
  | "topic"
  | "attachment-stale"
  | "not-attached"
  | "peer-lost"
  | "no-entry"
  | "only-way-is-back"
  | "unknown-way-is-back"
  | "ttl-exhausted"
  | "expired"
  | "source-not-attached"
  | "source-of-own-domain-from-outside"
  | "policy-rule";

/** One line of `explain`. */
export interface RouteExplanation {
  readonly target: string;
  readonly chosen?: { readonly via: "local" | GatewayUri; readonly reason: RouteReason; readonly instance?: string };
  readonly candidates: readonly RouteCandidate[];
  readonly attachments: readonly LocalAttachment[];
  /** The outcome in words. */
  readonly text: string;
}

/** Where a message came in. Make one for each link and keep it. */
export type Arrival =
  | { readonly kind: "agent"; readonly link: LinkId; readonly agentId: AgentId; readonly instance: string }
  | { readonly kind: "peer"; readonly link: LinkId; readonly peer: GatewayUri; readonly domain: string }
  /** Made by this gateway itself (delivery reports, answers). */
  | { readonly kind: "own" };

/** Full SPIFFE ID of an attachment. */
export const attachmentName = (a: { readonly agentId: AgentId; readonly instance: string }): SpiffeId =>
  `${a.agentId}/@${a.instance}` as SpiffeId;
