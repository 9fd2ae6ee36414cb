import type { AgentId, ErrorFacts, Instant, Machine, Now, Random } from "@causeway/core-base";
import type { CryptoPort, Signer, VerifiedPeer } from "@causeway/core-identity";
import type { aap, agp } from "@causeway/core-wire";
import type { AgentEffect, AgentStatusView, AttachmentModelName, BootstrapHint, Condition } from "./effects.ts";
import type { OfferPolicy, VerifiedOffer } from "./offers.ts";

export interface AgentAttachmentOptions {
  readonly agentId: AgentId;
  readonly instance: string;
  readonly hints: readonly BootstrapHint[];
  readonly features?: readonly string[];
  readonly requiredFeatures?: readonly string[];
  readonly model?: AttachmentModelName;
  readonly advertise?: boolean;
  readonly policy?: OfferPolicy;
  /** The agent's TLS key. */
  readonly signer: () => Signer;
  readonly crypto: CryptoPort;
  readonly random: Random;
  readonly offerWindowMs?: number;
  readonly handshakeMs?: number;
  readonly reconnectMsMin?: number;
  readonly reconnectMsMax?: number;
  readonly staleAfterMs?: number;
}

/** One attachment of an agent, kept up over losses and moves. */
export class AgentAttachment implements Machine<AgentEffect> {
  constructor(_options: AgentAttachmentOptions) {}
  start(_now: Now): void {
    throw new Error("not yet");
  }
  handleOffer(_now: Now, _offer: VerifiedOffer): void {
    throw new Error("not yet");
  }
  /** TLS stands and the server's chain was verified as a gateway. */
  handleLinkUp(_now: Now, _attempt: number, _peer: VerifiedPeer, _channelBinding: Uint8Array): void {
    throw new Error("not yet");
  }
  /** The dial failed or the link closed. */
  handleLinkDown(_now: Now, _attempt: number, _error?: ErrorFacts): void {
    throw new Error("not yet");
  }
  /** Exact bytes of the body. */
  handleChallenge(_now: Now, _attempt: number, _challenge: Uint8Array): void {
    throw new Error("not yet");
  }
  handleLease(_now: Now, _attempt: number, _lease: Uint8Array): void {
    throw new Error("not yet");
  }
  handleHeartbeatAck(_now: Now, _attempt: number, _ack: aap.HeartbeatAck): void {
    throw new Error("not yet");
  }
  handleSessionEnd(_now: Now, _attempt: number, _end: aap.SessionEnd): void {
    throw new Error("not yet");
  }
  handleDrain(_now: Now, _attempt: number, _notice: agp.Drain): void {
    throw new Error("not yet");
  }
  /** Own traffic was sent: in the soft model it replaces a refresh. */
  noteTraffic(_now: Now): void {
    throw new Error("not yet");
  }
  setCondition(_now: Now, _condition: Condition): void {
    throw new Error("not yet");
  }
  /** Ends the attachment for good. */
  detach(_now: Now, _reason: string): void {
    throw new Error("not yet");
  }
  status(): AgentStatusView {
    throw new Error("not yet");
  }
  drain(): readonly AgentEffect[] {
    throw new Error("not yet");
  }
  deadline(): Instant | undefined {
    throw new Error("not yet");
  }
  handleTimeout(_now: Now): void {
    throw new Error("not yet");
  }
}
