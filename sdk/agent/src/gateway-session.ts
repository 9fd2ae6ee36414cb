/**
 * One attachment to a gateway, kept up: drives the attachment machine of the core over links that the platform dials,
 * goes to another gateway when one is lost, and carries frames both ways (AGP-6, AAP-5). It validates the gateway before
 * anything else is said (AGP-32).
 */
import { create } from "@bufbuild/protobuf";
import {
  AgentAttachment,
  type AgentEffect,
  type AgentStatusView,
  type AttachmentModelName,
  type AttachmentSequence,
  type Condition,
  defaultFeatures,
  type Lease,
  mailboxFeature,
  openOffer,
} from "@causeway/core-attachment";
import { CausewayError, domainOf, type ErrorFacts, refuse, type SpiffeId } from "@causeway/core-base";
import {
  aap,
  agp,
  decodeFrame,
  encodeFrame,
  type FrameBody,
  type FrameInit,
  FrameKind,
  FrameScan,
  grpcPrefixBytes,
  Lane,
  laneOf,
  scanFrame,
} from "@causeway/core-wire";
import { WakeUp, within } from "./clock.ts";
import type { Connector, FrameSlice, GatewayLink } from "./connector.ts";
import type { Intake } from "./intake.ts";
import { LinkRoom } from "./link-room.ts";
import { errorOf } from "./session/messages.ts";

/** What an agent wishes of each of its attachments. */
export interface AttachmentTerms {
  readonly instance: string;
  readonly advertise: boolean;
  readonly model: AttachmentModelName;
  /** Needed of the gateway; others are passed over. */
  readonly requiredFeatures: readonly string[];
  readonly messagesPerSecondMax: number;
}

export interface GatewaySessionPorts extends AttachmentTerms {
  readonly connector: Connector;
  /** Of all attachments of the agent. */
  readonly sequence: AttachmentSequence;
  /** The number below which that of the attachment has to be, so that the others are preferred. */
  readonly below: () => bigint | undefined;
  /** False for a gateway that another attachment of the agent has. Whoever gets true may have it. */
  readonly mayUse: (gateway: SpiffeId) => boolean;
  /** Processes messages; reading pauses while too many are being processed. */
  readonly intake: Intake<Origin>;
  readonly onControl: (control: agp.Control) => void;
  readonly onAttached: (lease: Lease) => void;
  readonly onLost: (cause: CausewayError, isFinal: boolean) => void;
  readonly onBackoff: (attempt: number, inMs: number) => void;
  readonly onDraining: (reason: string) => void;
  readonly onNetworkEvent: (event: agp.Event) => void;
  readonly onSecurity: (peer: string, error: CausewayError) => void;
}

interface LiveLink {
  readonly attempt: number;
  readonly link: GatewayLink;
  isOpen: boolean;
  /** A lease was granted over it: messages come. */
  isAttached: boolean;
}

interface Dialling {
  readonly attempt: number;
  readonly abort: AbortController;
}

interface Pending {
  readonly resolve: (body: FrameBody) => void;
  readonly reject: (error: CausewayError) => void;
}

/** How long to wait for an answer of the gateway, and what is expected of it in words. */
export interface CallTerms {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly expected: string;
}

/** Where a message came from. */
export interface Origin {
  readonly session: GatewaySession;
  /** Which attachment of the agent this is, counted over all of them; 0 before the first. */
  readonly attachment: number;
}

/** Frames that carry a request number, and get an answer with the same number. */
export type LinkRequest = (request: bigint) => FrameInit;

export class GatewaySession {
  readonly #ports: GatewaySessionPorts;
  readonly #machine: AgentAttachment;
  readonly #wakeUp: WakeUp;
  readonly #scan = new FrameScan();
  readonly #pending = new Map<bigint, Pending>();
  readonly #closed = new AbortController();
  #dialling: Dialling | undefined;
  #live: LiveLink | undefined;
  #lease: Lease | undefined;
  #nextRequest = 1n;
  readonly #room = new LinkRoom();
  /** Bytes of bulk that were taken and not acknowledged. */
  #bulkTaken = 0;
  #isIdle: (() => void) | undefined;
  #isGone: (() => void) | undefined;
  /** Of what comes now. Kept by whoever counts attachments. */
  origin: Origin = { session: this, attachment: 0 };
  #lastError: CausewayError | undefined;
  #isClosing = false;
  /** Closing, but what is on its way over the link is still read. */
  #isRetiring = false;

  constructor(ports: GatewaySessionPorts) {
    const { connector } = ports;
    const { identity } = connector;
    this.#ports = ports;
    this.#machine = new AgentAttachment({
      agentId: identity.agentId,
      instance: ports.instance,
      sources: connector.sources,
      policy: { preferDomain: domainOf(identity.agentId), ...connector.offerPolicy },
      model: ports.model,
      features: [...defaultFeatures, mailboxFeature],
      requiredFeatures: ports.requiredFeatures,
      messagesPerSecondMax: ports.messagesPerSecondMax,
      advertise: ports.advertise,
      sequence: ports.sequence,
      below: ports.below,
      mayUse: ports.mayUse,
      staysOnDrain: true,
      signer: () => identity.signer("tls"),
      crypto: identity.crypto,
      random: connector.random,
    });
    this.#wakeUp = new WakeUp(connector.scheduler, () => this.#step(() => this.#machine.handleTimeout(this.#now())));
  }

  get lease(): Lease | undefined {
    return this.#lease;
  }

  /** Why the last attempt or attachment ended. */
  get lastError(): CausewayError | undefined {
    const { lastError } = this.#machine.status();
    return lastError ? new CausewayError(lastError) : this.#lastError;
  }

  /** Which gateway was chosen and why, and what was passed over. */
  get discovery(): Pick<AgentStatusView, "choice" | "passedOver"> {
    return this.#machine.status();
  }

  start(): void {
    this.#step(() => this.#machine.start(this.#now()));
  }

  setCondition(condition: Condition): void {
    this.#step(() => this.#machine.setCondition(this.#now(), condition));
  }

  /** Another attachment of the agent has left its gateway. */
  handleFreed(): void {
    this.#step(() => this.#machine.handleFreed(this.#now()));
  }

  pause(): void {
    this.#live?.link.pause();
  }

  resume(): void {
    this.#live?.link.resume();
  }

  /**
   * Ends the attachment when its gateway has answered what it was asked: another attachment carries on. Resolves when the
   * link is gone, which is read until then.
   */
  async retire(reason: string): Promise<void> {
    if (this.#lease && this.#pending.size > 0) await new Promise<void>((resolve) => (this.#isIdle = resolve));
    if (!this.#isClosing) {
      this.#isRetiring = true;
      this.#detach(reason, true);
    }
    if (this.#live?.isOpen) await new Promise<void>((resolve) => (this.#isGone = resolve));
  }

  /** Ends the attachment for good; one that retires already, at once. */
  close(reason: string, isAway = false): void {
    if (this.#isRetiring) this.#dropLink();
    else this.#detach(reason, isAway);
  }

  #detach(reason: string, isAway: boolean): void {
    this.#isClosing = true;
    this.#step(() => this.#machine.detach(this.#now(), reason, isAway));
    this.#closed.abort();
    this.#dialling?.abort.abort();
    this.#failPending(refuse("CAUSEWAY_CANCELLED", "the agent was closed while this was under way"));
  }

  /** Puts a frame on the attached link and waits for room in its lane. Rejects with `CAUSEWAY_UNREACHABLE` without one. */
  async transmit(frame: Uint8Array, lane: Lane = Lane.urgent): Promise<void> {
    for (let room = this.#room.wait(lane); room; room = this.#room.wait(lane)) await room;
    const live = this.#live;
    if (!live?.isOpen || !this.#lease) {
      throw refuse(
        "CAUSEWAY_UNREACHABLE",
        "expected a gateway to be attached to, got none; the agent reconnects by itself",
      );
    }
    this.#machine.noteTraffic(this.#now());
    if (!live.link.send(frame, 0, frame.length, lane)) this.#room.close(lane);
  }

  /** Sends a request on the link and waits for the frame that answers it. */
  async call(make: LinkRequest, options: CallTerms): Promise<FrameBody> {
    if (this.#pending.size >= pendingMax) {
      throw refuse(
        "CAUSEWAY_FORWARDING_OVERLOADED",
        `expected at most ${pendingMax} requests to the gateway at once; await earlier ones first`,
      );
    }
    const request = this.#nextRequest++;
    const answer = new Promise<FrameBody>((resolve, reject) => this.#pending.set(request, { resolve, reject }));
    answer.catch(() => undefined);
    try {
      const asked = (): Promise<FrameBody> => this.transmit(encodeFrame(make(request))).then(() => answer);
      const { connector, intake } = this.#ports;
      return await intake.awaiting(() => within(asked(), { scheduler: connector.scheduler, ...options }));
    } finally {
      this.#pending.delete(request);
      if (this.#pending.size === 0) this.#isIdle?.();
    }
  }

  /** One input to the machine, then its effects in order. */
  #step(input: () => void): void {
    input();
    for (let effects = this.#machine.drain(); effects.length > 0; effects = this.#machine.drain()) {
      for (const effect of effects) this.#perform(effect);
    }
    this.#wakeUp.set(this.#machine.deadline());
  }

  #perform(effect: AgentEffect): void {
    const { connector } = this.#ports;
    switch (effect.kind) {
      case "look-up":
        void this.#lookUp(effect);
        return;
      case "discover":
        void this.#discover(effect.endpoint, effect.nonce);
        return;
      case "connect":
        void this.#connect(effect);
        return;
      case "send":
        if (this.#live?.attempt === effect.attempt) this.#live.link.send(effect.frame);
        return;
      case "close":
        if (this.#dialling?.attempt === effect.attempt) this.#dialling.abort.abort();
        if (this.#live?.attempt === effect.attempt) {
          this.#live.link.close(effect.error && new CausewayError(effect.error));
          this.#dropLink();
        }
        return;
      case "attached":
        this.#lease = effect.lease;
        if (this.#live) this.#live.isAttached = true;
        connector.log.info("agent.attached", { gateway: effect.lease.gatewayId, leaseMs: effect.lease.lifetimeMs });
        this.#ports.onAttached(effect.lease);
        return;
      case "lost": {
        const cause = new CausewayError(effect.cause);
        this.#lease = undefined;
        this.#lastError = cause;
        // One that retires is closed by its gateway, after all that is on its way.
        if (!this.#isRetiring) this.#dropLink();
        // That an agent which is being closed detaches is what was asked for.
        connector.log[this.#isClosing ? "debug" : "warn"]("agent.detached", {
          code: cause.code,
          final: effect.isFinal,
        });
        this.#ports.onLost(cause, effect.isFinal);
        return;
      }
      case "event":
        connector.log.info(`agent.${effect.type.replaceAll("-", "_")}`, { cause: effect.cause });
        if (effect.type === "backing-off") {
          const deadline = this.#machine.deadline();
          this.#ports.onBackoff(
            this.#machine.status().attempt,
            deadline === undefined ? 0 : Math.max(0, deadline - this.#now().instant),
          );
        }
        if (effect.type === "gateway-draining") this.#ports.onDraining(effect.cause);
    }
  }

  async #lookUp({ request, source }: Extract<AgentEffect, { kind: "look-up" }>): Promise<void> {
    try {
      const hints = await this.#ports.connector.lookUp(source, this.#closed.signal);
      this.#step(() => this.#machine.handleHints(this.#now(), request, hints));
    } catch (thrown) {
      const error = this.#note(thrown, "agent.look_up_failed");
      this.#step(() => this.#machine.handleHints(this.#now(), request, [], factsOf(error)));
    }
  }

  async #discover(endpoint: string, nonce: Uint8Array): Promise<void> {
    const { connector, requiredFeatures } = this.#ports;
    const { identity, scheduler } = connector;
    const request = create(aap.DiscoverRequestSchema, {
      agentId: identity.agentId,
      nonce,
      requiredFeatures: [...requiredFeatures],
    });
    const asked = scheduler.now().instant;
    const take = (response: aap.DiscoverResponse): void => {
      const offer = openOffer(response, {
        nonce,
        trust: identity.trust,
        crypto: identity.crypto,
        now: scheduler.now().unix,
        delayMs: scheduler.now().instant - asked,
        method: "static",
      });
      this.#step(() => this.#machine.handleOffer(this.#now(), offer));
    };
    try {
      if (endpoint.startsWith("udp:")) {
        await connector.discoverByDatagram?.(
          endpoint,
          request,
          (response) => {
            try {
              take(response);
            } catch (thrown) {
              // Anybody may answer: one who lies must not end the wait for the others.
              this.#note(thrown, "agent.discover_failed");
            }
          },
          this.#closed.signal,
        );
      } else {
        take(await connector.discoverGateway(endpoint, request, this.#closed.signal));
      }
      this.#step(() => this.#machine.handleAnswered(this.#now(), nonce));
    } catch (thrown) {
      const error = this.#note(thrown, "agent.discover_failed");
      this.#step(() => this.#machine.handleAnswered(this.#now(), nonce, factsOf(error)));
    }
  }

  async #connect(effect: Extract<AgentEffect, { kind: "connect" }>): Promise<void> {
    const { attempt, candidate } = effect;
    const { connector } = this.#ports;
    const dialling: Dialling = { attempt, abort: new AbortController() };
    const { signal } = dialling.abort;
    this.#dialling = dialling;
    if (this.#closed.signal.aborted) dialling.abort.abort();
    let link: GatewayLink;
    try {
      link = await connector.dial(candidate, signal);
      if (signal.aborted) {
        // The attempt was given up meanwhile, and another may be attached by now.
        link.close();
        return;
      }
      this.#judge(link);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = this.#note(thrown, "agent.dial_failed");
      this.#step(() => this.#machine.handleLinkDown(this.#now(), attempt, factsOf(error)));
      return;
    }
    const live: LiveLink = { attempt, link, isOpen: true, isAttached: false };
    this.#dropLink();
    this.#live = live;
    link.onWritable(() => this.#room.open());
    link.onClose((error) => {
      if (!live.isOpen) return;
      live.isOpen = false;
      if (this.#live === live) {
        this.#room.reset();
        this.#isGone?.();
      }
      this.#step(() => this.#machine.handleLinkDown(this.#now(), attempt, error && factsOf(error)));
    });
    this.#step(() => this.#machine.handleLinkUp(this.#now(), attempt, link.peer, link.channelBinding));
    link.onFrames((frames) => {
      for (const frame of frames) this.#handleFrame(live, frame);
    });
  }

  /** AGP-32: only a certified gateway of the agent's own domain, whose certificate is not revoked, is talked to. */
  #judge(link: GatewayLink): void {
    const { identity } = this.#ports.connector;
    const domain = domainOf(identity.agentId);
    const { peer } = link;
    let problem: CausewayError | undefined;
    if (peer.role !== "gateway" || peer.purpose !== "tls") {
      problem = refuse(
        "CAUSEWAY_IDENTITY_ROLE_WRONG",
        `expected a gateway at the other end, got ${peer.spiffeId} certified as ${peer.role}`,
      );
    } else if (peer.domain !== domain) {
      problem = refuse("CAUSEWAY_IDENTITY_MISMATCH", `expected a gateway of ${domain}, got ${peer.spiffeId}`);
    } else if (identity.trust.isRevoked(peer)) {
      problem = refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
        `expected a valid certificate of ${peer.spiffeId}, got a revoked one`,
      );
    }
    if (!problem) return;
    link.close(problem);
    this.#ports.onSecurity(peer.spiffeId, problem);
    throw problem;
  }

  #handleFrame(live: LiveLink, slice: FrameSlice): void {
    if (!live.isOpen || this.#live !== live) return;
    const { attempt } = live;
    const frameBytes = slice.end - slice.start + grpcPrefixBytes;
    let isTaken = false;
    try {
      // The transcript of the attachment is over exact bytes, so these bodies are not decoded here.
      const refusal = scanFrame(slice.buffer, slice.start, slice.end, this.#scan);
      if (refusal !== undefined) throw new CausewayError(refusal);
      if (this.#scan.kind === FrameKind.attachChallenge) {
        const body = new Uint8Array(this.#scan.body());
        this.#step(() => this.#machine.handleChallenge(this.#now(), attempt, body));
      } else if (this.#scan.kind === FrameKind.attachLease) {
        const body = new Uint8Array(this.#scan.body());
        this.#step(() => this.#machine.handleLease(this.#now(), attempt, body));
      } else {
        // A copy: envelopes point into it, and are kept beyond this call.
        const body = decodeFrame(new Uint8Array(slice.buffer.subarray(slice.start, slice.end)));
        isTaken = true;
        this.#handleBody(attempt, body, frameBytes);
      }
    } catch (thrown) {
      // What is refused is not on its way any more.
      if (!isTaken && laneOf(this.#scan) === Lane.bulk) this.acknowledge(frameBytes);
      this.#note(thrown, "agent.frame_refused");
    }
  }

  #handleBody(attempt: number, body: FrameBody, bytes: number): void {
    switch (body.case) {
      case "message":
        this.#ports.intake.take(body.value, bytes, this.origin);
        return;
      case "credit":
        this.#handleCredit(body.value);
        return;
      case "control":
        this.#ports.onControl(body.value);
        return;
      case "heartbeatAck":
        this.#step(() => this.#machine.handleHeartbeatAck(this.#now(), attempt, body.value));
        return;
      case "sessionEnd":
        this.#step(() => this.#machine.handleSessionEnd(this.#now(), attempt, body.value));
        return;
      case "drain":
        this.#step(() => this.#machine.handleDrain(this.#now(), attempt, body.value));
        return;
      case "advertiseResult":
      case "subscriptionResult":
      case "topicResult":
      case "keyPackageUploadResult":
        this.#pending.get(body.value.request)?.resolve(body);
        return;
      case "error":
        this.#handleError(attempt, body.value);
        return;
      case "event":
        this.#ports.onNetworkEvent(body.value);
        return;
      default:
        this.#ports.connector.log.debug("agent.frame_ignored", { kind: body.case });
    }
  }

  #handleError(attempt: number, message: agp.Error): void {
    const { error, fatal, request } = message;
    const problem = errorOf(error, "CAUSEWAY_INTERNAL");
    this.#lastError = problem;
    this.#ports.connector.log.warn("agent.gateway_error", { code: problem.code, fatal });
    this.#pending.get(request)?.reject(problem);
    this.#step(() => this.#machine.handleError(this.#now(), attempt, message));
  }

  #dropLink(): void {
    const live = this.#live;
    this.#live = undefined;
    // One that never worked held nothing back, and others may have reason to.
    if (live?.isAttached) this.#ports.intake.reset();
    this.#room.reset();
    this.#bulkTaken = 0;
    this.#failPending(refuse("CAUSEWAY_UNREACHABLE", "the link to the gateway was lost while this was under way"));
    this.#isGone?.();
    if (!live?.isOpen) return;
    live.isOpen = false;
    live.link.close();
  }

  /** Says what bulk was taken, so that the gateway keeps what is on its way small. */
  acknowledge(bytes: number): void {
    this.#bulkTaken += bytes;
    const live = this.#live;
    if (this.#bulkTaken < acknowledgeBytes || !live?.isOpen) return;
    const value = { trafficClass: agp.TrafficClass.BULK, bytes: this.#bulkTaken };
    this.#bulkTaken = 0;
    live.link.send(encodeFrame({ case: "credit", value }));
  }

  /** What the gateway says of bulk: that it has taken some, and whether it wants more. */
  #handleCredit({ trafficClass, bytes, flow }: agp.Credit): void {
    if (trafficClass !== agp.TrafficClass.BULK) return;
    if (bytes > 0) this.#live?.link.takenBulk?.(bytes);
    if (flow === agp.FlowState.STOP) this.#room.stopBulk(true);
    else if (flow === agp.FlowState.GO) this.#room.stopBulk(false);
  }

  #failPending(error: CausewayError): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #note(thrown: unknown, event: string): CausewayError {
    const error = CausewayError.from(thrown);
    this.#lastError = error;
    this.#ports.connector.log.warn(event, { code: error.code, message: error.message });
    return error;
  }

  #now(): ReturnType<Connector["scheduler"]["now"]> {
    return this.#ports.connector.scheduler.now();
  }
}

/** Why there is no gateway, when each method was tried and led to nothing; undefined when none has come back yet. */
export function noneFound(timeoutMs: number, passedOver: AgentStatusView["passedOver"]): CausewayError | undefined {
  if (passedOver.length === 0) return undefined;
  const tried = passedOver.map(({ method, endpoint, why }) => `${endpoint === "" ? method : endpoint}: ${why}`);
  return refuse("CAUSEWAY_TIMEOUT", `found no gateway within ${timeoutMs} ms (${tried.join("; ")})`);
}

function factsOf(error: CausewayError): ErrorFacts {
  return { code: error.code, message: error.message, retryAfterMs: error.retryAfterMs, details: error.details };
}

/** A quarter of the least that a gateway has on its way. */
const acknowledgeBytes = 16_384;
/** Requests to the gateway that wait for an answer. */
const pendingMax = 1_024;
