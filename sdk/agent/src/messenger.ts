/**
 * Reliable, encrypted messages between this agent and others: the outbox and the inbox with the end-to-end layer below.
 * It attributes everything that comes in to a verified sender before anything looks at it (AAP-99, AAP-100), and says
 * nothing about what messages mean.
 */
import {
  type AgentId,
  agentOf,
  CausewayError,
  defaults,
  type Instant,
  type Log,
  later,
  parseSpiffeId,
  refuse,
} from "@causeway/core-base";
import { agp, session } from "@causeway/core-wire";
import type { AgentEvent } from "./api.ts";
import { fromHex, toHex } from "./bytes.ts";
import { WakeUp, within } from "./clock.ts";
import type { Opened, StateStore } from "./end-to-end.ts";
import { SealedSender, type SealedSenderPorts } from "./sealed-sender.ts";
import { Serial } from "./serial.ts";
import { Acknowledgements } from "./session/acknowledgements.ts";
import { type Arrival, Inbox, type Refusal } from "./session/inbox.ts";
import { decodeInboxState, encodeInboxState } from "./session/inbox-state.ts";
import type { SessionLimits } from "./session/limits.ts";
import { bytesOf, decodeMessage, encodeMessage, errorOf, type SessionBody } from "./session/messages.ts";
import { Outbox, type OutEntry } from "./session/outbox.ts";
import { Rate } from "./session/rate.ts";

/** A message in its order: the receiver settles it once. */
export interface Delivery {
  readonly from: AgentId;
  readonly messageId: string;
  readonly body: SessionBody;
  /** Acknowledges: taken, or refused. */
  settle(refusal?: Refusal): void;
}

/** Options of `Messenger.post`. */
export interface PostOptions {
  readonly lane: string;
  readonly timeoutMs: number;
  /** Each sign that the receiver has it starts `timeoutMs` again. */
  readonly patient?: boolean;
  readonly trace?: boolean;
  /** Hex; a new one by default. */
  readonly id?: string;
}

export interface MessengerPorts extends SealedSenderPorts {
  readonly store: StateStore;
  readonly log: Log;
  readonly limits: SessionLimits;
  readonly sha256: (data: Uint8Array) => Uint8Array;
  readonly onDeliver: (delivery: Delivery) => void;
  /** A message or handshake of a topic's group. */
  readonly onTopic: (topic: string, opened: Opened, message: session.SessionMessage | undefined) => void;
  /** A welcome or commit of a pair was processed. */
  readonly onHandshake: (opened: Opened) => void;
  readonly onEvent: (event: AgentEvent) => void;
}

interface Outgoing {
  readonly body: SessionBody;
  readonly trace: boolean;
  readonly expiresUnixMs: number;
  readonly resolve: () => void;
  readonly reject: (error: CausewayError) => void;
  contextsLost: number;
}

export class Messenger {
  readonly sender: SealedSender;
  readonly counters = { sent: 0, received: 0, repeated: 0, refused: 0, dropped: 0, reports: 0 };
  readonly #ports: MessengerPorts;
  readonly #outbox: Outbox<Outgoing>;
  readonly #inbox: Inbox<SessionBody>;
  readonly #acks: Acknowledgements;
  readonly #arrivals = new Serial();
  readonly #retries: WakeUp;
  readonly #hints: Rate;
  readonly #newContexts: Rate;
  /** Contexts that were given up lately; several messages may have left under one. */
  readonly #givenUp = new Set<string>();
  /** Delivered and perhaps not settled yet, oldest first. */
  readonly #unsettled: { readonly sender: string; readonly id: string; readonly at: Instant }[] = [];
  readonly #signs: WakeUp;
  #isClosed = false;
  #ended: CausewayError | undefined;

  constructor(ports: MessengerPorts) {
    const { scheduler, limits, random, log } = ports;
    this.#ports = ports;
    this.sender = new SealedSender(ports);
    this.#outbox = new Outbox(limits, random);
    this.#inbox = new Inbox(limits);
    this.#hints = new Rate(scheduler, hintsMax, hintsMs);
    this.#newContexts = new Rate(scheduler, newContextsMax, newContextsMs);
    this.#acks = new Acknowledgements({
      scheduler,
      log,
      store: (sender) => ports.store.put(this.#storeKey(sender), encodeInboxState(this.#inbox.state(sender))),
      send: (sender, entries) => this.#sendAcks(sender, entries),
    });
    this.#retries = new WakeUp(scheduler, () => {
      this.#outbox.handleTimeout(this.#now());
      this.#pump();
    });
    this.#signs = new WakeUp(scheduler, () => this.#giveSigns());
  }

  newId(): string {
    return toHex(this.sender.newId());
  }

  newLane(): string {
    return toHex(this.#ports.random.bytes(16));
  }

  /** Sends until the other agent has taken it. Rejects with the reason why that did not happen. */
  post(peer: AgentId, body: SessionBody, options: PostOptions): Promise<void> {
    const { timeoutMs, patient = false, trace = false } = options;
    const bytes = bytesOf(body);
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      if (bytes > contentBytesMax) {
        const problem = `expected at most ${contentBytesMax} bytes of content and what goes with it, got ${bytes}; send it in parts`;
        throw refuse("CAUSEWAY_FORWARDING_TOO_LARGE", problem);
      }
      this.#outbox.add(this.#now(), {
        peer,
        id: options.id ?? this.newId(),
        lane: options.lane,
        bytes: bytes + overheadBytes,
        timeoutMs,
        patient,
        body: {
          body,
          trace,
          expiresUnixMs: patient ? 0 : this.#ports.scheduler.now().unix + timeoutMs,
          resolve,
          reject,
          contextsLost: 0,
        },
      });
      this.#pump();
    });
  }

  /** Gives up on a message that was posted. */
  cancel(id: string, error: CausewayError): void {
    this.#outbox.cancel(this.#now(), id, error);
    this.#pump();
  }

  /** Gives up on everything of one outgoing lane. */
  cancelLane(lane: string, error: CausewayError): void {
    this.#outbox.cancelAll(this.#now(), error, (entry) => entry.lane === lane);
    this.#pump();
  }

  /** Forgets an outgoing lane when its last message is settled. */
  closeLane(lane: string): void {
    this.#outbox.closeLane(lane);
  }

  setOnline(isOnline: boolean): void {
    this.#outbox.setOnline(this.#now(), isOnline);
    this.#pump();
  }

  /** Encrypts a topic message and sends it once. Answers its id. */
  async publish(topic: string, groupId: string, body: SessionBody, trace: boolean): Promise<string> {
    const id = this.sender.newId();
    await this.sender.publish(topic, groupId, id, encodeMessage(id, body), trace);
    return toHex(id);
  }

  /** Everything that is under way fails, and so does what is posted from now on. */
  end(error: CausewayError): void {
    this.#ended ??= error;
    this.#outbox.cancelAll(this.#now(), error);
    this.#pump();
  }

  /** Lets acknowledgements leave, for at most `timeoutMs`. */
  async settle(timeoutMs: number): Promise<void> {
    const left = this.#acks.flush().then(() => this.sender.idle());
    const { scheduler } = this.#ports;
    await within(left, { scheduler, timeoutMs, expected: "acknowledgements to leave" }).catch(() => undefined);
  }

  /** Ends, and takes nothing from the link any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#acks.close();
    this.#signs.set(undefined);
    this.end(closed());
    await this.#arrivals.idle();
    await this.sender.idle();
  }

  /** Takes an envelope from the link. Resolves when it is processed. */
  handleEnvelope(envelope: agp.Envelope): Promise<void> {
    const { header } = envelope;
    if (!header || this.#isClosed) return Promise.resolve();
    const isTopic = header.targetKind === agp.TargetKind.TOPIC;
    // A gateway may return a publication to its own publisher, who cannot open it and need not.
    if (isTopic && header.source === this.#ports.self) return Promise.resolve();
    const opened = this.#openPayload(header, envelope.payload);
    opened.catch(() => undefined);
    // Decryption runs ahead; what it yields is taken in the order of arrival, for each source and for each topic.
    return this.#arrivals.run(isTopic ? header.target : header.source, () => this.#take(header, opened));
  }

  /** Takes what `source`, a gateway or a peer, says of a message. */
  handleReport(report: agp.DeliveryReport, source: string): void {
    this.counters.reports++;
    const id = toHex(report.messageId);
    const error = errorOf(report.error, "CAUSEWAY_FORWARDING_NO_ROUTE");
    if (error.code === "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") {
      void this.#replaceContext(id, source, error);
    } else if (this.#outbox.bodyOf(id)) {
      this.#outbox.handleReport(this.#now(), id, error);
      this.#pump();
    } else {
      this.#ports.log.debug("agent.report_received", { messageId: id, code: error.code });
      this.#ports.onEvent({ type: "warning", error });
    }
  }

  /** A peer that lost its state says so, and nobody else can: gateways do not know who has which context. */
  async #replaceContext(id: string, source: string, error: CausewayError): Promise<void> {
    const peer = agentNamed(source);
    const context = peer && this.sender.takeContext(id, peer);
    if (!context) return;
    const name = toHex(context);
    if (!this.#givenUp.has(name)) {
      // A few new groups repair a peer that lost its state; more of them would only serve who forges reports.
      if (!this.#newContexts.allows(peer)) {
        this.#outbox.handleReport(this.#now(), id, error);
        this.#pump();
        return;
      }
      this.#givenUp.add(name);
      for (const oldest of this.#givenUp) if (this.#givenUp.size > givenUpMax) this.#givenUp.delete(oldest);
      await this.#ports.endToEnd.forget(context).catch((thrown: unknown) => this.#warn(thrown));
    }
    const outgoing = this.#outbox.bodyOf(id);
    if (!outgoing) return;
    outgoing.contextsLost++;
    if (outgoing.contextsLost <= contextsLostMax) this.#outbox.resend(this.#now(), id);
    else this.#outbox.handleReport(this.#now(), id, error);
    this.#pump();
  }

  async #openPayload(header: agp.RoutingHeader, payload: Uint8Array): Promise<Opened> {
    return this.#ports.endToEnd.open(parseSpiffeId(header.source), header.securityContextId, payload);
  }

  async #take(header: agp.RoutingHeader, opening: Promise<Opened>): Promise<void> {
    const isTopic = header.targetKind === agp.TargetKind.TOPIC;
    try {
      const opened = await opening;
      if (opened.kind === "handshake") {
        if (isTopic) this.#ports.onTopic(header.target, opened, undefined);
        else this.#ports.onHandshake(opened);
        return;
      }
      const message = checked(header, agentOf(parseSpiffeId(header.source)), opened);
      this.counters.received++;
      if (isTopic) this.#ports.onTopic(header.target, opened, message);
      else await this.#accept(opened.sender, message, opened.plaintext.length);
    } catch (thrown) {
      this.#refuse(header, CausewayError.from(thrown));
    }
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
    if (header.targetKind === agp.TargetKind.TOPIC || !this.#hints.allows(header.source)) return;
    this.sender.report(header, error).catch((thrown: unknown) => this.#warn(thrown));
  }

  async #accept(from: AgentId, message: session.SessionMessage, bytes: number): Promise<void> {
    const { body, position, acks } = message;
    this.#handleAcks(from, acks);
    if (body.case === undefined) {
      throw refuse("CAUSEWAY_FRAME_UNKNOWN", "expected a known kind of message; the other agent's SDK is newer");
    }
    if (body.case === "ack") {
      this.#handleAcks(from, body.value.entries);
      return;
    }
    if (position?.lane.length !== 16) {
      throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a ${body.case} with its position in a lane, got none`);
    }
    await this.#restore(from);
    const dropped = this.#inbox.handleArrival({
      sender: from,
      id: toHex(message.messageId),
      lane: toHex(position.lane),
      sequence: Number(position.sequence),
      floor: Number(position.floor),
      bytes: bytes + overheadBytes,
      item: body,
    });
    if (dropped) {
      this.counters.dropped++;
      this.#ports.log.debug("agent.message_dropped", { source: from, reason: dropped });
    }
    this.#pumpInbox();
  }

  #handleAcks(from: AgentId, entries: readonly session.AckEntry[]): void {
    const now = this.#now();
    for (const { messageId, level, error } of entries) {
      const id = toHex(messageId);
      if (level === session.AckLevel.RECEIVED) this.#outbox.handleReceived(now, from, id);
      if (level === session.AckLevel.TAKEN) this.#outbox.handleSettled(now, from, id);
      if (level === session.AckLevel.REFUSED) {
        this.#outbox.handleSettled(now, from, id, errorOf(error, "CAUSEWAY_AGENT_HANDLER_FAILED"));
      }
    }
    if (entries.length > 0) this.#pump();
  }

  #pumpInbox(): void {
    const { RECEIVED, REFUSED, TAKEN } = session.AckLevel;
    for (let effects = this.#inbox.drain(); effects.length > 0; effects = this.#inbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "deliver") this.#deliver(effect.arrival);
        else if (effect.type === "received") this.#acks.add(effect.sender, effect.id, RECEIVED);
        else this.#acks.add(effect.sender, effect.id, effect.refusal ? REFUSED : TAKEN, effect.refusal);
      }
    }
  }

  #deliver({ sender, id, item }: Arrival<SessionBody>): void {
    const at = later(this.#now(), signMs);
    this.#unsettled.push({ sender, id, at });
    if (this.#unsettled.length === 1) this.#signs.set(at);
    this.#ports.onDeliver({
      from: agentOf(parseSpiffeId(sender)),
      messageId: id,
      body: item,
      settle: (refusal) => {
        this.#inbox.settle(sender, id, refusal);
        this.#pumpInbox();
      },
    });
  }

  /** Tells the senders of what is not settled after a while that it is here, so that they neither repeat it nor wait. */
  #giveSigns(): void {
    const now = this.#now();
    for (let first = this.#unsettled[0]; first && first.at <= now; first = this.#unsettled[0]) {
      this.#unsettled.shift();
      this.#inbox.acknowledge(first.sender, first.id);
    }
    this.#signs.set(this.#unsettled[0]?.at);
    this.#pumpInbox();
  }

  async #sendAcks(sender: string, entries: readonly session.AckEntry[]): Promise<void> {
    const id = this.sender.newId();
    const body: SessionBody = { case: "ack", value: { $typeName: "causeway.session.v1.Ack", entries: [...entries] } };
    const facts = { trace: false, expiresUnixMs: 0, isReliable: false };
    await this.sender.send(agentOf(parseSpiffeId(sender)), id, encodeMessage(id, body), facts);
    this.counters.sent++;
  }

  async #restore(sender: AgentId): Promise<void> {
    if (this.#inbox.knows(sender)) return;
    const stored = await this.#ports.store.get(this.#storeKey(sender));
    const state = stored && decodeInboxState(stored);
    if (state && !this.#inbox.knows(sender)) this.#inbox.restore(sender, state);
  }

  #storeKey(sender: string): string {
    return `sdk/inbox/${toHex(this.#ports.sha256(new TextEncoder().encode(sender)).subarray(0, 16))}`;
  }

  /** Performs what the outbox wants, until it wants nothing more. */
  #pump(): void {
    for (let effects = this.#outbox.drain(); effects.length > 0; effects = this.#outbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "transmit") void this.#transmit(effect.entry, effect.floor);
        else if (effect.error) effect.entry.body.reject(effect.error);
        else effect.entry.body.resolve();
      }
    }
    this.#retries.set(this.#outbox.deadline());
  }

  async #transmit(entry: OutEntry<Outgoing>, floor: number): Promise<void> {
    const { body, trace, expiresUnixMs } = entry.body;
    this.counters.sent++;
    if (entry.attempts > 1) this.counters.repeated++;
    let failure: CausewayError | undefined;
    try {
      const id = fromHex(entry.id);
      const position = { lane: fromHex(entry.lane), sequence: entry.sequence, floor };
      const plaintext = encodeMessage(id, body, { position, acks: this.#acks.take(entry.peer) });
      const peer = agentOf(parseSpiffeId(entry.peer));
      await this.sender.send(peer, id, plaintext, { trace, expiresUnixMs, isReliable: true });
    } catch (thrown) {
      failure = CausewayError.from(thrown);
    }
    this.#outbox.handleTransmitted(this.#now(), entry.id, failure);
    this.#pump();
  }

  #warn(thrown: unknown): void {
    const error = CausewayError.from(thrown);
    this.#ports.log.warn("agent.background_failed", { code: error.code });
    this.#ports.onEvent({ type: "warning", error });
  }

  #now(): Instant {
    return this.#ports.scheduler.now().instant;
  }
}

/** The message, when header and content agree on who says it, where, and under which id. */
function checked(
  header: agp.RoutingHeader,
  from: AgentId,
  opened: Extract<Opened, { kind: "application" }>,
): session.SessionMessage {
  const { sender, group, plaintext } = opened;
  if (sender !== from) {
    throw refuse(
      "CAUSEWAY_E2EE_SENDER_MISMATCH",
      `expected content of ${from}, as the header says, got that of ${sender}`,
    );
  }
  const isTopic = header.targetKind === agp.TargetKind.TOPIC;
  if (isTopic ? group.kind !== "topic" || group.name !== header.target : group.kind !== "pair") {
    throw refuse(
      "CAUSEWAY_E2EE_SENDER_MISMATCH",
      `expected the group of ${header.target}, got that of ${group.name || sender}`,
    );
  }
  const message = decodeMessage(plaintext);
  if (toHex(message.messageId) !== toHex(header.messageId)) {
    throw refuse(
      "CAUSEWAY_E2EE_DECRYPT_FAILED",
      "expected the message id of the header inside the message, got another",
    );
  }
  return message;
}

function closed(): CausewayError {
  return refuse("CAUSEWAY_CANCELLED", "the agent was closed while this was under way");
}

/** The agent of a header's source; undefined when that is no name. */
function agentNamed(source: string): AgentId | undefined {
  try {
    return agentOf(parseSpiffeId(source));
  } catch {
    return undefined;
  }
}

/**
 * Content of one message. Padding goes in steps of an eighth of a doubling, so the largest padded size below the 4 MiB of
 * an envelope is 15/16 of it; of that, acknowledgements and the fields around the content take up to 64 KiB.
 */
const contentBytesMax = (defaults.messageBytesMax / 16) * 15 - 65_536;
const overheadBytes = 256;
/** New groups because of one message, and because of one peer in a while. */
const contextsLostMax = 3;
const newContextsMax = 6;
const newContextsMs = 600_000;
const givenUpMax = 256;
/** How often one peer is told that this agent lacks a security context. */
const hintsMax = 100;
const hintsMs = 10_000;
/** After this time without an outcome the receiver says that a message is here. */
const signMs = 300;
