/**
 * The gateway's side of AAP, for all links of a gateway (AAP-54, AAP-62 to AAP-66, AAP-81 to AAP-95, C-12). A link goes
 * through hello, challenge and proof; only then is there an attachment, an `install` effect and a lease. Invariants: no
 * install before verification; at most one live attachment for each agent instance, and it is the one with the highest
 * attachment sequence; a nonce is taken once; after the end of an attachment its `remove` has been emitted; bootstrap
 * isn't known here, so it cannot matter. What it doesn't know: records, routes, sockets.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AgentId,
  asInstant,
  BoundedMap,
  defaults,
  type ErrorFacts,
  earliest,
  type GatewayUri,
  type Instant,
  isCausewayError,
  later,
  type Machine,
  type Now,
  type Random,
  refuse,
  type SpiffeId,
  type UnixMs,
} from "@causeway/core-base";
import { type CryptoPort, type Signer, type VerifiedPeer, verifyByPeer } from "@causeway/core-identity";
import { aap, encodeFrame, FrameKind, hex, type LinkId, toErrorDetail, wrapFrame } from "@causeway/core-wire";
import { DueQueue } from "./due-queue.ts";
import type {
  Attachment,
  AttachmentModelName,
  Condition,
  GatewayEffect,
  GatewayEventType,
  LeaseTimes,
} from "./effects.ts";
import { defaultFeatures, securityFeatures } from "./features.ts";
import { GatewaySession, instanceKey, isRefusal, type LeaseState } from "./gateway-session.ts";
import type { GatewayInput } from "./gateway-transitions.ts";
import { encodeGatewayUse, type GatewayUse } from "./gateway-use.ts";
import { type ChannelBindingName, type HelloFacts, type HelloTerms, readHello } from "./hello.ts";
import { bindingBytes, leaseMessage, nonceBytes, proofMessage, signLease } from "./transcript.ts";

export interface GatewayAttachmentsOptions {
  readonly gatewayId: SpiffeId;
  readonly gatewayUri: GatewayUri;
  /** Features offered, with versions; default `defaultFeatures`. */
  readonly features?: readonly string[];
  /** What the domain's operator prescribes for messages inside the domain. Default `prefer`: the agent chooses. */
  readonly gatewayUse?: GatewayUse;
  /** Features that an agent has to have, beside the security features. Default none. */
  readonly requiredFeatures?: readonly string[];
  /** Models offered, the preferred one first; default both (AAP-94). */
  readonly models?: readonly AttachmentModelName[];
  /** Channel bindings that are taken (ADR 30). Default both. */
  readonly channelBindings?: readonly ChannelBindingName[];
  /** The gateway's TLS key. Called for each lease, so that a renewed key is used. */
  readonly signer: () => Signer;
  readonly crypto: CryptoPort;
  readonly random: Random;
  /** Default 30 s. */
  readonly heartbeatMs?: number;
  /** Silence after which a stateful attachment is stale. Default 90 s. */
  readonly staleAfterMs?: number;
  /** Further silence after which it is removed. Default 300 s. */
  readonly removeAfterStaleMs?: number;
  /** Lifetime of a lease, and of a soft attachment without traffic. Default 300 s. */
  readonly leaseMs?: number;
  /** From link up to lease; then the link is closed. Default 10 s. */
  readonly handshakeMs?: number;
  /** Attachments, the stale ones included; more are refused. Default 20,000. */
  readonly attachmentsMax?: number;
  /** Links that have not proven themselves yet; more are refused. Default 1,000. */
  readonly handshakesMax?: number;
  /** Default 64. */
  readonly instancesPerAgentMax?: number;
}

/** All attachments of one gateway. */
export class GatewayAttachments implements Machine<GatewayEffect> {
  readonly #options: GatewayAttachmentsOptions;
  readonly #terms: HelloTerms;
  #times: LeaseTimes;
  #attachmentsMax: number;
  readonly #sessions = new Map<LinkId, GatewaySession>();
  readonly #byInstance = new Map<string, GatewaySession>();
  readonly #instancesOf = new Map<AgentId, number>();
  readonly #due = new DueQueue<GatewaySession>();
  /** Nonces of hellos: each is taken once. */
  readonly #nonces = new BoundedMap<true>(noncesMax);
  /** Highest attachment sequence of instances that have ended: what is older cannot come back. */
  readonly #floors = new BoundedMap<bigint>(floorsMax);
  #handshakes = 0;
  #drainingUntil: Instant | undefined;
  #isDraining = false;
  #effects: GatewayEffect[] = [];

  constructor(options: GatewayAttachmentsOptions) {
    this.#options = options;
    this.#terms = {
      channelBindings: options.channelBindings ?? ["tls-exporter", "tls-server-end-point"],
      features: options.features ?? defaultFeatures,
      requiredFeatures: [...securityFeatures, ...(options.requiredFeatures ?? [])],
      models: options.models ?? ["stateful", "soft"],
    };
    this.#times = {
      heartbeatMs: options.heartbeatMs ?? defaults.heartbeatMs,
      staleAfterMs: options.staleAfterMs ?? defaults.staleAfterMs,
      removeAfterStaleMs: options.removeAfterStaleMs ?? defaults.removeAfterStaleMs,
      leaseMs: options.leaseMs ?? defaults.leaseMs,
      handshakeMs: options.handshakeMs ?? 10_000,
    };
    this.#attachmentsMax = options.attachmentsMax ?? 20_000;
  }

  /** Other bounds from now on. What a live lease was granted stays, so that no agent is taken for dead by a change. */
  setLimits(limits: LeaseTimes & { readonly attachmentsMax: number }): void {
    const { heartbeatMs, staleAfterMs, removeAfterStaleMs, leaseMs, handshakeMs, attachmentsMax } = limits;
    this.#times = { heartbeatMs, staleAfterMs, removeAfterStaleMs, leaseMs, handshakeMs };
    this.#attachmentsMax = attachmentsMax;
  }

  /**
   * A mutually authenticated link whose first frame is to be AttachHello. `channelBinding` is the tls-exporter value;
   * `serverEndPoint` gives the other kind, for agents that cannot make the first.
   */
  handleLinkUp(
    now: Now,
    link: LinkId,
    peer: VerifiedPeer,
    channelBinding: Uint8Array,
    serverEndPoint?: () => Uint8Array | undefined,
  ): void {
    if (this.#sessions.has(link))
      throw refuse("CAUSEWAY_MISUSE", `link ${link} is up already; numbers of links are not reused`);
    if (channelBinding.length !== bindingBytes) {
      throw refuse(
        "CAUSEWAY_MISUSE",
        `expected a channel binding of ${bindingBytes} bytes, got ${channelBinding.length}`,
      );
    }
    const channel = { peer, exporter: channelBinding, serverEndPoint };
    const session = new GatewaySession(link, channel, later(now.instant, this.#times.handshakeMs));
    this.#sessions.set(link, session);
    this.#handshakes++;
    this.#due.arm(session, session.until);
    if (this.#handshakes > (this.#options.handshakesMax ?? 1_000)) {
      this.#refuse(session, {
        code: "CAUSEWAY_FORWARDING_OVERLOADED",
        message: "too many handshakes are under way; retry with back-off",
      });
    }
  }

  /** `hello`: the exact bytes of the body (`FrameScan.body()`); they enter the transcript. */
  handleHello(now: Now, link: LinkId, hello: Uint8Array): void {
    const session = this.#sessions.get(link);
    if (session === undefined) return;
    if (session.state !== "offered") return this.#unexpected(now, session, "AttachHello");
    if (this.#isDraining) return this.#refuse(session, draining);
    const facts = readHello(hello, session.peer, this.#terms);
    if (isRefusal(facts)) return this.#refuse(session, facts);
    const nonce = hex(facts.nonce);
    if (this.#nonces.has(nonce)) return this.#refuse(session, replayed);
    this.#nonces.set(nonce, true);
    const refusal = this.#admit(facts) ?? bind(session, facts);
    if (refusal !== undefined) return this.#refuse(session, refusal);

    const challenge = toBinary(
      aap.AttachChallengeSchema,
      create(aap.AttachChallengeSchema, {
        nonce: this.#options.random.bytes(nonceBytes),
        gatewayId: this.#options.gatewayId,
        gatewayUri: this.#options.gatewayUri,
        features: [...this.#terms.features],
      }),
    );
    session.challenge = { facts, hello, challenge };
    this.#enter(session, "hello-accepted");
    this.#send(session, wrapFrame(FrameKind.attachChallenge, challenge));
  }

  /** The one way to an attachment. */
  handleProof(now: Now, link: LinkId, proof: aap.AttachProof): void {
    const session = this.#sessions.get(link);
    if (session === undefined) return;
    const { challenge } = session;
    if (session.state !== "challenged" || challenge === undefined) return this.#unexpected(now, session, "AttachProof");
    // A challenge is answered once, rightly or wrongly.
    session.challenge = undefined;
    const { crypto } = this.#options;
    if (
      !isProof(
        crypto,
        session.peer,
        proofMessage(crypto, session.binding, challenge.hello, challenge.challenge),
        proof.signature,
      )
    ) {
      return this.#refuse(session, {
        code: "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
        message: `the proof is not a signature of ${session.peer.spiffeId} over this handshake on this connection (${challenge.facts.channelBinding}); a proxy between agent and gateway has to pass TLS through, since one that ends it makes two connections of one`,
      });
    }
    this.#enter(session, "proof-verified");
    // Others may have attached since the hello.
    const refusal = this.#isDraining ? draining : this.#admit(challenge.facts);
    if (refusal !== undefined) return this.#refuse(session, refusal);
    this.#attach(now, session, challenge.facts, {
      hello: challenge.hello,
      challenge: challenge.challenge,
      proof: proof.signature,
    });
  }

  /** Keeps the attachment alive, and brings a stale one back (C-12). */
  handleHeartbeat(now: Now, link: LinkId, heartbeat: aap.Heartbeat): void {
    const session = this.#sessions.get(link);
    if (session === undefined || session.state === "ending") return;
    const { lease } = session;
    if (!session.isAttached || lease === undefined) return this.#unexpected(now, session, "Heartbeat");
    if (hex(heartbeat.leaseId) !== hex(lease.leaseId)) {
      return this.#end(now, session, {
        code: "CAUSEWAY_ATTACHMENT_LEASE_EXPIRED",
        message: "the heartbeat names another lease than the live one; attach again",
      });
    }
    if (now.instant > later(lease.lastSeen, lease.times.leaseMs)) return this.#end(now, session, leaseExpired);
    if (heartbeat.sequence <= lease.lastHeartbeat) return;
    lease.lastHeartbeat = heartbeat.sequence;
    this.#renew(now, lease);
    const condition = conditionOf(heartbeat.condition);
    const isChanged = condition !== lease.condition || session.state === "stale";
    lease.condition = condition;
    if (session.state === "stale") this.#event("attachment.recovered", session, "a heartbeat came");
    this.#enter(session, "heartbeat");
    this.#arm(session);
    if (isChanged) this.#emitView("update", session);
    this.#send(
      session,
      encodeFrame({
        case: "heartbeatAck",
        value: {
          sequence: heartbeat.sequence,
          gatewayUnixMs: BigInt(now.unix),
          lifetimeMs: BigInt(lease.times.leaseMs),
        },
      }),
    );
  }

  /** Authenticated frames of any kind from the agent: renew a soft attachment (AAP-90). Cheap; call it for every read. */
  handleTraffic(now: Now, link: LinkId): void {
    const session = this.#sessions.get(link);
    if (session?.state !== "attached" || session.lease?.facts.model !== "soft") return;
    this.#renew(now, session.lease);
  }

  handleSessionEnd(now: Now, link: LinkId, end: aap.SessionEnd): void {
    const session = this.#sessions.get(link);
    if (session === undefined) return;
    if (!session.isAttached) {
      // While ending it is the answer to our own SessionEnd.
      if (session.state !== "ending")
        this.#refuse(session, {
          code: "CAUSEWAY_ATTACHMENT_REQUIRED",
          message: "the agent ended an attachment that it did not have",
        });
      return;
    }
    const cause = end.reason.slice(0, 200) || "the agent ended it";
    this.#leave(now, session, "session-end", undefined, cause);
    this.#send(session, this.#sessionEnd(session, cause, undefined));
    this.#close(session, undefined);
  }

  /** The link is gone. A stateful attachment goes stale and waits for its agent; a soft one until its lifetime. */
  handleLinkDown(now: Now, link: LinkId): void {
    const session = this.#sessions.get(link);
    if (session === undefined) return;
    session.isLinkUp = false;
    const isAttached = session.state === "attached";
    this.#enter(session, "link-lost");
    if (session.state === "removed") return this.#forget(session);
    if (!isAttached || session.lease === undefined) return;
    this.#goStale(now, session, "the link was lost");
  }

  /** Ends every attachment and handshake that `matches`, at once, with a SessionEnd that says why. Returns how many. */
  detach(now: Now, matches: (peer: VerifiedPeer, agentId: AgentId | undefined) => boolean, error: ErrorFacts): number {
    const facts: ErrorFacts = { code: error.code, message: error.message };
    let count = 0;
    for (const session of [...this.#sessions.values()]) {
      if (session.state === "ending" || !matches(session.peer, session.lease?.facts.agentId)) continue;
      count++;
      if (session.isAttached) this.#end(now, session, facts);
      else this.#refuse(session, facts);
    }
    return count;
  }

  /** Tells every agent to move and refuses new ones; at the deadline the rest is ended. */
  startDraining(now: Now, deadlineUnixMs: UnixMs, reason: string): void {
    this.#isDraining = true;
    this.#drainingUntil = later(now.instant, Math.max(0, deadlineUnixMs - now.unix));
    const frame = encodeFrame({ case: "drain", value: { deadlineUnixMs: BigInt(deadlineUnixMs), reason } });
    for (const session of this.#sessions.values()) if (session.isAttached) this.#send(session, frame);
  }

  /** The attachment of a link, once attached and until it ends. */
  attachmentOf(link: LinkId): Attachment | undefined {
    const session = this.#sessions.get(link);
    return session?.isAttached ? session.view() : undefined;
  }

  /** Every attachment, the stale ones included. */
  attachments(): readonly Attachment[] {
    return [...this.#byInstance.values()].flatMap((session) => session.view() ?? []);
  }

  drain(): readonly GatewayEffect[] {
    if (this.#effects.length === 0) return none;
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  deadline(): Instant | undefined {
    return earliest(this.#due.deadline(), this.#drainingUntil);
  }

  handleTimeout(now: Now): void {
    if (this.#drainingUntil !== undefined && this.#drainingUntil <= now.instant) {
      this.#drainingUntil = undefined;
      for (const session of [...this.#byInstance.values()]) this.#end(now, session, draining);
    }
    for (let session = this.#due.take(now.instant); session !== undefined; session = this.#due.take(now.instant)) {
      this.#onDue(now, session);
    }
  }

  #onDue(now: Now, session: GatewaySession): void {
    const due = this.#dueOf(session);
    if (due > now.instant) return this.#due.arm(session, due);
    const { lease } = session;
    if (session.isHandshake) {
      return this.#refuse(session, {
        code: "CAUSEWAY_TIMEOUT",
        message: `expected the handshake within ${this.#times.handshakeMs} ms; attach again`,
      });
    }
    if (session.state === "ending" || lease === undefined) {
      this.#enter(session, "expired");
      return this.#forget(session);
    }
    if (lease.certifiedUntil <= now.instant) {
      return this.#end(now, session, {
        code: "CAUSEWAY_IDENTITY_CERTIFICATE_EXPIRED",
        message: "the certificate of this attachment has ended; attach with the renewed one",
      });
    }
    if (session.state === "attached" && lease.facts.model === "stateful") {
      this.#enter(session, "heartbeats-missed");
      return this.#goStale(now, session, `no heartbeat for ${lease.times.staleAfterMs} ms`);
    }
    this.#expire(now, session);
  }

  /** AAP-86, AAP-91: the time is over. No error: the agent is simply not there any more. */
  #expire(now: Now, session: GatewaySession): void {
    this.#leave(now, session, "expired", undefined, "no sign of the agent within its lifetime");
    this.#event("attachment.expired", session, "no sign of the agent within its lifetime");
    this.#close(session, undefined);
  }

  #dueOf(session: GatewaySession): Instant {
    const { lease } = session;
    if (lease === undefined || !session.isAttached) return session.until;
    const { leaseMs, staleAfterMs } = lease.times;
    const silence =
      lease.facts.model === "soft"
        ? later(lease.lastSeen, leaseMs)
        : session.state === "stale"
          ? session.until
          : later(lease.lastSeen, staleAfterMs);
    return asInstant(Math.min(silence, lease.certifiedUntil));
  }

  #arm(session: GatewaySession): void {
    this.#due.arm(session, this.#dueOf(session));
  }

  #renew(now: Now, lease: LeaseState): void {
    lease.lastSeen = now.instant;
    lease.lastSeenUnix = now.unix;
  }

  #goStale(now: Now, session: GatewaySession, cause: string): void {
    session.until = later(now.instant, (session.lease?.times ?? this.#times).removeAfterStaleMs);
    this.#arm(session);
    this.#emitView("update", session);
    this.#event("attachment.stale", session, cause);
  }

  /** Why this hello or proof cannot become an attachment now. */
  #admit(facts: HelloFacts): ErrorFacts | undefined {
    const key = instanceKey(facts);
    const held = this.#byInstance.get(key);
    const floor = held?.lease?.facts.attachmentSequence ?? this.#floors.get(key);
    if (floor !== undefined && facts.attachmentSequence <= floor) {
      return {
        code: "CAUSEWAY_ATTACHMENT_OUTDATED",
        message: `expected an attachment sequence above ${floor}, got ${facts.attachmentSequence}`,
        details: { held: String(floor) },
      };
    }
    if (held !== undefined) return undefined;
    if (this.#byInstance.size >= this.#attachmentsMax) {
      return {
        code: "CAUSEWAY_LIMIT_COUNT",
        message: "this gateway holds as many attachments as it may; attach elsewhere",
        details: { limit: "attachmentsMax" },
      };
    }
    if ((this.#instancesOf.get(facts.agentId) ?? 0) >= (this.#options.instancesPerAgentMax ?? 64)) {
      return {
        code: "CAUSEWAY_LIMIT_COUNT",
        message: "the agent has as many instances here as it may; end one first",
        details: { limit: "instancesPerAgentMax" },
      };
    }
    return undefined;
  }

  #attach(
    now: Now,
    session: GatewaySession,
    facts: HelloFacts,
    transcript: { readonly hello: Uint8Array; readonly challenge: Uint8Array; readonly proof: Uint8Array },
  ): void {
    const { crypto, random, signer } = this.#options;
    const older = this.#byInstance.get(instanceKey(facts));
    if (older !== undefined) {
      this.#event("attachment.replaced", older, `attachment sequence ${facts.attachmentSequence} took over`);
      this.#end(now, older, {
        code: "CAUSEWAY_ATTACHMENT_REPLACED",
        message: "a newer attachment of the same instance took over",
      });
    }
    this.#handshakes--;
    const { nonce: _nonce, ...kept } = facts;
    session.lease = {
      times: this.#times,
      facts: kept,
      leaseId: random.bytes(16),
      since: now.unix,
      certifiedUntil: later(now.instant, session.peer.notAfter - now.unix),
      lastSeen: now.instant,
      lastSeenUnix: now.unix,
      lastHeartbeat: 0n,
      condition: "running",
    };
    this.#enter(session, "context-created");
    this.#byInstance.set(instanceKey(facts), session);
    this.#instancesOf.set(facts.agentId, (this.#instancesOf.get(facts.agentId) ?? 0) + 1);
    this.#enter(session, "lease-sent");
    this.#arm(session);
    this.#emitView("install", session);
    const lease = signLease(
      {
        leaseId: session.lease.leaseId,
        lifetimeMs: BigInt(this.#times.leaseMs),
        heartbeatIntervalMs: BigInt(this.#times.heartbeatMs),
        model: facts.model === "soft" ? aap.AttachmentModel.SOFT : aap.AttachmentModel.STATEFUL,
        features: [...facts.features],
        gatewayUnixMs: BigInt(now.unix),
        attachmentSequence: facts.attachmentSequence,
        gatewayUse: encodeGatewayUse(this.#options.gatewayUse ?? "prefer"),
      },
      (unsigned) => signer().sign(leaseMessage(crypto, session.binding, transcript, unsigned)),
    );
    this.#send(session, wrapFrame(FrameKind.attachLease, lease));
    this.#event("attachment.attached", session, `${facts.model}, sequence ${facts.attachmentSequence}`);
  }

  /** Ends an attachment from our side. */
  #end(now: Now, session: GatewaySession, error: ErrorFacts): void {
    this.#leave(now, session, "refused", error, error.message);
    this.#send(session, this.#sessionEnd(session, error.message, error));
    this.#close(session, error);
  }

  /** Takes the attachment out of every table; what is left is a link that is closing. */
  #leave(now: Now, session: GatewaySession, input: GatewayInput, error: ErrorFacts | undefined, cause: string): void {
    const { lease } = session;
    if (lease === undefined) return;
    const { facts } = lease;
    const key = instanceKey(facts);
    this.#enter(session, input);
    if (this.#byInstance.get(key) === session) this.#byInstance.delete(key);
    const left = (this.#instancesOf.get(facts.agentId) ?? 1) - 1;
    if (left > 0) this.#instancesOf.set(facts.agentId, left);
    else this.#instancesOf.delete(facts.agentId);
    this.#floors.set(key, facts.attachmentSequence);
    const attachment = session.view();
    if (attachment !== undefined) this.#effects.push({ kind: "remove", attachment, cause: error });
    this.#event("attachment.removed", session, cause);
    session.until = later(now.instant, endingMs);
    this.#due.disarm(session);
    if (session.isLinkUp) {
      this.#arm(session);
    } else {
      this.#enter(session, "link-lost");
      this.#forget(session);
    }
  }

  /** Refuses a link that has no attachment. */
  #refuse(session: GatewaySession, error: ErrorFacts): void {
    if (session.state === "ending" || session.state === "removed") return;
    this.#handshakes--;
    this.#enter(session, "refused");
    this.#event("attachment.refused", session, `${error.code}: ${error.message}`);
    this.#send(session, encodeFrame({ case: "error", value: { error: toErrorDetail(error), fatal: true } }));
    this.#close(session, error);
    this.#forget(session);
  }

  #unexpected(now: Now, session: GatewaySession, frame: string): void {
    const error: ErrorFacts = {
      code: "CAUSEWAY_FRAME_UNEXPECTED",
      message: `${frame} does not fit the state ${session.state} of this link`,
    };
    if (session.state === "ending") return;
    if (session.isAttached) this.#end(now, session, error);
    else this.#refuse(session, error);
  }

  #forget(session: GatewaySession): void {
    this.#sessions.delete(session.link);
    this.#due.disarm(session);
  }

  #enter(session: GatewaySession, input: GatewayInput): void {
    const wasHandshake = session.isHandshake;
    session.enter(input);
    if (wasHandshake && session.state === "removed" && input === "link-lost") this.#handshakes--;
  }

  #send(session: GatewaySession, frame: Uint8Array): void {
    if (session.isLinkUp) this.#effects.push({ kind: "send", link: session.link, frame });
  }

  #close(session: GatewaySession, error: ErrorFacts | undefined): void {
    if (session.isLinkUp) this.#effects.push({ kind: "close", link: session.link, error });
  }

  #emitView(kind: "install" | "update", session: GatewaySession): void {
    const attachment = session.view();
    if (attachment !== undefined) this.#effects.push({ kind, attachment });
  }

  #event(type: GatewayEventType, session: GatewaySession, cause: string): void {
    const subject = session.lease === undefined ? session.peer.spiffeId : instanceKey(session.lease.facts);
    this.#effects.push({ kind: "event", type, subject, cause });
  }

  #sessionEnd(session: GatewaySession, reason: string, error: ErrorFacts | undefined): Uint8Array {
    const leaseId = session.lease?.leaseId ?? new Uint8Array(0);
    return encodeFrame({
      case: "sessionEnd",
      value: { leaseId, reason, ...(error && { error: toErrorDetail(error) }) },
    });
  }
}

function isProof(
  crypto: CryptoPort,
  peer: VerifiedPeer,
  message: ReturnType<typeof proofMessage>,
  signature: Uint8Array,
): boolean {
  try {
    verifyByPeer(crypto, peer, message, signature);
    return true;
  } catch (thrown) {
    // Only the verdict of the verifier; a defect must not look like a wrong proof.
    if (isCausewayError(thrown)) return false;
    throw thrown;
  }
}

/** Takes the channel binding that the hello names. */
function bind(session: GatewaySession, facts: HelloFacts): ErrorFacts | undefined {
  if (facts.channelBinding === "tls-exporter") return undefined;
  const binding = session.serverEndPoint?.();
  if (binding?.length !== bindingBytes) {
    return { code: "CAUSEWAY_UNSUPPORTED", message: "expected the channel binding tls-exporter on this link" };
  }
  session.binding = binding;
  return undefined;
}

function conditionOf(condition: aap.AgentCondition): Condition {
  if (condition === aap.AgentCondition.DEGRADED) return "degraded";
  return condition === aap.AgentCondition.OFFLINE ? "offline" : "running";
}

const none: readonly GatewayEffect[] = [];
const noncesMax = 8_192;
const floorsMax = 20_000;
/** How long a link may take to close after its SessionEnd. */
const endingMs = 5_000;
const draining: ErrorFacts = {
  code: "CAUSEWAY_GATEWAY_DRAINING",
  message: "this gateway is going out of service; attach elsewhere",
};
const replayed: ErrorFacts = {
  code: "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
  message: "this nonce was used before; attach with a fresh one",
};
const leaseExpired: ErrorFacts = {
  code: "CAUSEWAY_ATTACHMENT_LEASE_EXPIRED",
  message: "the lease ended before this heartbeat; attach again",
};
