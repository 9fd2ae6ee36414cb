/** Effects of both attachment machines, in the order in which they have to be performed, and what `status` shows. */
import type { AgentId, ErrorFacts, GatewayUri, Instant, SpiffeId, UnixMs } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { LinkId } from "@causeway/core-wire";
import type { AgentState } from "./agent-transitions.ts";
import type { GatewayState } from "./gateway-transitions.ts";
import type { GatewayUse } from "./gateway-use.ts";

/** How attachment state is kept (AAP-81). */
export type AttachmentModelName = "stateful" | "soft";
/** What the agent says of itself. */
export type Condition = "running" | "degraded" | "offline";

/** Times that a lease was granted with, in milliseconds. */
export interface LeaseTimes {
  readonly heartbeatMs: number;
  readonly staleAfterMs: number;
  readonly removeAfterStaleMs: number;
  readonly leaseMs: number;
  readonly handshakeMs: number;
}

/** One attachment at a gateway. Exists only after mutual authentication: `peer` is the evidence. */
export interface Attachment {
  readonly link: LinkId;
  readonly agentId: AgentId;
  readonly instance: string;
  readonly peer: VerifiedPeer;
  readonly model: AttachmentModelName;
  readonly features: readonly string[];
  readonly attachmentSequence: bigint;
  readonly times: LeaseTimes;
  readonly leaseId: Uint8Array;
  readonly advertise: boolean;
  /** Messages that the agent takes each second (ANA-49); 0 for no limit of its own. */
  readonly messagesPerSecondMax: number;
  readonly state: GatewayState;
  readonly condition: Condition;
  readonly since: UnixMs;
  /** Of the last heartbeat, or of the last traffic in the soft model. */
  readonly lastSeen: Instant;
  /** The same in Unix time, for people. */
  readonly lastSeenUnix: UnixMs;
}

/** Effects of the gateway's side. */
export type GatewayEffect =
  | { readonly kind: "send"; readonly link: LinkId; readonly frame: Uint8Array }
  /** Enter the attachment into the forwarding table; messages for it may be delivered from now on. */
  | { readonly kind: "install"; readonly attachment: Attachment }
  /** State (ATTACHED or STALE) or condition has changed. */
  | { readonly kind: "update"; readonly attachment: Attachment }
  /** Take it out of the table. Comes before the `install` of the attachment that takes over. */
  | { readonly kind: "remove"; readonly attachment: Attachment; readonly cause: ErrorFacts | undefined }
  /** Close the link after what was sent. */
  | { readonly kind: "close"; readonly link: LinkId; readonly error: ErrorFacts | undefined }
  | { readonly kind: "event"; readonly type: GatewayEventType; readonly subject: string; readonly cause: string };

export type GatewayEventType =
  | "attachment.attached"
  | "attachment.refused"
  | "attachment.stale"
  | "attachment.recovered"
  | "attachment.replaced"
  | "attachment.removed"
  | "attachment.expired";

/** How an agent learned where a gateway may be. */
export type BootstrapMethod = "static" | "anycast" | "dhcp" | "dns" | "directory";

/** Where an agent may look for a gateway. Always a hint, never proof of anything (AAP-53). */
export interface BootstrapHint {
  readonly method: BootstrapMethod;
  /** https://host:port, or udp://host:port for GW-DISCOVER in a datagram. */
  readonly endpoint: string;
  /** True: send GW-DISCOVER there and wait for an offer. False: connect at once. */
  readonly discover: boolean;
}

/** One way to find gateways. */
export interface BootstrapSource {
  readonly method: BootstrapMethod;
  /** Without them the platform is asked in each round, by the effect `look-up`. */
  readonly hints?: readonly BootstrapHint[];
}

/** A gateway that the agent may try. */
export interface GatewayCandidate {
  readonly endpoint: string;
  readonly method: BootstrapMethod;
  /** Known from a signed offer: the peer must then be exactly this one. */
  readonly gatewayId?: SpiffeId;
  readonly gatewayUri?: GatewayUri;
  readonly features: readonly string[];
  readonly load: number;
  readonly delayMs: number;
}

/** The Session Context as the agent holds it (AAP-105). */
export interface Lease {
  readonly leaseId: Uint8Array;
  readonly lifetimeMs: number;
  readonly heartbeatMs: number;
  readonly model: AttachmentModelName;
  readonly features: readonly string[];
  readonly gatewayUnixMs: UnixMs;
  readonly attachmentSequence: bigint;
  readonly gatewayId: SpiffeId;
  readonly gatewayUri: GatewayUri;
  /** What the domain's operator prescribes for messages inside the domain; `prefer` leaves it to the agent. */
  readonly gatewayUse: GatewayUse;
}

/** Effects of the agent's side. `attempt` numbers the link: answer with the same number. */
export type AgentEffect =
  /** Ask the platform what the source with this index yields; then `handleHints` with the same `request`. */
  | {
      readonly kind: "look-up";
      readonly request: number;
      readonly source: number;
      readonly method: BootstrapMethod;
    }
  /** Send GW-DISCOVER with this nonce; hand offers to `handleOffer`, then call `handleAnswered`. */
  | { readonly kind: "discover"; readonly endpoint: string; readonly nonce: Uint8Array }
  /** Open a mutually authenticated link; then `handleLinkUp`, or `handleLinkDown` when it fails. */
  | { readonly kind: "connect"; readonly attempt: number; readonly candidate: GatewayCandidate }
  | { readonly kind: "send"; readonly attempt: number; readonly frame: Uint8Array }
  | { readonly kind: "close"; readonly attempt: number; readonly error: ErrorFacts | undefined }
  /** The attachment stands: messages may be sent. */
  | { readonly kind: "attached"; readonly attempt: number; readonly lease: Lease }
  /** It stands no more; the machine attaches again by itself unless `isFinal`. */
  | { readonly kind: "lost"; readonly cause: ErrorFacts; readonly isFinal: boolean }
  | { readonly kind: "event"; readonly type: AgentEventType; readonly cause: string };

export type AgentEventType =
  | "candidate-refused"
  | "offer-refused"
  | "backing-off"
  | "clock-skewed"
  | "gateway-draining";

/** A gateway that was chosen, and why it was. */
export interface GatewayChoice {
  readonly candidate: GatewayCandidate;
  readonly reason: string;
}

/** What a round of looking for a gateway came upon and did not use. */
export interface PassedOver {
  readonly method: BootstrapMethod;
  /** Empty when the method itself yielded nothing. */
  readonly endpoint: string;
  readonly why: string;
}

/** What `AgentAttachment.status()` shows. */
export interface AgentStatusView {
  readonly state: AgentState;
  readonly lease: Lease | undefined;
  readonly attempt: number;
  readonly lastError: ErrorFacts | undefined;
  /** The gateway of the attachment; while there is none, of the last one. */
  readonly choice: GatewayChoice | undefined;
  /** Of the last round; at most 64. */
  readonly passedOver: readonly PassedOver[];
  /** Gateway clock minus own clock, as of the last lease or heartbeat. */
  readonly clockSkewMs: number;
}
