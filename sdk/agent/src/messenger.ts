/**
 * Reliable, encrypted messages between this agent and others: the outbox and the inbox with the end-to-end layer below
 * and the link at the bottom. It attributes everything that comes in to a verified sender before anything looks at it
 * (AAP-99, AAP-100), and says nothing about what messages mean.
 */
import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  agentOf,
  CausewayError,
  defaults,
  type Log,
  parseSpiffeId,
  type Random,
  refuse,
  type Scheduler,
} from "@causeway/core-base";
import {
  agp,
  encodeFrame,
  encodeMessageFrame,
  HeaderFlag,
  type HeaderInit,
  newMessageId,
  session,
} from "@causeway/core-wire";
import type { AgentEvent } from "./api.ts";
import { fromHex, toHex } from "./bytes.ts";
import { WakeUp, within } from "./clock.ts";
import type { EndToEnd, Opened, SealedFrame, StateStore } from "./end-to-end.ts";
import { Serial } from "./serial.ts";
import { HintLimit } from "./session/hint-limit.ts";
import { type Arrival, Inbox, type Refusal } from "./session/inbox.ts";
import { decodeInboxState, encodeInboxState } from "./session/inbox-state.ts";
import { type SessionLimits, sessionLimits } from "./session/limits.ts";
import {
  decodeMessage,
  detailOf,
  detailOfRefusal,
  encodeMessage,
  errorOf,
  type SessionBody,
} from "./session/messages.ts";
import { Outbox, type OutEntry } from "./session/outbox.ts";

/** A message that was taken out of order's hands: the receiver settles it once. */
export interface Delivery {
  readonly from: AgentId;
  readonly messageId: string;
  readonly body: SessionBody;
  /** Acknowledges: taken, or refused. */
  settle(refusal?: Refusal): void;
  /** Tells the sender that it is here and waits. */
  acknowledge(): void;
}

/** Options of `Messenger.post`. */
export interface PostOptions {
  readonly lane: string;
  readonly timeoutMs: number;
  readonly patient?: boolean;
  readonly trace?: boolean;
  /** Hex; a new one by default. */
  readonly id?: string;
}

export interface MessengerPorts {
  readonly self: AgentId;
  readonly endToEnd: EndToEnd;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly store: StateStore;
  readonly log: Log;
  readonly sha256: (data: Uint8Array) => Uint8Array;
  /** Puts a frame on the link, waiting for room. Rejects with `CAUSEWAY_UNREACHABLE` without a link. */
  readonly transmit: (frame: Uint8Array) => Promise<void>;
  readonly onDeliver: (delivery: Delivery) => void;
  /** A message or handshake of a topic's group. */
  readonly onTopic: (topic: string, opened: Opened, message: session.SessionMessage | undefined) => void;
  /** A welcome or commit of a pair was processed. */
  readonly onHandshake: (opened: Opened) => void;
  readonly onEvent: (event: AgentEvent) => void;
  readonly limits?: Partial<SessionLimits>;
}

interface Outgoing {
  readonly body: SessionBody;
  readonly trace: boolean;
  readonly expiresUnixMs: number;
  readonly resolve: () => void;
  readonly reject: (error: CausewayError) => void;
  context: Uint8Array | undefined;
  contextsLost: number;
}

interface AckQueue {
  readonly entries: Map<string, session.AckEntry>;
  isFinal: boolean;
  isRunning: boolean;
}

export class Messenger {
  readonly #ports: MessengerPorts;
  readonly #outbox: Outbox<Outgoing>;
  readonly #inbox: Inbox<SessionBody>;
  readonly #serial = new Serial();
  readonly #wakeUp: WakeUp;
  readonly #acks = new Map<string, AckQueue>();
  /** Context under which an acknowledgement or handshake left, for reports about it. Bounded, oldest first. */
  readonly #contexts = new Map<string, Uint8Array>();
  readonly #hints: HintLimit;
  #isClosed = false;
  readonly counters = { sent: 0, received: 0, repeated: 0, refused: 0, dropped: 0, reports: 0 };

  constructor(ports: MessengerPorts) {
    this.#ports = ports;
    const limits = { ...sessionLimits, ...ports.limits };
    this.#outbox = new Outbox(limits, ports.random);
    this.#inbox = new Inbox(limits);
    this.#hints = new HintLimit(ports.scheduler);
    this.#wakeUp = new WakeUp(ports.scheduler, () => {
      this.#outbox.handleTimeout(this.#now());
      this.#pump();
    });
  }

  newId(): string {
    return toHex(this.#newId());
  }

  #newId(): Uint8Array {
    return newMessageId(this.#ports.random, this.#ports.scheduler.now().unix);
  }

  newLane(): string {
    return toHex(this.#ports.random.bytes(16));
  }

  /** Sends until the other agent has taken it. Rejects with the reason why that did not happen. */
  post(peer: AgentId, body: SessionBody, options: PostOptions): Promise<void> {
    if (this.#isClosed) return Promise.reject(closed());
    const bytes = contentBytes(body);
    if (bytes > contentBytesMax) {
      return Promise.reject(
        refuse(
          "CAUSEWAY_FORWARDING_TOO_LARGE",
          `expected at most ${contentBytesMax} bytes of content, got ${bytes}; send it in parts`,
        ),
      );
    }
    return new Promise((resolve, reject) => {
      try {
        this.#outbox.add(this.#now(), {
          peer,
          id: options.id ?? this.newId(),
          lane: options.lane,
          bytes: bytes + overheadBytes,
          timeoutMs: options.timeoutMs,
          patient: options.patient ?? false,
          body: {
            body,
            trace: options.trace ?? false,
            expiresUnixMs: options.patient ? 0 : this.#ports.scheduler.now().unix + options.timeoutMs,
            resolve,
            reject,
            context: undefined,
            contextsLost: 0,
          },
        });
      } catch (error) {
        reject(error);
      }
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

  closeLane(lane: string): void {
    this.#outbox.closeLane(lane);
  }

  setOnline(isOnline: boolean): void {
    this.#outbox.setOnline(this.#now(), isOnline);
    this.#pump();
  }

  /** Waits for what is being encrypted and sent, at most `timeoutMs`. */
  async settle(timeoutMs: number): Promise<void> {
    await within(this.#serial.idle(), {
      scheduler: this.#ports.scheduler,
      timeoutMs,
      expected: "acknowledgements to leave",
    }).catch(() => undefined);
  }

  /** Everything that is under way fails, and nothing is accepted any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#outbox.cancelAll(this.#now(), closed());
    this.#pump();
    await this.#serial.idle();
  }

  /** Takes an envelope from the link. Resolves when it is processed. */
  handleEnvelope(envelope: agp.Envelope): Promise<void> {
    const { header } = envelope;
    if (!header || this.#isClosed) return Promise.resolve();
    // A gateway may return a publication to its own publisher, who cannot open it and need not.
    if (header.targetKind === agp.TargetKind.TOPIC && header.source === this.#ports.self) return Promise.resolve();
    // Members of a topic have to see its handshakes and publications in the order of arrival.
    const key = header.targetKind === agp.TargetKind.TOPIC ? `topic ${header.target}` : `in ${header.source}`;
    return this.#serial.run(key, () => this.#open(header, envelope.payload));
  }

  /** Takes what a gateway or a peer says of a message. */
  handleReport(report: agp.DeliveryReport): void {
    this.counters.reports++;
    const id = toHex(report.messageId);
    const error = errorOf(report.error, "CAUSEWAY_FORWARDING_NO_ROUTE");
    const outgoing = this.#outbox.bodyOf(id);
    if (error.code === "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") {
      void this.#replaceContext(id, outgoing, error);
      return;
    }
    if (!outgoing) {
      this.#ports.log.debug("agent.report_received", { messageId: id, code: error.code });
      this.#ports.onEvent({ type: "warning", error });
      return;
    }
    this.#outbox.handleReport(this.#now(), id, error);
    this.#pump();
  }

  /** Sends frames of the end-to-end layer that no message waits for: key updates, welcomes, commits. */
  async sendFrames(
    target: { readonly kind: "agent" | "topic"; readonly name: string },
    frames: readonly SealedFrame[],
  ): Promise<void> {
    for (const frame of frames) {
      const id = this.#newId();
      this.#remember(toHex(id), frame.securityContextId);
      await this.#transmit(target, id, frame, { trace: false, expiresUnixMs: 0, isReliable: false });
    }
  }

  /** Encrypts a topic message and sends it once. */
  async publish(topic: string, groupId: string, body: SessionBody, trace: boolean): Promise<string> {
    const id = this.#newId();
    await this.#serial.run(`out ${topic}`, async () => {
      const frames = await this.#ports.endToEnd.sealGroup(groupId, encodeMessage(id, body));
      for (const frame of frames) {
        const isMessage = frame.kind === "application";
        const frameId = isMessage ? id : this.#newId();
        await this.#transmit({ kind: "topic", name: topic }, frameId, frame, {
          trace: trace && isMessage,
          expiresUnixMs: 0,
          isReliable: false,
        });
      }
    });
    return toHex(id);
  }

  async #replaceContext(id: string, outgoing: Outgoing | undefined, error: CausewayError): Promise<void> {
    const context = outgoing?.context ?? this.#contexts.get(id);
    this.#contexts.delete(id);
    if (context) await this.#ports.endToEnd.forget(context).catch((thrown: unknown) => this.#warn(thrown));
    if (!outgoing) return;
    outgoing.contextsLost++;
    // A few new groups at once repair a peer that lost its state; more of them would only serve who forges reports.
    if (outgoing.contextsLost <= contextsLostMax) this.#outbox.resend(this.#now(), id);
    else this.#outbox.handleReport(this.#now(), id, error);
    this.#pump();
  }

  async #open(header: agp.RoutingHeader, payload: Uint8Array): Promise<void> {
    let opened: Opened;
    let from: AgentId;
    try {
      const source = parseSpiffeId(header.source);
      from = agentOf(source);
      opened = await this.#ports.endToEnd.open(source, header.securityContextId, payload);
    } catch (thrown) {
      this.#refuse(header, CausewayError.from(thrown));
      return;
    }
    const isTopic = header.targetKind === agp.TargetKind.TOPIC;
    if (opened.kind === "handshake") {
      if (isTopic) this.#ports.onTopic(header.target, opened, undefined);
      else this.#ports.onHandshake(opened);
      return;
    }
    try {
      if (opened.sender !== from) {
        throw refuse(
          "CAUSEWAY_E2EE_SENDER_MISMATCH",
          `expected content of ${from}, as the header says, got content signed by ${opened.sender}`,
        );
      }
      const isExpected = isTopic
        ? opened.group.kind === "topic" && opened.group.name === header.target
        : opened.group.kind === "pair";
      if (!isExpected) {
        throw refuse(
          "CAUSEWAY_E2EE_SENDER_MISMATCH",
          `expected the group of ${header.target}, got a message of another group`,
        );
      }
      const message = decodeMessage(opened.plaintext);
      if (toHex(message.messageId) !== toHex(header.messageId)) {
        throw refuse(
          "CAUSEWAY_E2EE_DECRYPT_FAILED",
          "expected the message id of the header inside the message, got another one",
        );
      }
      this.counters.received++;
      if (isTopic) this.#ports.onTopic(header.target, opened, message);
      else await this.#accept(from, message);
    } catch (thrown) {
      this.#refuse(header, CausewayError.from(thrown));
    }
  }

  #refuse(header: agp.RoutingHeader, error: CausewayError): void {
    this.counters.refused++;
    const isTopic = header.targetKind === agp.TargetKind.TOPIC;
    this.#ports.log.warn("agent.message_refused", {
      source: header.source,
      messageId: toHex(header.messageId),
      code: error.code,
    });
    // A publication that came before this member's welcome is nothing unusual.
    if (isTopic && error.code === "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") return;
    if (error.code !== "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") {
      const isOurs = error.family === "environment" || error.family === "internal";
      this.#ports.onEvent(isOurs ? { type: "warning", error } : { type: "security", peer: header.source, error });
      return;
    }
    if (!this.#hints.allows(header.source)) return;
    const control = encodeFrame({
      case: "control",
      value: {
        header: {
          version: 1,
          hopTtl: defaults.hopTtl,
          ...this.#header({ kind: "agent", name: header.source }, this.#newId()),
        },
        requestId: header.messageId,
        body: {
          case: "deliveryReport",
          value: {
            messageId: header.messageId,
            error: detailOf(error),
            reporter: this.#ports.self,
            target: header.target,
          },
        },
      },
    });
    this.#ports.transmit(control).catch((thrown: unknown) => this.#warn(thrown));
  }

  async #accept(from: AgentId, message: session.SessionMessage): Promise<void> {
    const { body, position } = message;
    if (body.case === undefined) {
      throw refuse(
        "CAUSEWAY_FRAME_UNKNOWN",
        "expected a known kind of session message; the other agent's SDK is newer",
      );
    }
    if (body.case === "ack") {
      for (const entry of body.value.entries) this.#handleAck(from, entry);
      this.#pump();
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
      bytes: contentBytes(body) + overheadBytes,
      item: body,
    });
    if (dropped) {
      this.counters.dropped++;
      this.#ports.log.debug("agent.message_dropped", {
        source: from,
        messageId: toHex(message.messageId),
        reason: dropped,
      });
    }
    this.#pumpInbox();
  }

  #handleAck(from: AgentId, entry: session.AckEntry): void {
    const id = toHex(entry.messageId);
    const now = this.#now();
    if (entry.level === session.AckLevel.RECEIVED) this.#outbox.handleReceived(now, from, id);
    if (entry.level === session.AckLevel.TAKEN) this.#outbox.handleSettled(now, from, id);
    if (entry.level === session.AckLevel.REFUSED) {
      this.#outbox.handleSettled(now, from, id, errorOf(entry.error, "CAUSEWAY_AGENT_HANDLER_FAILED"));
    }
  }

  #pumpInbox(): void {
    for (let effects = this.#inbox.drain(); effects.length > 0; effects = this.#inbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "deliver") this.#deliver(effect.arrival);
        else if (effect.type === "received") this.#queueAck(effect.sender, effect.id, session.AckLevel.RECEIVED);
        else if (effect.refusal) this.#queueAck(effect.sender, effect.id, session.AckLevel.REFUSED, effect.refusal);
        else this.#queueAck(effect.sender, effect.id, session.AckLevel.TAKEN);
      }
    }
  }

  #deliver(arrival: Arrival<SessionBody>): void {
    const from = agentOf(parseSpiffeId(arrival.sender));
    this.#ports.onDeliver({
      from,
      messageId: arrival.id,
      body: arrival.item,
      settle: (refusal) => {
        this.#inbox.settle(arrival.sender, arrival.id, refusal);
        this.#pumpInbox();
      },
      acknowledge: () => {
        this.#inbox.acknowledge(arrival.sender, arrival.id);
        this.#pumpInbox();
      },
    });
  }

  #queueAck(sender: string, id: string, level: session.AckLevel, refusal?: Refusal): void {
    if (this.#isClosed) return;
    const queue = this.#acks.get(sender) ?? { entries: new Map(), isFinal: false, isRunning: false };
    this.#acks.set(sender, queue);
    queue.entries.set(
      id,
      create(session.AckEntrySchema, {
        messageId: fromHex(id),
        level,
        ...(refusal && { error: detailOfRefusal(refusal) }),
      }),
    );
    queue.isFinal ||= level !== session.AckLevel.RECEIVED;
    if (queue.isRunning) return;
    queue.isRunning = true;
    void this.#flushAcks(agentOf(parseSpiffeId(sender)), queue);
  }

  /** Acknowledgements that come while others are being stored or sent leave together. */
  async #flushAcks(sender: AgentId, queue: AckQueue): Promise<void> {
    while (queue.entries.size > 0 && !this.#isClosed) {
      const entries = [...queue.entries.values()].slice(0, ackEntriesMax);
      for (const entry of entries) queue.entries.delete(toHex(entry.messageId));
      try {
        if (queue.isFinal) {
          // Stored before it is acknowledged: a message that the sender believes taken is not taken again.
          queue.isFinal = queue.entries.size > 0;
          await this.#ports.store.put(this.#storeKey(sender), encodeInboxState(this.#inbox.state(sender)));
        }
        const id = this.#newId();
        const plaintext = encodeMessage(id, { case: "ack", value: create(session.AckSchema, { entries }) });
        await this.#serial.run(`out ${sender}`, () => this.#sealAndSend(sender, id, plaintext, undefined));
      } catch (thrown) {
        // The sender repeats its message, and then gets the acknowledgement again.
        this.#ports.log.debug("agent.ack_failed", { peer: sender, code: CausewayError.from(thrown).code });
      }
    }
    queue.isRunning = false;
    if (queue.entries.size === 0) this.#acks.delete(sender);
  }

  async #restore(sender: AgentId): Promise<void> {
    if (this.#inbox.knows(sender)) return;
    const stored = await this.#ports.store.get(this.#storeKey(sender));
    const state = stored && decodeInboxState(stored);
    if (state && !this.#inbox.knows(sender)) this.#inbox.restore(sender, state);
  }

  #storeKey(sender: AgentId): string {
    return `sdk/inbox/${toHex(this.#ports.sha256(new TextEncoder().encode(sender)).subarray(0, 16))}`;
  }

  /** Performs what the outbox wants, until it wants nothing more. */
  #pump(): void {
    for (let effects = this.#outbox.drain(); effects.length > 0; effects = this.#outbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "transmit") void this.#transmitEntry(effect.entry, effect.floor);
        else if (effect.error) effect.entry.body.reject(effect.error);
        else effect.entry.body.resolve();
      }
    }
    this.#wakeUp.set(this.#outbox.deadline());
  }

  async #transmitEntry(entry: OutEntry<Outgoing>, floor: number): Promise<void> {
    const peer = agentOf(parseSpiffeId(entry.peer));
    let failure: CausewayError | undefined;
    try {
      await this.#serial.run(`out ${peer}`, async () => {
        if (!this.#outbox.bodyOf(entry.id)) return;
        const id = fromHex(entry.id);
        const plaintext = encodeMessage(id, entry.body.body, {
          lane: fromHex(entry.lane),
          sequence: entry.sequence,
          floor,
        });
        await this.#sealAndSend(peer, id, plaintext, entry.body);
        if (entry.attempts > 1) this.counters.repeated++;
      });
    } catch (thrown) {
      failure = CausewayError.from(thrown);
    }
    this.#outbox.handleTransmitted(this.#now(), entry.id, failure);
    this.#pump();
  }

  async #sealAndSend(
    peer: AgentId,
    id: Uint8Array,
    plaintext: Uint8Array,
    outgoing: Outgoing | undefined,
  ): Promise<void> {
    const frames = await this.#ports.endToEnd.seal(peer, plaintext);
    for (const frame of frames) {
      const isMessage = frame.kind === "application";
      const frameId = isMessage ? id : this.#newId();
      if (outgoing && isMessage) outgoing.context = frame.securityContextId;
      else this.#remember(toHex(frameId), frame.securityContextId);
      await this.#transmit({ kind: "agent", name: peer }, frameId, frame, {
        trace: isMessage && (outgoing?.trace ?? false),
        expiresUnixMs: outgoing?.expiresUnixMs ?? 0,
        isReliable: outgoing !== undefined,
      });
    }
    this.counters.sent++;
  }

  #transmit(
    target: { readonly kind: "agent" | "topic"; readonly name: string },
    messageId: Uint8Array,
    frame: SealedFrame,
    options: { readonly trace: boolean; readonly expiresUnixMs: number; readonly isReliable: boolean },
  ): Promise<void> {
    const header: HeaderInit = {
      ...this.#header(target, messageId),
      securityContextId: frame.securityContextId,
      expiresUnixMs: BigInt(Math.ceil(options.expiresUnixMs)),
      deliveryMode: options.isReliable ? agp.DeliveryMode.RELIABLE : agp.DeliveryMode.BEST_EFFORT,
      flags: options.trace ? HeaderFlag.trace : 0,
    };
    return this.#ports.transmit(encodeMessageFrame(header, frame.payload));
  }

  #header(target: { readonly kind: "agent" | "topic"; readonly name: string }, messageId: Uint8Array): HeaderInit {
    return {
      targetKind: target.kind === "topic" ? agp.TargetKind.TOPIC : agp.TargetKind.AGENT,
      target: target.name,
      source: this.#ports.self,
      messageId,
      trafficClass: agp.TrafficClass.INTERACTIVE,
    };
  }

  #remember(id: string, context: Uint8Array): void {
    this.#contexts.set(id, context);
    if (this.#contexts.size <= contextsRememberedMax) return;
    const oldest = this.#contexts.keys().next();
    if (!oldest.done) this.#contexts.delete(oldest.value);
  }

  #warn(thrown: unknown): void {
    const error = CausewayError.from(thrown);
    this.#ports.log.warn("agent.background_failed", { code: error.code });
    this.#ports.onEvent({ type: "warning", error });
  }

  #now(): ReturnType<Scheduler["now"]>["instant"] {
    return this.#ports.scheduler.now().instant;
  }
}

function closed(): CausewayError {
  return refuse("CAUSEWAY_CANCELLED", "the agent was closed while this was under way");
}

function contentBytes(body: SessionBody): number {
  switch (body.case) {
    case "message":
      return body.value.content.length;
    case "request":
    case "responseChunk":
    case "responseEnd":
    case "topicData":
      return body.value.data?.content.length ?? 0;
    default:
      return 0;
  }
}

/** Content of one message: what fits the 4 MiB of an envelope with MLS framing and padding. */
const contentBytesMax = defaults.messageBytesMax - 65_536;
const overheadBytes = 256;
const ackEntriesMax = 256;
const contextsLostMax = 3;
const contextsRememberedMax = 1_024;
