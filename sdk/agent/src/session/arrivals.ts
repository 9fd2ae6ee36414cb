/**
 * The way in: envelopes are decrypted, attributed to their sender (AAP-99, AAP-100), and what they hold is handed over
 * once and in order. A gateway that may have stored an envelope hears when all of it is settled.
 */
import {
  type AgentId,
  agentOf,
  CausewayError,
  type Instant,
  later,
  parseSpiffeId,
  refuse,
  type Scheduler,
  type SpiffeId,
  type UnixMs,
} from "@causeway/core-base";
import {
  type Arrival,
  type ChannelState,
  Inbox,
  type InboxState,
  type Refusal,
  type SessionLimits,
} from "@causeway/core-session";
import { agp } from "@causeway/core-wire";
import { toHex } from "../bytes.ts";
import { WakeUp } from "../clock.ts";
import type { Opened } from "../end-to-end.ts";
import { Serial } from "../serial.ts";
import { bytesOf, type SessionBody } from "./messages.ts";
import { decodePacket, type OpenedPacket, type PackedMessage } from "./packets.ts";

/** A message in its order: the receiver settles it once. */
export interface Delivery {
  readonly from: AgentId;
  /** The sender with its instance, if it names one: where answers go. */
  readonly address: SpiffeId;
  readonly messageId: string;
  /** The channel that it came in, which is of one run of the sender; empty for what has no order. */
  readonly channel: string;
  /** The lane that it came in; empty for what has no order. */
  readonly lane: string;
  /** It came as bulk; so do answers to it. */
  readonly isBulk: boolean;
  readonly body: SessionBody;
  /** True once its sender wants it taken no more. */
  isExpired(): boolean;
  /** Acknowledges: taken, or refused. Not `isDurable`: need not be remembered over a restart. */
  settle(refusal?: Refusal, isDurable?: boolean): void;
}

export interface ArrivalPorts {
  readonly limits: SessionLimits;
  readonly scheduler: Scheduler;
  readonly open: (source: SpiffeId, context: Uint8Array, payload: Uint8Array) => Promise<Opened>;
  /** `address` is the sender with its instance. */
  readonly onPacket: (from: AgentId, packet: OpenedPacket, address: string) => void;
  readonly onDeliver: (delivery: Delivery) => void;
  readonly onTopic: (topic: string, opened: Opened, body: SessionBody | undefined) => void;
  readonly onHandshake: (opened: Opened) => void;
  /** There is news of a channel for its sender. */
  readonly onNews: (address: string, channel: string, isDurable: boolean) => void;
  /** Everything of an envelope is settled for good, or can never be. */
  readonly onSettled: (header: agp.RoutingHeader, error?: CausewayError) => void;
  readonly onDrop: (source: string, reason: string) => void;
  readonly onRefused: (header: agp.RoutingHeader, error: CausewayError) => void;
  /** What was remembered of a sender by an earlier run. */
  readonly restore: (address: string) => Promise<InboxState | undefined>;
}

/** The attachment over which an envelope came, by its number; undefined for a direct link. */
export type Attached = number | undefined;

/** An envelope whose messages are not all settled. */
interface Opening {
  readonly header: agp.RoutingHeader;
  /** No gateway has stored it. */
  readonly isDirect: boolean;
  readonly channel: string;
  left: number;
}

/** What comes once over each attachment: each gateway where this agent subscribed, or that stored it, sends one copy. */
interface Known {
  readonly over: number[];
  /** One copy was opened: others are repetitions. */
  isOpened: boolean;
  /** Until then: copies of other gateways, in case the first one was altered. At most one for each attachment. */
  readonly spares: agp.Envelope[];
}

/** An envelope to this agent. */
interface KnownEnvelope extends Known {
  isSettled: boolean;
  /** Copies whose gateways are told when the one that was opened is settled. At most one for each attachment. */
  readonly copies: agp.RoutingHeader[];
}

interface Item {
  readonly address: SpiffeId;
  readonly from: AgentId;
  readonly message: PackedMessage;
  readonly opening: Opening;
}

export class Arrivals {
  readonly #ports: ArrivalPorts;
  readonly #inbox: Inbox<Item>;
  readonly #order = new Serial();
  /** Channels whose senders are told that messages are here, when those are not settled in a while; oldest first. */
  readonly #signs = new Map<string, { readonly sender: string; readonly channel: string; readonly at: Instant }>();
  readonly #signer: WakeUp;
  /** Envelopes with a message that is here already and not settled, by that message. Bounded, oldest first. */
  readonly #repeats = new Map<string, Opening[]>();
  /** Bounded, oldest first. */
  readonly #envelopes = new Map<string, KnownEnvelope>();
  /** Bounded, oldest first. */
  readonly #publications = new Map<string, Known>();
  readonly #gapWatch: WakeUp;
  #isWatching = false;
  #isClosed = false;

  constructor(ports: ArrivalPorts) {
    this.#ports = ports;
    this.#inbox = new Inbox(ports.limits);
    this.#signer = new WakeUp(ports.scheduler, () => this.#giveSigns());
    this.#gapWatch = new WakeUp(ports.scheduler, () => {
      this.#isWatching = false;
      this.#inbox.skipGaps();
      this.#pump();
      this.#watchGaps();
    });
  }

  /** Takes an envelope from the link of an attachment, or from a direct one. Resolves when it is processed. */
  handleEnvelope(self: SpiffeId, envelope: agp.Envelope, attached: Attached): Promise<void> {
    const { header } = envelope;
    if (!header || this.#isClosed) return Promise.resolve();
    const isTopic = header.targetKind === agp.TargetKind.TOPIC;
    // A gateway may return a publication to its own publisher, who cannot open it and need not.
    if (isTopic && header.source === self) return Promise.resolve();
    const isDirect = attached === undefined;
    if (isTopic && !isDirect && this.#isKnownPublication(header, envelope, attached)) return Promise.resolve();
    const known = isTopic || isDirect ? undefined : this.#envelopes.get(envelopeKey(header));
    // Once for each attachment a gateway hands over what it stored and did not hear to be settled, and of several gateways
    // two may have it; its ciphertext opens only once. Anything else that comes again is a replay, and fails as such
    // (AAP-96).
    if (known !== undefined && !isDirect && isNew(attached, known.over)) {
      if (known.isSettled) this.#ports.onSettled(header);
      else if (known.isOpened) known.copies.push(header);
      else known.spares.push(envelope);
      return Promise.resolve();
    }
    const isReplay = known !== undefined;
    if (!isTopic && !isReplay && !isDirect) this.#noteEnvelope(header, attached);
    const opened = this.#open(header, envelope.payload);
    opened.catch(() => undefined);
    // Decryption runs ahead; what it yields is taken in the order of arrival, for each source and for each topic.
    const name = isTopic ? header.target : header.source;
    return this.#order.run(isBulk(header) ? `${name} bulk` : name, () =>
      this.#take(header, opened, isReplay, attached),
    );
  }

  state(address: string): InboxState {
    return this.#inbox.state(address);
  }

  report(address: string, channel: string): ChannelState | undefined {
    return this.#inbox.report(address, channel);
  }

  /** Nothing more comes in a lane. */
  closeLane(address: string, lane: string): void {
    this.#inbox.closeLane(address, lane);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#signer.set(undefined);
    this.#gapWatch.set(undefined);
    await this.#order.idle();
  }

  async #open(header: agp.RoutingHeader, payload: Uint8Array): Promise<Opened> {
    return this.#ports.open(parseSpiffeId(header.source), header.securityContextId, payload);
  }

  async #take(
    header: agp.RoutingHeader,
    opening: Promise<Opened>,
    isReplay: boolean,
    attached: Attached,
  ): Promise<void> {
    const isTopic = header.targetKind === agp.TargetKind.TOPIC;
    const isDirect = attached === undefined;
    try {
      const opened = await opening;
      if (opened.kind === "handshake") {
        if (isTopic && !isDirect) this.#noteOpened(header, attached);
        if (isTopic) this.#ports.onTopic(header.target, opened, undefined);
        else this.#ports.onHandshake(opened);
        if (!isDirect) this.#envelopeSettled(header);
        return;
      }
      const address = parseSpiffeId(header.source);
      const packet = checked(header, agentOf(address), opened);
      if (isTopic) {
        if (!isDirect) this.#noteOpened(header, attached);
        for (const { body } of packet.messages) this.#ports.onTopic(header.target, opened, body);
        return;
      }
      if (!isDirect) this.#noteReceived(header);
      this.#ports.onPacket(opened.sender, packet, address);
      await this.#accept(address, packet, header, isDirect);
    } catch (thrown) {
      if (this.#isClosed) return;
      const error = CausewayError.from(thrown);
      if (isReplay || isDirect) {
        this.#ports.onRefused(header, error);
        return;
      }
      // A context that is lost is made anew by the sender, with the same messages.
      if (!error.retryable && error.code !== "CAUSEWAY_E2EE_CONTEXT_UNKNOWN") this.#ports.onSettled(header, error);
      this.#ports.onRefused(header, error);
      const key = envelopeKey(header);
      const spare = spareIn(isTopic ? this.#publications : this.#envelopes, key);
      if (spare === undefined && !isTopic) this.#envelopes.delete(key);
      if (spare?.header) await this.#take(spare.header, this.#open(spare.header, spare.payload), false, attached);
    }
  }

  async #accept(address: SpiffeId, packet: OpenedPacket, header: agp.RoutingHeader, isDirect: boolean): Promise<void> {
    const reliable = packet.messages.filter((message) => message.reliable).length;
    const opening: Opening = { header, isDirect, channel: packet.channel, left: reliable };
    const from = agentOf(address);
    if (reliable > 0 && !this.#inbox.knows(address)) {
      const state = await this.#ports.restore(address);
      if (state && !this.#inbox.knows(address)) this.#inbox.restore(address, state);
    }
    for (const message of packet.messages) {
      const { reliable: place } = message;
      if (!place) {
        this.#deliver({ address, from, message, opening }, "", () => undefined);
        continue;
      }
      const outcome = this.#inbox.handleArrival({
        sender: address,
        channel: packet.channel,
        channelFloor: packet.channelFloor,
        bytes: bytesOf(message.body) + overheadBytes,
        // A reset means the same without what came before it.
        chained: message.body.case.startsWith("stream") && message.body.case !== "streamReset",
        isBulk: isBulk(header),
        item: { address, from, message, opening },
        ...place,
      });
      if (outcome === "settled" || outcome === "given up by the sender") this.#settled(opening);
      if (outcome === "repeated") this.#noteRepeat(repeatKey(address, message), opening);
      if (outcome !== "accepted" && outcome !== "repeated" && outcome !== "settled")
        this.#ports.onDrop(address, outcome);
    }
    this.#pump();
    this.#watchGaps();
  }

  /** Performs what the inbox wants. */
  #pump(): void {
    for (let effects = this.#inbox.drain(); effects.length > 0; effects = this.#inbox.drain()) {
      for (const effect of effects) {
        if (effect.type === "report") this.#ports.onNews(effect.sender, effect.channel, effect.isDurable);
        else if (effect.type === "abandon") this.#abandon(effect.arrival);
        else this.#handOver(effect.arrival);
      }
    }
  }

  #handOver(arrival: Arrival<Item>): void {
    const { opening } = arrival.item;
    const key = `${arrival.sender} ${arrival.channel}`;
    if (!this.#signs.has(key)) {
      const at = later(this.#now(), signMs);
      this.#signs.set(key, { sender: arrival.sender, channel: arrival.channel, at });
      if (this.#signs.size === 1) this.#signer.set(at);
    }
    let isSettled = false;
    this.#deliver(arrival.item, arrival.lane, (refusal, isDurable = true) => {
      if (isSettled) return;
      isSettled = true;
      this.#inbox.settle(arrival, refusal, isDurable);
      this.#settled(opening);
      this.#settledRepeats(arrival.item);
      this.#pump();
    });
  }

  /** Its sender has given it up, or it belongs to something that can never be whole. */
  #abandon(arrival: Arrival<Item>): void {
    this.#inbox.settle(arrival, incomplete);
    this.#settled(arrival.item.opening);
    this.#settledRepeats(arrival.item);
  }

  #settledRepeats({ address, message }: Item): void {
    const key = repeatKey(address, message);
    for (const repeat of this.#repeats.get(key) ?? []) this.#settled(repeat);
    this.#repeats.delete(key);
  }

  /** Whoever waits for a message of a sender that is gone waits a bounded time. */
  #watchGaps(): void {
    if (this.#isWatching || !this.#inbox.hasGaps) return;
    this.#isWatching = true;
    this.#gapWatch.set(later(this.#now(), gapMs));
  }

  #deliver({ address, from, message, opening }: Item, lane: string, settle: Delivery["settle"]): void {
    const { body, expiresUnixMs } = message;
    const isExpired = (): boolean => expiresUnixMs !== 0 && this.#unix() > expiresUnixMs + expirySlackMs;
    if (isExpired()) {
      settle(expired);
      return;
    }
    this.#ports.onDeliver({
      from,
      address,
      messageId: message.id,
      channel: opening.channel,
      lane,
      isBulk: isBulk(opening.header),
      body,
      isExpired,
      settle,
    });
  }

  /** A sender that hears nothing repeats a message in other envelopes, each of which a gateway may have stored. */
  #noteRepeat(key: string, opening: Opening): void {
    const repeats = this.#repeats.get(key);
    if (repeats) repeats.push(opening);
    else this.#repeats.set(key, [opening]);
    const [oldest] = this.#repeats.keys();
    if (this.#repeats.size > repeatsMax && oldest !== undefined) this.#repeats.delete(oldest);
  }

  #settled(opening: Opening): void {
    opening.left--;
    if (opening.left === 0 && !opening.isDirect) this.#envelopeSettled(opening.header);
  }

  #envelopeSettled(header: agp.RoutingHeader): void {
    const known = this.#envelopes.get(envelopeKey(header));
    this.#ports.onSettled(header);
    if (known === undefined) return;
    this.#noteReceived(header);
    known.isSettled = true;
    for (const copy of known.copies.splice(0)) this.#ports.onSettled(copy);
  }

  /** Each gateway where this agent subscribed sends one copy. A second one over the same attachment is a replay. */
  #isKnownPublication(header: agp.RoutingHeader, envelope: agp.Envelope, attached: number): boolean {
    const known = this.#publications.get(envelopeKey(header));
    if (known === undefined) {
      this.#notePublication(header, attached);
      return false;
    }
    if (!isNew(attached, known.over)) return false;
    if (!known.isOpened) known.spares.push(envelope);
    return true;
  }

  #notePublication(header: agp.RoutingHeader, attached: number): Known {
    const publication: Known = { over: [attached], isOpened: false, spares: [] };
    this.#publications.set(envelopeKey(header), publication);
    const [oldest] = this.#publications.keys();
    if (this.#publications.size > publicationsMax && oldest !== undefined) this.#publications.delete(oldest);
    return publication;
  }

  #noteOpened(header: agp.RoutingHeader, attached: number): void {
    const publication = this.#publications.get(envelopeKey(header)) ?? this.#notePublication(header, attached);
    publication.isOpened = true;
    publication.spares.length = 0;
  }

  #noteReceived(header: agp.RoutingHeader): void {
    const known = this.#envelopes.get(envelopeKey(header));
    if (known === undefined) return;
    known.isOpened = true;
    for (const spare of known.spares.splice(0)) if (spare.header) known.copies.push(spare.header);
  }

  #noteEnvelope(header: agp.RoutingHeader, attached: number): void {
    const known = { over: [attached], isOpened: false, spares: [], isSettled: false, copies: [] };
    this.#envelopes.set(envelopeKey(header), known);
    if (this.#envelopes.size <= envelopesMax) return;
    const [oldest] = this.#envelopes.keys();
    if (oldest !== undefined) this.#envelopes.delete(oldest);
  }

  /** Tells the senders of what is not settled after a while that it is here, so that they neither repeat it nor wait. */
  #giveSigns(): void {
    const now = this.#now();
    for (const [key, { sender, channel, at }] of this.#signs) {
      if (at > now) {
        this.#signer.set(at);
        break;
      }
      this.#signs.delete(key);
      this.#inbox.acknowledge(sender, channel);
    }
    this.#pump();
  }

  #now(): Instant {
    return this.#ports.scheduler.now().instant;
  }

  #unix(): UnixMs {
    return this.#ports.scheduler.now().unix;
  }
}

const isBulk = ({ trafficClass }: agp.RoutingHeader): boolean => trafficClass === agp.TrafficClass.BULK;

/** The packet, when header and content agree on who says it, where, and under which id. */
function checked(
  header: agp.RoutingHeader,
  from: AgentId,
  opened: Extract<Opened, { kind: "application" }>,
): OpenedPacket {
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
  const packet = decodePacket(plaintext);
  if (packet.id !== toHex(header.messageId)) {
    throw refuse(
      "CAUSEWAY_E2EE_DECRYPT_FAILED",
      "expected the message id of the header inside the message, got another",
    );
  }
  return packet;
}

/** The agent of a header's source; undefined when that is no name. */
export function agentNamed(source: string): AgentId | undefined {
  try {
    return agentOf(parseSpiffeId(source));
  } catch {
    return undefined;
  }
}

/** The refusal of what its sender wants taken no more. */
export const expired: Refusal = {
  code: "CAUSEWAY_FORWARDING_EXPIRED",
  message: "the message came after the time until which its sender wanted it taken",
};

/** The refusal of what waited for something that never came. */
const incomplete: Refusal = {
  code: "CAUSEWAY_CANCELLED",
  message: "what was sent before it was given up or never came",
};

const overheadBytes = 256;
/**
 * Between two looks at what waits for an earlier message; what waits at both goes on without it. Its sender, if it lives,
 * repeats it far more often.
 */
const gapMs = 120_000;
/** After this time without an outcome the receiver says that a message is here. */
const signMs = 50;
/** How far the clocks of two agents may differ before a message counts as expired. */
const expirySlackMs = 5_000;

const envelopeKey = ({ source, messageId }: agp.RoutingHeader): string => `${source} ${toHex(messageId)}`;
/** Envelopes that are recognised when they come again; those before them count as damaged. */
const envelopesMax = 16_384;
/** As far as one gateway may lag behind another with publications. */
const publicationsMax = 4_096;

/** A copy could not be opened: the one of another gateway, if it is here. Otherwise it counts when it comes. */
function spareIn(all: Map<string, Known>, key: string): agp.Envelope | undefined {
  const known = all.get(key);
  if (known === undefined || known.isOpened) return undefined;
  const spare = known.spares.shift();
  if (spare === undefined) all.delete(key);
  return spare;
}

/** Notes that something came over this attachment; false when it did before. */
function isNew(attached: number, over: number[]): boolean {
  if (over.includes(attached)) return false;
  over.push(attached);
  return true;
}

const repeatKey = (address: string, message: PackedMessage): string => `${address} ${message.id}`;
/** Messages whose repetitions wait for them; those beyond come once more at the next attachment. */
const repeatsMax = 4_096;
