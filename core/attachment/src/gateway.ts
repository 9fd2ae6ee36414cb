import type {
  AgentId,
  CausewayError,
  ErrorFacts,
  GatewayUri,
  Instant,
  Machine,
  Now,
  Random,
  SpiffeId,
  UnixMs,
} from "@causeway/core-base";
import type { CryptoPort, Signer, VerifiedPeer } from "@causeway/core-identity";
import type { aap, LinkId } from "@causeway/core-wire";
import type { Attachment, AttachmentModelName, GatewayEffect } from "./effects.ts";

export interface GatewayAttachmentsOptions {
  readonly gatewayId: SpiffeId;
  readonly gatewayUri: GatewayUri;
  /** Features offered, with versions; default `defaultFeatures`. */
  readonly features?: readonly string[];
  readonly requiredFeatures?: readonly string[];
  /** Models offered; default both (AAP-94). */
  readonly models?: readonly AttachmentModelName[];
  /** The gateway's TLS key. Called for each lease, so that a renewed key is used. */
  readonly signer: () => Signer;
  readonly crypto: CryptoPort;
  readonly random: Random;
  readonly heartbeatMs?: number;
  readonly staleAfterMs?: number;
  readonly removeAfterStaleMs?: number;
  readonly leaseMs?: number;
  /** From link up to lease; then the link is closed. Default 10 s. */
  readonly handshakeMs?: number;
  /** Default 20,000. */
  readonly attachmentsMax?: number;
  /** Links that have not proven themselves yet. Default 1,000. */
  readonly handshakesMax?: number;
  /** Default 64. */
  readonly instancesPerAgentMax?: number;
}

/** All attachments of one gateway. */
export class GatewayAttachments implements Machine<GatewayEffect> {
  constructor(_options: GatewayAttachmentsOptions) {}
  /** A mutually authenticated link whose first frame is to be AttachHello. */
  handleLinkUp(_now: Now, _link: LinkId, _peer: VerifiedPeer, _channelBinding: Uint8Array): void {
    throw new Error("not yet");
  }
  /** `hello`: the exact bytes of the body (`FrameScan.body()`); they enter the transcript. */
  handleHello(_now: Now, _link: LinkId, _hello: Uint8Array): void {
    throw new Error("not yet");
  }
  handleProof(_now: Now, _link: LinkId, _proof: aap.AttachProof): void {
    throw new Error("not yet");
  }
  handleHeartbeat(_now: Now, _link: LinkId, _heartbeat: aap.Heartbeat): void {
    throw new Error("not yet");
  }
  /** Authenticated traffic from the agent: renews a soft attachment (AAP-90). Cheap; call it for every message. */
  handleTraffic(_now: Now, _link: LinkId): void {
    throw new Error("not yet");
  }
  handleSessionEnd(_now: Now, _link: LinkId, _end: aap.SessionEnd): void {
    throw new Error("not yet");
  }
  handleLinkDown(_now: Now, _link: LinkId): void {
    throw new Error("not yet");
  }
  /** Ends every attachment and handshake that `matches`, at once, with a SessionEnd that says why. Returns how many. */
  detach(
    _now: Now,
    _matches: (peer: VerifiedPeer, agentId: AgentId | undefined) => boolean,
    _error: ErrorFacts | CausewayError,
  ): number {
    throw new Error("not yet");
  }
  /** Tells every agent to move and refuses new ones; at the deadline the rest is ended. */
  startDraining(_now: Now, _deadlineUnixMs: UnixMs, _reason: string): void {
    throw new Error("not yet");
  }
  /** The attachment of a link, once attached and until it ends. */
  attachmentOf(_link: LinkId): Attachment | undefined {
    throw new Error("not yet");
  }
  attachments(): readonly Attachment[] {
    throw new Error("not yet");
  }
  drain(): readonly GatewayEffect[] {
    throw new Error("not yet");
  }
  deadline(): Instant | undefined {
    throw new Error("not yet");
  }
  handleTimeout(_now: Now): void {
    throw new Error("not yet");
  }
}
