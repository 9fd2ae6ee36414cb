/**
 * All attachments of one agent, as if they were one link (AAP-14, AAP-15): what leaves goes to the preferred one, what
 * comes is taken from any. Which there are is decided by the core's `Homes`; each is a `GatewaySession`.
 */
import { AttachmentSequence, type HomeId, Homes, type Lease, mailboxFeature } from "@causeway/core-attachment";
import { CausewayError, later, refuse } from "@causeway/core-base";
import type { SessionLimits } from "@causeway/core-session";
import { type agp, type FrameBody, Lane } from "@causeway/core-wire";
import type { AgentReport } from "./api.ts";
import { inNextTurn } from "./clock.ts";
import type { Connector } from "./connector.ts";
import {
  type AttachmentTerms,
  type CallTerms,
  GatewaySession,
  type LinkRequest,
  type Origin,
} from "./gateway-session.ts";
import { Intake } from "./intake.ts";
import { MailboxAcks } from "./mailbox-acks.ts";
import { errorOf } from "./session/messages.ts";
import { Rate } from "./session/rate.ts";

/** Whom a call is for: one attachment, or each; the preferred one answers. Default the preferred one alone. */
export type At = GatewaySession | "each";

export interface AttachmentsPorts extends AttachmentTerms {
  readonly connector: Connector;
  /** Gateways to be attached to at once. */
  readonly wanted: number;
  readonly limits: Pick<SessionLimits, "receivingMax" | "receivingBytesMax">;
  /** Processes a message; `attachment` numbers the attachment that it came over. */
  readonly onMessage: (envelope: agp.Envelope, attachment: number) => Promise<void>;
  readonly onControl: (control: agp.Control) => void;
  /** Resolves when the gateway knows what gateways have to know of this agent. */
  readonly onAttached: (at: GatewaySession, lease: Lease, facts: AttachedFacts) => Promise<void>;
  /** Tells one gateway again what gateways have to know of this agent. */
  readonly setUp: (at: GatewaySession) => Promise<void>;
  readonly onLost: (cause: CausewayError, loss: Loss) => void;
  /** While there is no attachment: the next attempt comes in this time. */
  readonly onBackoff: (attempt: number, inMs: number) => void;
  readonly onDraining: (reason: string) => void;
  readonly onNetworkEvent: (event: agp.Event) => void;
  readonly onSecurity: (peer: string, error: CausewayError) => void;
}

/** How an attachment follows on those before it. */
export interface AttachedFacts {
  /** There was none. */
  readonly isFirst: boolean;
  /** It takes the place of an older one at the same gateway. */
  readonly takesOver: boolean;
}

/** What the loss of an attachment means. */
export interface Loss {
  /** What left went this way, and answers to it may come no more. */
  readonly wasPreferred: boolean;
  /** There is none left. */
  readonly isLast: boolean;
  /** There will be none. */
  readonly isFinal: boolean;
}

interface Home {
  readonly id: HomeId;
  readonly session: GatewaySession;
  readonly acks: MailboxAcks;
  /** Takes back the repair that is to come; undefined without one. */
  cancelRepair: (() => void) | undefined;
}

/** What one gateway of several has failed to take. */
interface Untold {
  readonly home: Home;
  readonly lease: Lease | undefined;
  readonly error: CausewayError;
}

export class Attachments {
  readonly #ports: AttachmentsPorts;
  readonly #homes: Homes;
  readonly #byId = new Map<HomeId, Home>();
  /** Those that others carry on for, until their links are gone. */
  readonly #retiring = new Set<GatewaySession>();
  readonly #sequence = new AttachmentSequence();
  readonly #intake: Intake<Origin>;
  /** Whose mailbox hears of a message: known while there are several. */
  readonly #sources = new WeakMap<agp.RoutingHeader, Home>();
  #preferred: Home | undefined;
  #count = 0;
  readonly #repairs: Rate;
  /** Resolves with the next change of an attachment. */
  #change: PromiseWithResolvers<void> | undefined;
  #condition: "running" | "degraded" | "offline" = "running";
  #ended: CausewayError | undefined;
  #isClosing = false;

  /** Throws `CAUSEWAY_MISUSE` for a number of attachments that cannot be. */
  constructor(ports: AttachmentsPorts) {
    const { connector, limits } = ports;
    this.#ports = ports;
    this.#homes = new Homes(ports.wanted);
    this.#repairs = new Rate(connector.scheduler, repairsMax, repairsMs);
    this.#intake = new Intake({
      limits,
      process: (envelope, from) => this.#process(envelope, from),
      pause: () => this.#forEachLink((session) => session.pause()),
      resume: () => this.#forEachLink((session) => session.resume()),
      onDrop: () => connector.log.warn("agent.message_dropped", { reason: "too many messages are being processed" }),
      nextTurn: (run) => inNextTurn(connector, run),
      onBulkTaken: (bytes, from) => {
        // What came over a link that is gone is on its way over no other one.
        if (from !== undefined && from === from.session.origin) from.session.acknowledge(bytes);
      },
    });
  }

  /** Of the preferred attachment; undefined while there is none. */
  get lease(): Lease | undefined {
    return this.#preferred?.session.lease;
  }

  /** Why the last attempt or attachment ended. */
  get lastError(): CausewayError | undefined {
    if (this.#ended) return this.#ended;
    return this.#shown?.lastError ?? this.#sessions().find(({ lastError }) => lastError)?.lastError;
  }

  /** How the preferred gateway was found, and what was passed over. */
  get discovery(): GatewaySession["discovery"] {
    return this.#shown?.discovery ?? { choice: undefined, passedOver: [] };
  }

  /** Why there will be no attachment any more; undefined while the agent is attached or tries to be. */
  get ended(): CausewayError | undefined {
    return this.#ended;
  }

  /** A gateway delivers to this agent, or has its lease on the way. */
  get isHeld(): boolean {
    return this.#homes.isHeld && !this.#isClosing;
  }

  start(): void {
    this.#step(() => this.#homes.start());
  }

  setCondition(condition: "running" | "degraded" | "offline"): void {
    this.#condition = condition;
    for (const { session } of this.#byId.values()) session.setCondition(condition);
  }

  /** Makes every attachment anew, for example with a renewed certificate; the old one ends when the new one works. */
  renew(): void {
    this.#step(() => this.#homes.renew());
  }

  /** Ends all attachments for good. */
  close(reason: string, isAway = false): void {
    this.#isClosing = true;
    this.#change?.resolve();
    for (const { acks, session, cancelRepair } of this.#byId.values()) {
      cancelRepair?.();
      acks.flush();
      acks.close();
      session.close(reason, isAway);
    }
    for (const session of this.#retiring) session.close(reason, isAway);
  }

  /** Puts a frame on the preferred link and waits for room in its lane. Rejects with `CAUSEWAY_UNREACHABLE` without one. */
  async transmit(frame: Uint8Array, lane: Lane = Lane.urgent): Promise<void> {
    const home = this.#preferred;
    if (!home) {
      if (!this.isHeld) throw none();
      await (this.#change ??= Promise.withResolvers<void>()).promise;
      return this.transmit(frame, lane);
    }
    try {
      await home.session.transmit(frame, lane);
    } catch (thrown) {
      // It was not put on the link; another one may carry on by now.
      if (this.#preferred === undefined || this.#preferred === home) throw thrown;
      await this.transmit(frame, lane);
    }
  }

  /** Keeps reading while `work` waits for something that comes. */
  awaiting<T>(work: () => Promise<T>): Promise<T> {
    return this.#intake.awaiting(work);
  }

  /** Sends a request to a gateway and waits for the frame that answers it. */
  async call(make: LinkRequest, { at, ...terms }: CallTerms & { readonly at?: At | undefined }): Promise<FrameBody> {
    if (at !== undefined && at !== "each") return at.call(make, terms);
    const home = this.#preferred;
    if (!home) throw none();
    if (at !== "each") return home.session.call(make, terms);
    const others = this.#attached().filter((other) => other !== home);
    const told = others.map((other) => this.#tell(other, make, terms));
    const answer = await home.session.call(make, terms);
    // What the preferred one refuses is not to be elsewhere.
    if (refusalOf(answer) === undefined)
      for (const outcome of told) void outcome.then((untold) => untold && this.#repair(untold));
    return answer;
  }

  async #tell(home: Home, make: LinkRequest, terms: CallTerms): Promise<Untold | undefined> {
    const { lease } = home.session;
    try {
      const error = refusalOf(await home.session.call(make, terms));
      return error && { home, lease, error };
    } catch (thrown) {
      return { home, lease, error: CausewayError.from(thrown) };
    }
  }

  /** Tells a gateway all again, soon and seldom: it lacks what the preferred one has. */
  #repair({ home, lease, error }: Untold): void {
    const { scheduler, log } = this.#ports.connector;
    // One that is lost meanwhile is told when it is back.
    const isThere = (): boolean => !this.#isClosing && this.#byId.get(home.id) === home && home.session.lease === lease;
    if (!lease || !isThere()) return;
    const { code, message } = error;
    log.warn("agent.gateway_not_told", { gateway: lease.gatewayId, code, message });
    if (home.cancelRepair || !this.#repairs.allows(lease.gatewayId)) return;
    home.cancelRepair = scheduler.at(later(scheduler.now().instant, repairMs), () => {
      home.cancelRepair = undefined;
      if (isThere()) this.#ports.setUp(home.session).catch((thrown: unknown) => this.#warnSetUp(thrown));
    });
  }

  /** A message is settled for good, or can never be taken (`error`): its gateway need not store it any more. */
  settled(header: agp.RoutingHeader, error: CausewayError | undefined): void {
    const home = this.#sources.get(header) ?? this.#preferred;
    home?.acks.add(header, error);
  }

  /** Lets acknowledgements leave that wait for company. */
  flush(): void {
    for (const { acks } of this.#byId.values()) acks.flush();
  }

  /** Of all attachments, those that are being made included. */
  sessions(): readonly GatewaySession[] {
    return this.#sessions();
  }

  report(): AgentReport["attachments"] {
    return this.#homes.status().map(({ home, state, gateway }) => {
      const session = this.#byId.get(home)?.session;
      const { lease, lastError } = session ?? {};
      const isPreferred = home === this.#preferred?.id;
      return { gateway, state, preferred: isPreferred, leaseMs: lease?.lifetimeMs, lastError };
    });
  }

  get #shown(): GatewaySession | undefined {
    return this.#preferred?.session ?? this.#sessions()[0];
  }

  #sessions(): readonly GatewaySession[] {
    return [...this.#byId.values()].map(({ session }) => session);
  }

  #attached(): readonly Home[] {
    return [...this.#byId.values()].filter(({ session }) => session.lease !== undefined);
  }

  #forEachLink(run: (session: GatewaySession) => void): void {
    for (const { session } of this.#byId.values()) run(session);
    for (const session of this.#retiring) run(session);
  }

  #process(envelope: agp.Envelope, from: Origin | undefined): Promise<void> {
    if (this.#byId.size > 1 && envelope.header) {
      for (const home of this.#byId.values())
        if (home.session === from?.session) this.#sources.set(envelope.header, home);
    }
    return this.#ports.onMessage(envelope, from?.attachment ?? 0);
  }

  /** One input to the machine, then its effects in order. Nothing while closing: what ends must not be made anew. */
  #step(input: () => void): void {
    if (this.#isClosing) return;
    input();
    for (let effects = this.#homes.drain(); effects.length > 0; effects = this.#homes.drain()) {
      for (const effect of effects) {
        if (effect.kind === "open") this.#open(effect.home);
        else if (effect.kind === "end") this.#end(effect.home, effect.reason);
        else for (const id of [...this.#byId.keys()]) this.#end(id, "the agent has ended");
      }
    }
    const { preferred } = this.#homes;
    this.#preferred = preferred === undefined ? undefined : this.#byId.get(preferred);
    this.#change?.resolve();
    this.#change = undefined;
  }

  #open(id: HomeId): void {
    const { connector, onControl, onDraining, onNetworkEvent, onSecurity, ...ports } = this.#ports;
    const session: GatewaySession = new GatewaySession({
      connector,
      instance: ports.instance,
      advertise: ports.advertise,
      model: ports.model,
      requiredFeatures: ports.requiredFeatures,
      messagesPerSecondMax: ports.messagesPerSecondMax,
      sequence: this.#sequence,
      intake: this.#intake,
      below: () => this.#homes.below(id),
      mayUse: (gateway) => this.#homes.claim(id, gateway),
      onControl,
      onNetworkEvent: (event) => {
        // The others tell of the same things.
        if (this.#preferred?.id === id) onNetworkEvent(event);
      },
      onSecurity,
      onAttached: (lease) => this.#handleAttached(id, lease),
      onLost: (cause, isFinal) => this.#handleLost(id, cause, isFinal),
      onBackoff: (attempt, inMs) => {
        this.#handleBackoff(id);
        if (!this.#homes.isHeld) ports.onBackoff(attempt, inMs);
      },
      onDraining: (reason) => {
        onDraining(reason);
        this.#step(() => this.#homes.handleDraining(id));
      },
    });
    const { scheduler } = connector;
    const acks = new MailboxAcks({ scheduler, transmit: (frame) => session.transmit(frame) });
    this.#byId.set(id, { id, session, acks, cancelRepair: undefined });
    session.setCondition(this.#condition);
    session.start();
  }

  #end(id: HomeId, reason: string): void {
    const home = this.#byId.get(id);
    if (!home) return;
    this.#byId.delete(id);
    home.cancelRepair?.();
    home.acks.flush();
    home.acks.close();
    const { session } = home;
    this.#retiring.add(session);
    void session.retire(reason).finally(() => this.#retiring.delete(session));
    this.#handleFreed();
  }

  #handleAttached(id: HomeId, lease: Lease): void {
    const home = this.#byId.get(id);
    if (!home) return;
    const isFirst = !this.#homes.isHeld;
    const takesOver = this.#homes.takesOver(id, lease.gatewayId);
    home.session.origin = { session: home.session, attachment: ++this.#count };
    home.acks.setOn(lease.features.includes(mailboxFeature));
    this.#step(() => this.#homes.handleAttached(id, lease.gatewayId, lease.attachmentSequence));
    this.#ports
      .onAttached(home.session, lease, { isFirst, takesOver })
      .catch((thrown: unknown) => this.#warnSetUp(thrown))
      .finally(() => this.#step(() => this.#homes.handleReady(id, lease.attachmentSequence)));
  }

  #handleFreed(): void {
    for (const { session } of this.#byId.values()) session.handleFreed();
  }

  #warnSetUp(thrown: unknown): void {
    const { code, message } = CausewayError.from(thrown);
    this.#ports.connector.log.warn("agent.set_up_failed", { code, message });
  }

  #handleLost(id: HomeId, cause: CausewayError, isFinal: boolean): void {
    if (this.#isClosing) {
      if (this.#attached().length > 0 || this.#ended) return;
      this.#ended = cause;
      this.#ports.onLost(cause, { wasPreferred: true, isLast: true, isFinal: true });
      return;
    }
    // One that was ended because another carries on is no loss.
    if (!this.#byId.has(id)) return;
    const wasPreferred = this.#preferred?.id === id;
    const isReplaced = cause.code === "CAUSEWAY_ATTACHMENT_REPLACED";
    this.#step(() => this.#homes.handleLost(id, isFinal, isReplaced));
    if (this.#byId.size === 0) this.#ended = cause;
    this.#handleFreed();
    const isLast = !this.#homes.isHeld;
    this.#ports.onLost(cause, { wasPreferred, isLast, isFinal: this.#ended !== undefined });
  }

  #handleBackoff(id: HomeId): void {
    const wasHeld = this.#homes.isHeld;
    this.#step(() => this.#homes.handleBackoff(id));
    // What was to take over did not.
    if (!wasHeld || this.#homes.isHeld) return;
    this.#ports.onLost(this.lastError ?? none(), { wasPreferred: true, isLast: true, isFinal: false });
  }
}

function refusalOf({ case: kind, value }: FrameBody): CausewayError | undefined {
  switch (kind) {
    case "advertiseResult":
    case "subscriptionResult":
    case "topicResult":
    case "keyPackageUploadResult":
      return value.error && errorOf(value.error, "CAUSEWAY_INTERNAL");
    default:
      return undefined;
  }
}

/** How long after a failure one gateway is told all again. */
const repairMs = 1_000;
/** How often that may be for one gateway. */
const repairsMax = 3;
const repairsMs = 600_000;

const none = (): CausewayError =>
  refuse("CAUSEWAY_UNREACHABLE", "expected a gateway to be attached to, got none; the agent reconnects by itself");
