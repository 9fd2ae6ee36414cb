/** Drives the attachment machine: links and frames in; table, presence and frames out. */

import { type Attachment, GatewayAttachments, type GatewayEffect } from "@causeway/core-attachment";
import { type AgentId, CausewayError, domainOf, type ErrorFacts, type Now, type UnixMs } from "@causeway/core-base";
import type { ForwardingTable } from "@causeway/core-forwarding";
import type { VerifiedPeer } from "@causeway/core-identity";
import { aap, FrameKind, type FrameScan, type LinkId } from "@causeway/core-wire";
import type { BoundedLog } from "./bounded-log.ts";
import { decodeBody } from "./decode-body.ts";
import type { EventFeed, EventType } from "./event-feed.ts";
import type { LinkEntry, Links } from "./links.ts";
import type { GatewayConfig, GatewayDeps, GatewayLimits } from "./ports.ts";
import type { Tally } from "./tally.ts";
import { CallerRates, TokenBucket } from "./token-bucket.ts";
import { WakeUp } from "./wake-up.ts";

/** What the driver works with. */
export interface AttachmentParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly features: readonly string[];
  readonly links: Links;
  readonly table: ForwardingTable;
  readonly tally: Tally;
  readonly security: BoundedLog;
  readonly events: EventFeed;
  /** Attachments of an agent have changed; those that it has now. `hasEnded`: its last one ended, and not by silence. */
  readonly onPresence: (agentId: AgentId, attachments: readonly Attachment[], hasEnded: boolean) => void;
  /** Messages for the agent can be delivered from now on. */
  readonly onReachable: (agentId: AgentId, now: Now) => void;
  readonly onDetached: (attachment: Attachment, now: Now) => void;
}

/** All attachments of this gateway. */
export class AttachmentDriver {
  readonly #parts: AttachmentParts;
  readonly #machine: GatewayAttachments;
  readonly #wake: WakeUp;
  readonly #attaches: CallerRates;
  /** Live attachments by agent, as the machine's effects tell them. */
  readonly #byAgent = new Map<AgentId, Map<LinkId, Attachment>>();
  /** The SessionEnd that is being handled. */
  #ending: aap.SessionEnd | undefined;

  constructor(parts: AttachmentParts) {
    const { config, deps, limits } = parts;
    this.#parts = parts;
    this.#machine = new GatewayAttachments({
      gatewayId: deps.identity.spiffeId,
      gatewayUri: config.gatewayUri,
      features: parts.features,
      ...(config.attachmentModels && { models: config.attachmentModels }),
      ...(config.gatewayUse && { gatewayUse: config.gatewayUse }),
      ...(config.channelBindings && { channelBindings: config.channelBindings }),
      signer: () => deps.identity.tlsSigner(),
      crypto: deps.crypto,
      random: deps.random,
      heartbeatMs: limits.heartbeatMs,
      staleAfterMs: limits.staleAfterMs,
      removeAfterStaleMs: limits.removeAfterStaleMs,
      leaseMs: limits.leaseMs,
      handshakeMs: limits.handshakeMs,
      attachmentsMax: limits.attachmentsMax,
    });
    this.#attaches = new CallerRates(
      "attachesPerMinute",
      () => limits.attachesPerMinute,
      60_000,
      () => limits.attachmentsMax,
    );
    this.#wake = new WakeUp(deps.scheduler, () => this.#input((now) => this.#machine.handleTimeout(now)));
  }

  /** Limits have changed: those of leases count for leases from now on. */
  applyLimits(): void {
    this.#machine.setLimits(this.#parts.limits);
  }

  handleLinkUp(entry: LinkEntry): void {
    try {
      this.#attaches.check(entry.peer.spiffeId, this.#parts.deps.scheduler.now().instant);
    } catch (thrown) {
      // Each attachment costs signatures, records and traffic to every neighbour (AAP-102).
      const error = CausewayError.from(thrown);
      this.#parts.security.warn("attachment.rate_exceeded", { agentId: entry.peer.spiffeId, code: error.code });
      entry.link.close(error);
      return;
    }
    this.#input((now) =>
      this.#machine.handleLinkUp(now, entry.id, entry.peer, entry.link.channelBinding, entry.link.serverEndPoint),
    );
  }

  handleLinkDown(entry: LinkEntry): void {
    this.#input((now) => this.#machine.handleLinkDown(now, entry.id));
  }

  /** Takes an attach, heartbeat or end frame; false when the frame is of another kind. */
  handleFrame(entry: LinkEntry, scan: FrameScan): boolean {
    const link = entry.id;
    switch (scan.kind) {
      case FrameKind.attachHello: {
        // The transcript is over these bytes, and the buffer is the transport's.
        const hello = new Uint8Array(scan.body());
        this.#input((now) => this.#machine.handleHello(now, link, hello));
        return true;
      }
      case FrameKind.attachProof: {
        const proof = decodeBody(aap.AttachProofSchema, scan);
        this.#input((now) => this.#machine.handleProof(now, link, proof));
        return true;
      }
      case FrameKind.heartbeat: {
        const heartbeat = decodeBody(aap.HeartbeatSchema, scan);
        this.#input((now) => this.#machine.handleHeartbeat(now, link, heartbeat));
        return true;
      }
      case FrameKind.sessionEnd: {
        const end = decodeBody(aap.SessionEndSchema, scan);
        this.#ending = end;
        this.#input((now) => this.#machine.handleSessionEnd(now, link, end));
        this.#ending = undefined;
        return true;
      }
      default:
        return false;
    }
  }

  /** Authenticated traffic of an agent keeps a soft attachment alive (AAP-90). */
  handleTraffic(entry: LinkEntry, now: Now): void {
    this.#machine.handleTraffic(now, entry.id);
    this.#perform(now);
  }

  /** Ends what `matches`; returns how many. */
  detach(matches: (peer: VerifiedPeer, agentId: AgentId | undefined) => boolean, error: CausewayError): number {
    let count = 0;
    this.#input((now) => {
      count = this.#machine.detach(now, matches, error);
    });
    return count;
  }

  startDraining(deadline: UnixMs, reason: string): void {
    this.#input((now) => this.#machine.startDraining(now, deadline, reason));
  }

  attachmentOf(link: LinkId): Attachment | undefined {
    return this.#machine.attachmentOf(link);
  }

  attachments(): readonly Attachment[] {
    return this.#machine.attachments();
  }

  /** Attachments of one agent. */
  of(agentId: AgentId): readonly Attachment[] {
    return [...(this.#byAgent.get(agentId)?.values() ?? [])];
  }

  stop(): void {
    this.#wake.cancel();
  }

  #input(work: (now: Now) => void): void {
    const now = this.#parts.deps.scheduler.now();
    work(now);
    this.#perform(now);
  }

  #perform(now: Now): void {
    const changed = new Map<AgentId, { hasEnded: boolean }>();
    const reachable = new Set<AgentId>();
    for (let effects = this.#machine.drain(); effects.length > 0; effects = this.#machine.drain()) {
      for (const effect of effects) this.#performOne(effect, now, changed, reachable);
    }
    // After all effects: a takeover is a removal and an installation, neither offline nor withdrawn in between; and an
    // agent gets its lease before what waited for it.
    for (const [agentId, { hasEnded }] of changed) this.#parts.onPresence(agentId, this.of(agentId), hasEnded);
    for (const agentId of reachable) this.#parts.onReachable(agentId, now);
    this.#wake.arm(this.#machine.deadline());
  }

  #performOne(
    effect: GatewayEffect,
    now: Now,
    changed: Map<AgentId, { hasEnded: boolean }>,
    reachable: Set<AgentId>,
  ): void {
    const { links, tally } = this.#parts;
    switch (effect.kind) {
      case "send":
        links.get(effect.link)?.link.send(effect.frame);
        return;
      case "install":
        tally.add("attached");
        this.#install(effect.attachment);
        changed.set(effect.attachment.agentId, { hasEnded: false });
        reachable.add(effect.attachment.agentId);
        return;
      case "update":
        this.#install(effect.attachment);
        changed.set(effect.attachment.agentId, { hasEnded: false });
        if (effect.attachment.state !== "stale") reachable.add(effect.attachment.agentId);
        return;
      case "remove":
        this.#remove(effect.attachment, now);
        changed.set(effect.attachment.agentId, { hasEnded: this.#hasEnded(effect.cause) });
        return;
      case "close":
        links.get(effect.link)?.link.close(effect.error && new CausewayError(effect.error));
        return;
      case "event":
        this.#note(effect.type, effect.subject, effect.cause);
        return;
    }
  }

  /** A lifetime that ran out is silence, and so is an agent that says that it comes back. */
  #hasEnded(cause: ErrorFacts | undefined): boolean {
    return cause !== undefined || this.#ending?.away === false;
  }

  #install(attachment: Attachment): void {
    const { agentId, instance, link, attachmentSequence } = attachment;
    const all = this.#byAgent.get(agentId) ?? new Map<LinkId, Attachment>();
    all.set(link, attachment);
    this.#byAgent.set(agentId, all);
    this.#parts.table.apply({
      kind: "attach",
      attachment: {
        agentId,
        instance,
        link,
        attachmentSequence,
        stale: attachment.state === "stale",
        degraded: attachment.condition !== "running",
      },
    });
    const entry = this.#parts.links.get(link);
    if (entry !== undefined && entry.role.kind !== "agent") {
      const perSecond = attachment.messagesPerSecondMax;
      if (perSecond > 0)
        entry.deliveryRate = new TokenBucket(perSecond, perSecond, this.#parts.deps.scheduler.now().instant);
      entry.role = { kind: "agent", arrival: { kind: "agent", link, agentId, instance } };
    }
  }

  #remove(attachment: Attachment, now: Now): void {
    const { agentId, instance, link } = attachment;
    const all = this.#byAgent.get(agentId);
    all?.delete(link);
    if (all?.size === 0) this.#byAgent.delete(agentId);
    this.#parts.table.apply({ kind: "detach", agentId, instance, link });
    const entry = this.#parts.links.get(link);
    if (entry !== undefined) entry.role = { kind: "agent-handshake" };
    this.#parts.onDetached(attachment, now);
  }

  #note(type: string, subject: string, cause: string): void {
    this.#parts.tally.add(type.replace(".", "_"));
    const event = type.replace("attachment.", "attachment.agent_");
    if (type === "attachment.refused") this.#parts.security.warn(event, { subject, cause });
    else this.#parts.deps.log.info(event, { subject, cause });
    const told = eventTypes[type];
    if (told === undefined) return;
    const { domain } = this.#parts.config;
    this.#parts.events.publish({ type: told, subject, cause, concerns: (agentId) => domainOf(agentId) === domain });
  }
}

/** What agents of the domain are told of a change of an attachment. */
const eventTypes: Readonly<Record<string, EventType>> = {
  "attachment.attached": "agent.attached",
  "attachment.recovered": "agent.attached",
  "attachment.stale": "agent.stale",
  "attachment.removed": "agent.left",
  "attachment.expired": "agent.left",
};

/** The refusal of an agent or peer whose certificate was revoked. */
export const revoked: ErrorFacts = {
  code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
  message: "the certificate of this connection is revoked; enrol again",
};
