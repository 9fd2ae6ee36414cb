/**
 * The agent's side of AAP (AAP-2, AAP-10, AAP-45, AAP-53, AAP-57, AAP-61 to AAP-67): finds a gateway by whatever hints
 * it has, attaches, keeps the lease, and begins again when the link is lost. Hints only say where to try: every
 * candidate goes through the same authentication, and one that fails costs nothing but the time to try the next.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  BoundedMap,
  defaults,
  type ErrorFacts,
  earliest,
  type Instant,
  later,
  type Machine,
  type Now,
  type Random,
  refuse,
  type SpiffeId,
  Timers,
  type UnixMs,
  withInstance,
} from "@causeway/core-base";
import type { CryptoPort, Signer, VerifiedPeer } from "@causeway/core-identity";
import { aap, type agp, encodeFrame, FrameKind, fromErrorDetail, wrapFrame } from "@causeway/core-wire";
import { type AgentInput, type AgentState, agentTransitions } from "./agent-transitions.ts";
import { AttachmentSequence } from "./attachment-sequence.ts";
import type {
  AgentEffect,
  AgentEventType,
  AgentStatusView,
  AttachmentModelName,
  BootstrapHint,
  BootstrapSource,
  Condition,
  GatewayChoice,
  Lease,
} from "./effects.ts";
import { defaultFeatures, featuresMax, isFeatureList, securityFeatures } from "./features.ts";
import { GatewaySearch, sourcesMax } from "./gateway-search.ts";
import { type ChallengeFacts, readChallenge, readLease, verifyLease } from "./lease.ts";
import type { OfferPolicy, VerifiedOffer } from "./offers.ts";
import { bindingBytes, nonceBytes, proofMessage } from "./transcript.ts";

export interface AgentAttachmentOptions {
  readonly agentId: AgentId;
  /** Names this attachment among others of the agent. */
  readonly instance: string;
  /** One source of hints that are known; all are tried in each round. Either these or `sources`. */
  readonly hints?: readonly BootstrapHint[];
  /** Ways to find gateways, in the order in which they are tried until one leads to an attachment (AAP-46). At most 16. */
  readonly sources?: readonly BootstrapSource[];
  /** Default `defaultFeatures`. */
  readonly features?: readonly string[];
  /** Needed of the gateway, beside the security features. One that lacks one of them is passed over. Default none. */
  readonly requiredFeatures?: readonly string[];
  /** Default stateful. */
  readonly model?: AttachmentModelName;
  /** Default false: being known to other domains is opt-in. */
  readonly advertise?: boolean;
  /** Messages that this agent takes each second; its gateway refuses more for it. Default 0, no limit of its own. */
  readonly messagesPerSecondMax?: number;
  readonly policy?: OfferPolicy;
  /** Shared by all attachments of the agent, whose numbers it orders. Default one of its own. */
  readonly sequence?: AttachmentSequence;
  /** The attachment is to stand behind the one with this number; undefined before all others. Default undefined. */
  readonly below?: () => bigint | undefined;
  /** False for gateways that other attachments of the agent have: they are passed over. Default every one may be used. */
  readonly mayUse?: (gateway: SpiffeId) => boolean;
  /**
   * True: a gateway that goes out of service is only told of by an event. Whoever drives several attachments ends this one
   * when another one carries on. Default false: it moves by itself, and is not attached meanwhile.
   */
  readonly staysOnDrain?: boolean;
  /** The agent's TLS key. Called for each proof, so that a renewed key is used. */
  readonly signer: () => Signer;
  readonly crypto: CryptoPort;
  readonly random: Random;
  /** How long offers are collected. Default 500 ms. */
  readonly offerWindowMs?: number;
  /** From dialling to the lease. Default 10 s. */
  readonly handshakeMs?: number;
  /** First and longest pause between rounds. Default 0.5 s and 30 s. */
  readonly reconnectMsMin?: number;
  readonly reconnectMsMax?: number;
  /** Silence of the gateway after an unanswered heartbeat until the link is given up. Default 90 s. */
  readonly staleAfterMs?: number;
}

type TimerName = "handshake" | "heartbeat" | "silence" | "backoff" | "ending";

/** A handshake under way. */
interface Handshake {
  readonly choice: GatewayChoice;
  peer: VerifiedPeer | undefined;
  binding: Uint8Array;
  hello: Uint8Array;
  sequence: bigint;
  answered: { readonly facts: ChallengeFacts; readonly challenge: Uint8Array; readonly proof: Uint8Array } | undefined;
}

/** One attachment of an agent, kept up over losses and moves. */
export class AgentAttachment implements Machine<AgentEffect> {
  readonly #options: AgentAttachmentOptions;
  readonly #features: readonly string[];
  readonly #required: readonly string[];
  readonly #timers = new Timers<TimerName>();
  readonly #search: GatewaySearch;
  #state: AgentState = "idle";
  /** The candidates of this source, best first, and those of them that were not tried yet. */
  #ranked: readonly GatewayChoice[] = [];
  #queue: GatewayChoice[] = [];
  #choice: GatewayChoice | undefined;
  #attempt = 0;
  /** By endpoint: a gateway that was dialled there in vain, since another attachment had it. */
  readonly #taken = new BoundedMap<{ readonly gateway: SpiffeId; readonly until: Instant }>(takenMax);
  /** Every candidate is asked. False from a loss on: the gateway that was lost may be back in the next round. */
  #isWholeRound = true;
  /** Candidates of this round that other attachments have. */
  #passedTaken = 0;
  /** The pause is long because other attachments have every gateway. */
  #waitsForFree = false;
  #handshake: Handshake | undefined;
  #lease: Lease | undefined;
  #attachedAt: Instant | undefined;
  readonly #sequence: AttachmentSequence;
  /** What a gateway holds of this instance, and refused an older one for. */
  #held: bigint | undefined;
  #heartbeat = 0n;
  #condition: Condition = "running";
  #failedRounds = 0;
  #lastError: ErrorFacts | undefined;
  #clockSkewMs = 0;
  #effects: AgentEffect[] = [];

  /**
   * Throws `CAUSEWAY_NAME_INVALID` for a bad instance, and `CAUSEWAY_MISUSE` without hints, for a rate that is no whole
   * number, and for features that are not of the form name/version.
   */
  constructor(options: AgentAttachmentOptions) {
    withInstance(options.agentId, options.instance);
    const hinted = options.hints?.[0];
    const sources = options.sources ?? (hinted ? [{ method: hinted.method, hints: options.hints ?? [] }] : []);
    if (sources.length === 0 || sources.length > sourcesMax)
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected 1 to ${sourcesMax} ways to find a gateway, or hints where one is, got ${sources.length}`,
      );
    checkTerms(options);
    this.#options = options;
    this.#sequence = options.sequence ?? new AttachmentSequence();
    this.#features = options.features ?? defaultFeatures;
    this.#required = [...securityFeatures, ...(options.requiredFeatures ?? [])];
    this.#search = new GatewaySearch({
      sources,
      policy: {
        ...options.policy,
        requiredFeatures: [...this.#required, ...(options.policy?.requiredFeatures ?? [])],
      },
      random: options.random,
      offerWindowMs: options.offerWindowMs,
      emit: (effect) => this.#effects.push(effect),
    });
  }

  /** Begins; once. */
  start(now: Now): void {
    if (this.#state !== "idle")
      throw refuse("CAUSEWAY_MISUSE", `expected start in state idle, got it in ${this.#state}`);
    this.#enter("start");
    this.#discover(now);
  }

  /** What a `look-up` effect yielded; none, or an error, when the source knows no gateway. */
  handleHints(now: Now, request: number, hints: readonly BootstrapHint[], error?: ErrorFacts): void {
    if (this.#state !== "discovering") return;
    this.#search.handleHints(now, request, hints, error);
    this.#choose(now);
  }

  /** An answer to one of the `discover` effects. Late ones and those with a nonce that isn't ours are dropped (AAP-48). */
  handleOffer(now: Now, offer: VerifiedOffer): void {
    if (this.#state !== "discovering") return;
    if (!this.#search.handleOffer(offer))
      this.#event("offer-refused", `${offer.endpoint}: its nonce is not one of ours, or was answered before`);
    this.#choose(now);
  }

  /** No more offers will come for this nonce; `error` says why none came. */
  handleAnswered(now: Now, nonce: Uint8Array, error?: ErrorFacts): void {
    if (this.#state !== "discovering") return;
    this.#search.handleAnswered(nonce, error);
    this.#choose(now);
  }

  /** TLS stands and the server's chain was verified. */
  handleLinkUp(now: Now, attempt: number, peer: VerifiedPeer, channelBinding: Uint8Array): void {
    const handshake = this.#current(attempt);
    if (handshake === undefined || handshake.peer !== undefined) return;
    const { candidate } = handshake.choice;
    if (peer.role !== "gateway" || peer.purpose !== "tls" || peer.gateway === undefined) {
      return this.#fail(now, {
        code: "CAUSEWAY_IDENTITY_ROLE_WRONG",
        message: `expected a certified gateway at ${candidate.endpoint}, got ${peer.spiffeId} of role ${peer.role}`,
      });
    }
    // AAP-58: the identifier of the offer is the one of the certificate.
    if (
      candidate.gatewayId !== undefined &&
      (candidate.gatewayId !== peer.spiffeId || candidate.gatewayUri !== peer.gateway.uri)
    ) {
      return this.#fail(now, {
        code: "CAUSEWAY_IDENTITY_MISMATCH",
        message: `expected ${candidate.gatewayId}, which made the offer, got ${peer.spiffeId}`,
      });
    }
    if (channelBinding.length !== bindingBytes)
      throw refuse("CAUSEWAY_MISUSE", `expected a channel binding of ${bindingBytes} bytes`);
    if (!this.#mayUse(peer.spiffeId)) {
      this.#taken.set(candidate.endpoint, { gateway: peer.spiffeId, until: later(now.instant, takenMs) });
      return this.#passOver(now, handshake.choice);
    }
    handshake.peer = peer;
    handshake.binding = channelBinding;
    handshake.sequence = this.#sequence.take(now, this.#options.below?.(), this.#held);
    handshake.hello = toBinary(
      aap.AttachHelloSchema,
      create(aap.AttachHelloSchema, {
        agentId: this.#options.agentId,
        instance: this.#options.instance,
        nonce: this.#options.random.bytes(nonceBytes),
        features: [...this.#features],
        model: this.#options.model === "soft" ? aap.AttachmentModel.SOFT : aap.AttachmentModel.STATEFUL,
        attachmentSequence: handshake.sequence,
        advertise: this.#options.advertise ?? false,
        messagesPerSecondMax: this.#options.messagesPerSecondMax ?? 0,
      }),
    );
    this.#send(wrapFrame(FrameKind.attachHello, handshake.hello));
  }

  /** The dial failed, or the link closed. */
  handleLinkDown(now: Now, attempt: number, error?: ErrorFacts): void {
    if (attempt !== this.#attempt) return;
    const cause = error ?? { code: "CAUSEWAY_UNREACHABLE" as const, message: "the link to the gateway was closed" };
    if (this.#state === "proving") this.#fail(now, cause, false);
    else if (this.#isAttached) this.#lose(now, cause, "link-lost", false);
    else if (this.#state === "detaching") this.#finish(undefined, false);
  }

  /** The gateway refused the handshake; what it says of an attachment comes as SessionEnd. */
  handleError(now: Now, attempt: number, refusal: agp.Error): void {
    const handshake = this.#current(attempt);
    if (handshake === undefined || !refusal.fatal || refusal.error === undefined) return;
    const { code, message, details } = fromErrorDetail(refusal.error);
    // Our clock is behind that of an earlier attachment; the next sequence has to be above the one that is held.
    const held = details["held"];
    if (code === "CAUSEWAY_ATTACHMENT_OUTDATED" && held !== undefined && /^\d{1,19}$/.test(held))
      this.#held = BigInt(held);
    this.#fail(now, { code, message });
  }

  /** `challenge`: the exact bytes of the body. */
  handleChallenge(now: Now, attempt: number, challenge: Uint8Array): void {
    const handshake = this.#current(attempt);
    if (handshake === undefined) return;
    if (handshake.peer === undefined || handshake.answered !== undefined)
      return this.#fail(now, unexpected("AttachChallenge"));
    const facts = readChallenge(challenge, handshake.peer, this.#features, this.#required);
    if ("code" in facts) return this.#fail(now, facts);
    const { crypto, signer } = this.#options;
    const proof = signer().sign(proofMessage(crypto, handshake.binding, handshake.hello, challenge));
    handshake.answered = { facts, challenge, proof };
    this.#send(encodeFrame({ case: "attachProof", value: { signature: proof } }));
  }

  /** `lease`: the exact bytes of the body. */
  handleLease(now: Now, attempt: number, lease: Uint8Array): void {
    const handshake = this.#current(attempt);
    if (handshake === undefined) return;
    const { peer, answered } = handshake;
    if (peer === undefined || answered === undefined) return this.#fail(now, unexpected("AttachmentLease"));
    const { crypto } = this.#options;
    const transcript = { hello: handshake.hello, ...answered };
    const refusal = verifyLease(crypto, peer, { binding: handshake.binding, transcript }, lease);
    if (refusal !== undefined) return this.#fail(now, refusal);
    const facts = readLease(lease, peer, { features: answered.facts.features, attachmentSequence: handshake.sequence });
    if ("code" in facts) return this.#fail(now, facts);

    this.#enter("lease-accepted");
    this.#timers.clear("handshake");
    this.#handshake = undefined;
    this.#lease = facts;
    this.#choice = handshake.choice;
    this.#attachedAt = now.instant;
    this.#heartbeat = 0n;
    this.#lastError = undefined;
    this.#noteClock(now, facts.gatewayUnixMs, true);
    this.#armHeartbeat(now);
    this.#effects.push({ kind: "attached", attempt, lease: facts });
  }

  handleHeartbeatAck(now: Now, attempt: number, ack: aap.HeartbeatAck): void {
    if (attempt !== this.#attempt || this.#state !== "refreshing" || ack.sequence !== this.#heartbeat) return;
    this.#enter("refresh-acknowledged");
    this.#timers.clear("silence");
    this.#noteClock(now, Number(ack.gatewayUnixMs) as UnixMs, false);
  }

  /** The gateway ended the attachment, or answered our own end. */
  handleSessionEnd(now: Now, attempt: number, end: aap.SessionEnd): void {
    if (attempt !== this.#attempt) return;
    if (this.#state === "detaching") return this.#finish(undefined, true);
    const cause = end.error
      ? fromErrorDetail(end.error)
      : {
          code: "CAUSEWAY_ATTACHMENT_DETACHED" as const,
          message: end.reason.slice(0, 200) || "the gateway ended the attachment",
        };
    const facts: ErrorFacts = { code: cause.code, message: cause.message };
    if (this.#isAttached) this.#lose(now, facts, "gateway-leaves", true);
    else if (this.#state === "proving") this.#fail(now, facts);
  }

  /** The gateway goes out of service: move to another at once, or come back later. Not with `staysOnDrain`. */
  handleDrain(now: Now, attempt: number, notice: agp.Drain): void {
    if (attempt !== this.#attempt || !this.#isAttached) return;
    this.#event("gateway-draining", notice.reason.slice(0, 200));
    if (this.#options.staysOnDrain === true) return;
    this.#send(this.#sessionEnd("moving to another gateway", true));
    this.#lose(
      now,
      { code: "CAUSEWAY_GATEWAY_DRAINING", message: "the gateway is going out of service" },
      "gateway-leaves",
      true,
    );
  }

  /** Own traffic was sent: in the soft model it replaces a refresh (AAP-90). */
  noteTraffic(now: Now): void {
    if (this.#state === "attached" && this.#lease?.model === "soft") this.#armHeartbeat(now);
  }

  /** Another attachment of the agent has lost its gateway, or left it: who waits for that looks again. */
  handleFreed(now: Now): void {
    if (this.#state !== "backoff" || !this.#waitsForFree) return;
    this.#waitsForFree = false;
    this.#failedRounds = 0;
    this.#timers.set("backoff", later(now.instant, this.#pauseMs()));
  }

  /** Reported with the next heartbeat, which is sent at once. */
  setCondition(now: Now, condition: Condition): void {
    if (condition === this.#condition) return;
    this.#condition = condition;
    if (this.#isAttached) this.#refresh(now);
  }

  /** Ends the attachment for good. `away`: the agent comes back, and its gateway stores messages meanwhile. */
  detach(now: Now, reason: string, away = false): void {
    if (this.#state === "closed" || this.#state === "detaching") return;
    const wasAttached = this.#isAttached;
    const wasProving = this.#state === "proving";
    this.#enter("detach");
    this.#timers.clearAll();
    this.#search.stop();
    if (wasAttached) {
      this.#send(this.#sessionEnd(reason, away));
      this.#timers.set("ending", later(now.instant, endingMs));
      this.#effects.push({ kind: "lost", cause: { code: "CAUSEWAY_CANCELLED", message: reason }, isFinal: true });
      this.#lease = undefined;
    } else if (wasProving) {
      this.#finish(undefined, true);
    }
  }

  status(): AgentStatusView {
    return {
      state: this.#state,
      lease: this.#lease,
      attempt: this.#attempt,
      lastError: this.#lastError,
      choice: this.#choice,
      passedOver: this.#search.passedOver,
      clockSkewMs: this.#clockSkewMs,
    };
  }

  drain(): readonly AgentEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  deadline(): Instant | undefined {
    return earliest(this.#timers.deadline(), this.#search.deadline());
  }

  handleTimeout(now: Now): void {
    if (this.#state === "discovering") {
      this.#search.handleTimeout(now);
      this.#choose(now);
    }
    for (const name of this.#timers.takeDue(now.instant)) this.#onTimer(now, name);
  }

  #onTimer(now: Now, name: TimerName): void {
    switch (name) {
      case "handshake":
        if (this.#state === "proving")
          this.#fail(now, { code: "CAUSEWAY_TIMEOUT", message: "the gateway did not finish the handshake in time" });
        return;
      case "heartbeat":
        if (this.#isAttached) this.#refresh(now);
        return;
      case "silence":
        if (this.#isAttached)
          this.#lose(
            now,
            { code: "CAUSEWAY_TIMEOUT", message: "the gateway did not answer heartbeats" },
            "link-lost",
            true,
          );
        return;
      case "backoff":
        if (this.#state !== "backoff") return;
        this.#enter("backoff-over");
        return this.#discover(now);
      case "ending":
        return this.#finish(undefined, true);
    }
  }

  #discover(now: Now): void {
    this.#isWholeRound = true;
    this.#passedTaken = 0;
    this.#waitsForFree = false;
    this.#search.start(now);
    this.#choose(now);
  }

  /** Goes on when the search has an answer. */
  #choose(now: Now): void {
    const ranked = this.#search.take();
    if (ranked === undefined) return;
    this.#ranked = ranked;
    this.#queue = [...ranked];
    this.#enter("hints-complete");
    this.#tryNext(now);
  }

  #tryNext(now: Now): void {
    const choice = this.#queue.shift();
    if (choice === undefined) {
      if (!this.#search.next(now)) return this.#backOff(now);
      this.#enter("source-exhausted");
      return this.#choose(now);
    }
    this.#enter("candidate-chosen");
    this.#attempt++;
    const gatewayId = choice.candidate.gatewayId ?? this.#takenAt(now, choice.candidate.endpoint);
    if (gatewayId !== undefined && !this.#mayUse(gatewayId)) return this.#passOver(now, choice, false);
    this.#handshake = {
      choice,
      peer: undefined,
      binding: new Uint8Array(0),
      hello: new Uint8Array(0),
      sequence: 0n,
      answered: undefined,
    };
    this.#timers.set("handshake", later(now.instant, this.#options.handshakeMs ?? 10_000));
    this.#effects.push({ kind: "connect", attempt: this.#attempt, candidate: choice.candidate });
  }

  /** Until the next round, which is not soon when the agent has every gateway there is: nothing is wrong then. */
  #backOff(now: Now): void {
    this.#enter("no-candidate");
    this.#waitsForFree =
      this.#isWholeRound && this.#passedTaken > 0 && this.#passedTaken === this.#search.passedOver.length;
    const pauseMs = this.#waitsForFree ? this.#jittered(takenPauseMs) : this.#pauseMs();
    this.#timers.set("backoff", later(now.instant, pauseMs));
    this.#event("backing-off", `no gateway could be attached to; next round in ${pauseMs} ms`);
  }

  /** AGP-6: the pause doubles up to the bound, with jitter of a half, so that a restarted gateway isn't stormed. */
  #pauseMs(): number {
    const { reconnectMsMin = defaults.reconnectMsMin, reconnectMsMax = defaults.reconnectMsMax } = this.#options;
    return this.#jittered(Math.min(reconnectMsMax, reconnectMsMin * 2 ** Math.min(this.#failedRounds++, 16)));
  }

  #jittered(ms: number): number {
    return Math.round(ms * (0.5 + this.#options.random.fraction() / 2));
  }

  /** The gateway that another attachment had when this endpoint was dialled last, if that was not long ago. */
  #takenAt(now: Now, endpoint: string): SpiffeId | undefined {
    const taken = this.#taken.get(endpoint);
    return taken !== undefined && taken.until > now.instant ? taken.gateway : undefined;
  }

  /** The candidate under way is no good: close it and try the next (AAP-53, AAP-57). */
  #fail(now: Now, error: ErrorFacts, isOpen = true): void {
    const candidate = this.#handshake?.choice.candidate;
    this.#lastError = error;
    this.#handshake = undefined;
    this.#timers.clear("handshake");
    if (isOpen) this.#effects.push({ kind: "close", attempt: this.#attempt, error });
    if (candidate !== undefined) {
      this.#search.pass(candidate.method, candidate.endpoint, `${error.code}: ${error.message}`);
      this.#event("candidate-refused", `${candidate.endpoint}: ${error.code}: ${error.message}`);
    }
    this.#enter("link-lost");
    this.#tryNext(now);
  }

  /** Another attachment of this agent has this gateway: no fault of anybody. */
  #passOver(now: Now, { candidate }: GatewayChoice, isOpen = true): void {
    this.#handshake = undefined;
    this.#timers.clear("handshake");
    if (isOpen) this.#effects.push({ kind: "close", attempt: this.#attempt, error: undefined });
    this.#passedTaken++;
    this.#search.pass(candidate.method, candidate.endpoint, "another attachment of this agent is there");
    this.#enter("link-lost");
    this.#tryNext(now);
  }

  #mayUse(gateway: SpiffeId): boolean {
    return this.#options.mayUse?.(gateway) ?? true;
  }

  /** An attachment is lost. Go on at another gateway, after a pause when this one didn't last, or not at all. */
  #lose(now: Now, cause: ErrorFacts, input: "link-lost" | "gateway-leaves", isOpen: boolean): void {
    const isFinal = finalCodes.has(cause.code);
    const lasted = now.instant - (this.#attachedAt ?? now.instant);
    this.#lease = undefined;
    this.#lastError = cause;
    this.#timers.clearAll();
    if (isOpen) this.#effects.push({ kind: "close", attempt: this.#attempt, error: isFinal ? cause : undefined });
    this.#effects.push({ kind: "lost", cause, isFinal });
    if (isFinal) {
      this.#enter("detach");
      return this.#enter("ended");
    }
    this.#isWholeRound = false;
    this.#enter(input);
    // After one that lasted every candidate gets a new chance; one that didn't last must not be tried in a circle.
    const isFresh = lasted < (this.#options.reconnectMsMax ?? defaults.reconnectMsMax);
    if (!isFresh) {
      this.#failedRounds = 0;
      this.#queue = [...this.#ranked];
    }
    if (input === "gateway-leaves")
      this.#queue = this.#queue.filter(({ candidate }) => candidate.endpoint !== this.#choice?.candidate.endpoint);
    this.#tryNext(now);
  }

  #finish(error: ErrorFacts | undefined, isOpen: boolean): void {
    if (isOpen) this.#effects.push({ kind: "close", attempt: this.#attempt, error });
    this.#timers.clearAll();
    this.#handshake = undefined;
    this.#enter("ended");
  }

  #refresh(now: Now): void {
    const lease = this.#lease;
    if (lease === undefined) return;
    this.#heartbeat++;
    this.#send(
      encodeFrame({
        case: "heartbeat",
        value: { leaseId: lease.leaseId, sequence: this.#heartbeat, condition: conditions[this.#condition] },
      }),
    );
    this.#enter("refresh-sent");
    if (this.#timers.at("silence") === undefined)
      this.#timers.set("silence", later(now.instant, this.#options.staleAfterMs ?? defaults.staleAfterMs));
    this.#armHeartbeat(now);
  }

  /** AAP-84: 30 s, up to a tenth more or less. The soft model refreshes at a third of the lifetime when nothing else is sent. */
  #armHeartbeat(now: Now): void {
    const lease = this.#lease;
    if (lease === undefined) return;
    const interval = lease.model === "soft" ? lease.lifetimeMs / 3 : lease.heartbeatMs;
    this.#timers.set(
      "heartbeat",
      later(now.instant, Math.round(interval * (0.9 + 0.2 * this.#options.random.fraction()))),
    );
  }

  #noteClock(now: Now, gatewayUnixMs: UnixMs, isFirst: boolean): void {
    this.#clockSkewMs = gatewayUnixMs - now.unix;
    if (isFirst && Math.abs(this.#clockSkewMs) > clockSkewMsMax) {
      this.#event(
        "clock-skewed",
        `the gateway's clock is ${this.#clockSkewMs} ms ahead of ours; certificates and expiry times may be misjudged`,
      );
    }
  }

  get #isAttached(): boolean {
    return this.#state === "attached" || this.#state === "refreshing";
  }

  #current(attempt: number): Handshake | undefined {
    return attempt === this.#attempt && this.#state === "proving" ? this.#handshake : undefined;
  }

  #sessionEnd(reason: string, away: boolean): Uint8Array {
    const leaseId = this.#lease?.leaseId ?? new Uint8Array(0);
    return encodeFrame({ case: "sessionEnd", value: { leaseId, reason, away } });
  }

  #enter(input: AgentInput): void {
    const next = agentTransitions[this.#state][input];
    if (next === undefined) throw new Error(`attachment: no transition from ${this.#state} by ${input}`);
    this.#state = next;
  }

  #send(frame: Uint8Array): void {
    this.#effects.push({ kind: "send", attempt: this.#attempt, frame });
  }

  #event(type: AgentEventType, cause: string): void {
    this.#effects.push({ kind: "event", type, cause });
  }
}

function checkTerms({ messagesPerSecondMax = 0, requiredFeatures = [] }: AgentAttachmentOptions): void {
  if (!Number.isInteger(messagesPerSecondMax) || messagesPerSecondMax < 0 || messagesPerSecondMax > rateMax)
    throw refuse(
      "CAUSEWAY_MISUSE",
      `expected messagesPerSecondMax as a whole number of 0 (any) to ${rateMax}, got ${messagesPerSecondMax}`,
    );
  if (!isFeatureList(requiredFeatures))
    throw refuse(
      "CAUSEWAY_MISUSE",
      `expected at most ${featuresMax} required features such as mailbox/1, got ${requiredFeatures.join(", ").slice(0, 200)}`,
    );
}

const unexpected = (frame: string): ErrorFacts => ({
  code: "CAUSEWAY_FRAME_UNEXPECTED",
  message: `${frame} does not fit the state of the handshake`,
});

const conditions = {
  running: aap.AgentCondition.RUNNING,
  degraded: aap.AgentCondition.DEGRADED,
  offline: aap.AgentCondition.OFFLINE,
} as const satisfies Record<Condition, aap.AgentCondition>;

/** After these the agent must not come back by itself: someone decided it. */
const finalCodes: ReadonlySet<string> = new Set([
  "CAUSEWAY_ATTACHMENT_REPLACED",
  "CAUSEWAY_ATTACHMENT_DETACHED",
  "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
]);
const clockSkewMsMax = 30_000;
/** Messages each second; what the field of AttachHello holds. */
const rateMax = 0xff_ff_ff_ff;
const endingMs = 5_000;
/** How long an endpoint is not dialled again that led to a gateway of another attachment. Several may share one. */
const takenMs = 600_000;
const takenMax = 256;
/** The pause while other attachments have every gateway that there is. */
const takenPauseMs = 300_000;
