/**
 * Encrypted messages between this agent and others: puts the way out and the way in together with the end-to-end layer
 * below, and hears what gateways and peers say of messages. It says nothing about what messages mean.
 */
import { agentOf, CausewayError, domainOf, type Log, parseSpiffeId, refuse, type SpiffeId } from "@causeway/core-base";
import { decodeInboxState, encodeInboxState, type Progress, type SessionLimits } from "@causeway/core-session";
import { agp } from "@causeway/core-wire";
import type { AgentEvent } from "./api.ts";
import { toHex } from "./bytes.ts";
import { within } from "./clock.ts";
import type { Opened, StateStore } from "./end-to-end.ts";
import { SealedSender, type SealedSenderPorts } from "./sealed-sender.ts";
import { Acknowledgements } from "./session/acknowledgements.ts";
import { Arrivals, type Attached, agentNamed, type Delivery } from "./session/arrivals.ts";
import { Departures, newLane } from "./session/departures.ts";
import { errorOf, type SessionBody } from "./session/messages.ts";
import { encodePacket } from "./session/packets.ts";
import { Rate } from "./session/rate.ts";

export type { Delivery } from "./session/arrivals.ts";

/** Options of `Messenger.post`. */
export interface PostOptions {
  readonly isBulk?: boolean;
  readonly lane: string;
  readonly timeoutMs: number;
  /** Each sign that the receiver has it starts `timeoutMs` again. */
  readonly patient?: boolean;
  readonly trace?: boolean;
  /** Hex; a new one by default. */
  readonly id?: string;
  readonly wantsAccepted?: boolean;
  readonly wantsStored?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Of a best-effort message that a gateway reports as failed. */
  readonly onFailed?: (error: CausewayError) => void;
}

/** A best-effort message of which the own gateway shall say that it passed it on. */
interface Awaited {
  readonly onProgress: (progress: Progress) => void;
  readonly onFailed: (error: CausewayError) => void;
}

export interface MessengerPorts extends SealedSenderPorts {
  /** Calls `run` when the process has read what there is to read. */
  readonly nextTurn: (run: () => void) => void;
  readonly store: StateStore;
  readonly log: Log;
  readonly limits: SessionLimits;
  readonly sha256: (data: Uint8Array) => Uint8Array;
  readonly onDeliver: (delivery: Delivery) => void;
  /** A message or handshake of a topic's group. */
  readonly onTopic: (topic: string, opened: Opened, body: SessionBody | undefined) => void;
  /** A message came of a topic whose group this agent does not know. */
  readonly onUnknownTopic: (topic: string) => void;
  /** A welcome or commit of a pair was processed. */
  readonly onHandshake: (opened: Opened) => void;
  /** A gateway may have stored the envelope: it need not any more. */
  readonly onSettled: (header: agp.RoutingHeader, error: CausewayError | undefined) => void;
  readonly onEvent: (event: AgentEvent) => void;
}

export class Messenger {
  readonly sender: SealedSender;
  readonly counters = { sent: 0, received: 0, repeated: 0, refused: 0, dropped: 0, reports: 0 };
  readonly #ports: MessengerPorts;
  readonly #departures: Departures;
  readonly #arrivals: Arrivals;
  readonly #acks: Acknowledgements;
  readonly #hints: Rate;
  readonly #newContexts: Rate;
  /** Contexts that were given up lately; several messages may have left under one. */
  readonly #givenUp = new Set<string>();
  readonly #awaited = new Map<string, Awaited>();
  #isClosed = false;
  #ended: CausewayError | undefined;

  constructor(ports: MessengerPorts) {
    const { scheduler, limits, random, log, endToEnd } = ports;
    this.#ports = ports;
    this.sender = new SealedSender({ ...ports, onLeftDirectly: (ids) => this.#handleAccepted(ids) });
    this.#hints = new Rate(scheduler, hintsMax, hintsMs);
    this.#newContexts = new Rate(scheduler, newContextsMax, newContextsMs);
    this.#departures = new Departures({
      limits,
      random,
      scheduler,
      sender: this.sender,
      nextTurn: ports.nextTurn,
      takeAcks: (address) => this.#acks.take(address),
      onSent: (messages, repeated) => {
        this.counters.sent += messages;
        this.counters.repeated += repeated;
      },
      onSilent: (context) => void endToEnd.forget(context).catch((thrown: unknown) => this.#warn(thrown)),
    });
    this.#acks = new Acknowledgements({
      scheduler,
      log,
      report: (address, channel) => this.#arrivals.report(address, channel),
      store: (address) => ports.store.put(this.#storeKey(address), encodeInboxState(this.#arrivals.state(address))),
      depart: (address) => this.#departures.acknowledge(parseSpiffeId(address)),
    });
    this.#arrivals = new Arrivals({
      limits,
      scheduler,
      open: (source, context, payload) => endToEnd.open(source, context, payload),
      onPacket: (from, { messages, acks }, address) => {
        this.#departures.handleHeard(address);
        this.counters.received += Math.max(1, messages.length);
        this.#departures.handleReport(from, [...acks]);
      },
      onDeliver: ports.onDeliver,
      onTopic: (topic, opened, body) => {
        if (body) this.counters.received++;
        ports.onTopic(topic, opened, body);
      },
      onHandshake: ports.onHandshake,
      onNews: (address, channel, isDurable) => this.#acks.add(address, channel, isDurable),
      onSettled: (header, error) => {
        if (header.deliveryMode === agp.DeliveryMode.RELIABLE) ports.onSettled(header, error);
      },
      onDrop: (source, reason) => {
        this.counters.dropped++;
        log.debug("agent.message_dropped", { source, reason });
      },
      onRefused: (header, error) => this.#refuse(header, error),
      restore: async (address) => {
        const stored = await ports.store.get(this.#storeKey(address));
        return stored && decodeInboxState(stored);
      },
    });
  }

  newId(): string {
    return toHex(this.sender.newId());
  }

  newLane(): string {
    return newLane(this.#ports.random);
  }

  /** Sends until the other agent has taken it. Rejects with the reason why that did not happen. */
  post(to: SpiffeId, body: SessionBody, options: PostOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.promise(to, body, options, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** The same without a promise: `onSettled` hears of the end once. Throws at a bound. */
  promise(to: SpiffeId, body: SessionBody, options: PostOptions, onSettled: (error?: CausewayError) => void): void {
    if (this.#ended) throw this.#ended;
    const { lane, timeoutMs, patient = false, isBulk = false, onProgress = ignore } = options;
    this.#departures.promise(
      {
        to,
        id: options.id ?? this.newId(),
        body,
        isBulk,
        trace: options.trace ?? false,
        wantsAccepted: options.wantsAccepted ?? false,
        wantsStored: options.wantsStored ?? false,
        expiresUnixMs: patient ? 0 : this.#ports.scheduler.now().unix + timeoutMs,
        onProgress,
        onSettled,
      },
      { lane, timeoutMs, patient },
    );
  }

  /** Sends once. Resolves when it has left this process. */
  attempt(to: SpiffeId, body: SessionBody, options: Omit<PostOptions, "lane" | "patient">): Promise<void> {
    const { timeoutMs, id = this.newId(), trace = false, wantsAccepted = false, isBulk = false } = options;
    const { onProgress = () => undefined, onFailed = () => undefined } = options;
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      if (wantsAccepted) this.#await(id, { onProgress, onFailed });
      this.#departures.attempt({
        to,
        id,
        body,
        isBulk,
        trace,
        wantsAccepted,
        wantsStored: false,
        expiresUnixMs: this.#ports.scheduler.now().unix + timeoutMs,
        onProgress: () => undefined,
        onSettled: (error) => (error ? reject(error) : resolve()),
      });
    });
  }

  /** Gives up on a message that was posted. */
  cancel(id: string, error: CausewayError): void {
    this.#awaited.delete(id);
    this.#departures.cancel(id, error);
  }

  /** Gives up on everything of one outgoing lane. */
  cancelLane(lane: string, error: CausewayError): void {
    this.#departures.cancelLane(lane, error);
  }

  /** Forgets an outgoing lane when its last message is settled. */
  closeLane(lane: string): void {
    this.#departures.closeLane(lane);
  }

  /** Forgets an incoming lane; what repeats of it is still known by its number. */
  closeIncomingLane(address: string, lane: string): void {
    this.#arrivals.closeLane(address, lane);
  }

  /** To whom there is a way from now on; what is unsettled with whom there was none leaves again. */
  setReach(reaches: (to: SpiffeId) => boolean): void {
    this.#departures.setReach(reaches);
  }

  /** Encrypts a topic message and sends it once. Answers its id. */
  async publish(
    topic: string,
    groupId: string,
    body: SessionBody,
    facts: { readonly trace: boolean; readonly overflow: agp.TopicOverflow; readonly isBulk: boolean },
  ): Promise<string> {
    const id = this.sender.newId();
    const name = toHex(id);
    const messages = [{ id: name, body, expiresUnixMs: 0 }];
    const packet = encodePacket({ id: name, messages, channel: "", channelFloor: 0, acks: [] });
    await this.sender.publish(topic, groupId, id, packet, facts);
    this.counters.sent++;
    return name;
  }

  /** Everything that is under way fails, and so does what is posted from now on. */
  end(error: CausewayError): void {
    this.#ended ??= error;
    this.#departures.cancelAll(error);
  }

  /** Lets acknowledgements leave, for at most `timeoutMs`. */
  async settle(timeoutMs: number): Promise<void> {
    const left = this.#acks
      .flush()
      .then(() => undefined)
      .then(() => this.sender.idle());
    const { scheduler } = this.#ports;
    await within(left, { scheduler, timeoutMs, expected: "acknowledgements to leave" }).catch(() => undefined);
  }

  /** Ends, and takes nothing from the link any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#acks.close();
    this.end(refuse("CAUSEWAY_CANCELLED", "the agent was closed while this was under way"));
    await this.#arrivals.close();
    await this.sender.idle();
  }

  /** Takes an envelope from the link of an attachment, or a direct one. Resolves when it is processed. */
  handleEnvelope(envelope: agp.Envelope, attached: Attached): Promise<void> {
    return this.#arrivals.handleEnvelope(this.#ports.source, envelope, attached);
  }

  /** Takes what `source`, a gateway or a peer, says of messages. */
  handleReport(report: agp.DeliveryReport, source: string): void {
    this.counters.reports++;
    const packets = [report.messageId, ...report.furtherMessageIds].map(toHex);
    if (report.fate === agp.Fate.ACCEPTED || report.fate === agp.Fate.STORED) {
      for (const packet of packets) this.#handleFate(packet, report.fate, source);
      return;
    }
    const [packet = ""] = packets;
    const error = errorOf(report.error, "CAUSEWAY_FORWARDING_NO_ROUTE");
    if (error.code === "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") {
      void this.#replaceContext(packet, source, error);
      return;
    }
    const ids = this.sender.departed(packet)?.messages ?? [packet];
    let isAwaited = false;
    for (const id of ids) {
      const awaited = this.#awaited.get(id);
      if (!awaited) continue;
      isAwaited = true;
      this.#awaited.delete(id);
      awaited.onFailed(error);
    }
    if (this.#departures.handleFate(ids, error) || isAwaited) return;
    this.#ports.log.debug("agent.report_received", { messageId: packet, code: error.code });
    this.#ports.onEvent({ type: "warning", error });
  }

  /** Only the gateways concerned can say that they have a message: the own one, and those of the target's domain. */
  #handleFate(packet: string, fate: agp.Fate, source: string): void {
    const departed = this.sender.departed(packet);
    const isAccepted = fate === agp.Fate.ACCEPTED;
    if (!departed || !isGatewayOf(source, isAccepted ? this.#ports.self : departed.to)) return;
    if (isAccepted) this.#handleAccepted(departed.messages);
    else this.#departures.handleFate(departed.messages, "stored");
  }

  #handleAccepted(ids: readonly string[]): void {
    this.#departures.handleFate(ids, "accepted");
    for (const id of ids) {
      this.#awaited.get(id)?.onProgress("accepted");
      this.#awaited.delete(id);
    }
  }

  #await(id: string, awaited: Awaited): void {
    this.#awaited.set(id, awaited);
    const oldest = this.#awaited.keys().next();
    if (this.#awaited.size > awaitedMax && !oldest.done) this.#awaited.delete(oldest.value);
  }

  /** A peer that lost its state says so, and nobody else can: gateways do not know who has which context. */
  async #replaceContext(packet: string, source: string, error: CausewayError): Promise<void> {
    const departed = this.sender.departed(packet);
    const peer = agentNamed(source);
    if (!departed || !peer || peer !== agentNamed(departed.to)) return;
    this.sender.forget(packet);
    const name = toHex(departed.context);
    if (!this.#givenUp.has(name)) {
      // A few new groups repair a peer that lost its state; more of them would only serve who forges reports.
      if (!this.#newContexts.allows(peer)) {
        this.#departures.handleFate(departed.messages, error);
        return;
      }
      this.#givenUp.add(name);
      for (const oldest of this.#givenUp) if (this.#givenUp.size > givenUpMax) this.#givenUp.delete(oldest);
      await this.#ports.endToEnd.forget(departed.context).catch((thrown: unknown) => this.#warn(thrown));
    }
    this.#departures.repeatInNewContext(departed.messages, error);
  }

  #refuse(header: agp.RoutingHeader, error: CausewayError): void {
    if (this.#isClosed) return;
    this.counters.refused++;
    const messageId = toHex(header.messageId);
    this.#ports.log.warn("agent.message_refused", { source: header.source, messageId, code: error.code });
    if (error.code !== "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") {
      const isOurs = error.family === "environment" || error.family === "internal";
      this.#ports.onEvent(isOurs ? { type: "warning", error } : { type: "security", peer: header.source, error });
      return;
    }
    // A publication that came before this member's welcome is nothing unusual.
    if (header.targetKind === agp.TargetKind.TOPIC) {
      this.#ports.onUnknownTopic(header.target);
      return;
    }
    if (!this.#hints.allows(header.source)) return;
    this.sender.report(header, error).catch((thrown: unknown) => this.#warn(thrown));
  }

  #storeKey(address: string): string {
    return `sdk/inbox/${toHex(this.#ports.sha256(new TextEncoder().encode(address)).subarray(0, 16))}`;
  }

  #warn(thrown: unknown): void {
    const error = CausewayError.from(thrown);
    this.#ports.log.warn("agent.background_failed", { code: error.code });
    this.#ports.onEvent({ type: "warning", error });
  }
}

const ignore = (): void => undefined;

/** True when `source` is a gateway of the domain of `agent`; authorities certify such names for gateways alone. */
function isGatewayOf(source: string, agent: string): boolean {
  try {
    const domain = domainOf(agentOf(parseSpiffeId(agent)));
    return source.startsWith(`spiffe://${domain}/gateway/`);
  } catch {
    return false;
  }
}

/** Best-effort messages that wait for the word of the own gateway; the oldest goes first, and times out. */
const awaitedMax = 16_384;
const newContextsMax = 6;
const newContextsMs = 600_000;
const givenUpMax = 256;
/** How often one peer is told that this agent lacks a security context. */
const hintsMax = 100;
const hintsMs = 10_000;
