/**
 * The process of an agent that sends and takes reliable messages and streams, driven as the SDK does it: what is settled
 * is remembered on the agent's disk before it is acknowledged; its gateway hears of it a moment later. A process that
 * dies loses everything but its disk.
 */
import { agentOf, asUnixMs, CausewayError, parseSpiffeId, refuse, type SpiffeId } from "@causeway/core-base";
import type { StreamFrame } from "@causeway/core-session";
import {
  type Arrival,
  type ChannelState,
  decodeInboxState,
  encodeInboxState,
  Inbox,
  Outbox,
  type OutEntry,
  type Progress,
} from "@causeway/core-session";
import {
  agp,
  type common,
  DeliveryMode,
  encodeFrame,
  encodeMessageFrame,
  type FrameScan,
  fromErrorDetail,
  HeaderFlag,
  hex,
  newMessageId,
  TargetKind,
} from "@causeway/core-wire";
import type { Agent, AgentLife } from "./agent.ts";
import { Alarm } from "./clock.ts";
import type { MailPlan } from "./mail-plan.ts";
import type { Content, Packet } from "./packets.ts";
import { StreamUser } from "./stream-user.ts";

/** What the sender asks of gateways. */
export type Wants = "nothing" | "notice" | "stored" | "accepted";

/** What happens in the process, for checkers. */
export type EndpointEvent =
  | { readonly kind: "sent"; readonly id: string; readonly to: string; readonly lane: string }
  | { readonly kind: "transmitted"; readonly id: string; readonly channel: string; readonly number: number }
  | { readonly kind: "progress"; readonly id: string; readonly progress: Progress }
  | { readonly kind: "settled"; readonly id: string; readonly error: CausewayError | undefined }
  /** To the application, or to the streams. */
  | {
      readonly kind: "handed";
      readonly isStream: boolean;
      readonly id: string;
      readonly channel: string;
      readonly lane: string;
      readonly sequence: number;
    }
  /** What waits for something that never came goes on. */
  | { readonly kind: "gaps-looked-at" }
  | { readonly kind: "outcome"; readonly id: string; readonly isRefused: boolean }
  /** What the sender of a channel is told of it. */
  | { readonly kind: "reported"; readonly state: ChannelState }
  /** The own gateway is told that these are settled. */
  | { readonly kind: "mailbox-ack"; readonly ids: readonly string[] }
  | { readonly kind: "stream-sent"; readonly stream: string; readonly frame: StreamFrame }
  | { readonly kind: "stream-data"; readonly stream: string; readonly bytes: Uint8Array }
  | { readonly kind: "stream-closed"; readonly stream: string; readonly code: string | undefined };

interface Body {
  readonly to: SpiffeId;
  readonly content: Content;
  readonly wants: Wants;
  readonly expiresUnixMs: number;
}

interface Item {
  readonly id: string;
  readonly content: Content;
}

export class Endpoint {
  readonly agent: Agent;
  readonly instance: string;
  /** Under which others reach this process. */
  readonly address: SpiffeId;
  readonly run: number;
  readonly plan: MailPlan;
  readonly outbox: Outbox<Body>;
  readonly streams: StreamUser;
  readonly #inbox: Inbox<Item>;
  readonly #alarm: Alarm;
  readonly #acks: { readonly source: string; readonly id: string }[] = [];
  /** Channels with news for their senders; true when some of it has to be stored first. */
  readonly #news = new Map<string, { readonly sender: string; readonly channel: string; isDurable: boolean }>();
  #isTelling = false;
  #isDead = false;

  constructor(agent: Agent, plan: MailPlan, instance: string, run: number) {
    this.agent = agent;
    this.instance = instance;
    this.address = addressOf(agent, plan, instance);
    this.plan = plan;
    this.run = run;
    this.outbox = new Outbox(plan.session, agent.random);
    this.#inbox = new Inbox(plan.session);
    this.streams = new StreamUser(this, agent.random);
    this.#alarm = new Alarm(agent.world.queue, `${agent.name} endpoint timer`, () =>
      this.act(() => {
        this.outbox.handleTimeout(agent.now().instant);
        this.streams.machine.handleTimeout(agent.now().instant);
      }),
    );
    this.setOnline(this.#life !== undefined);
    this.#sweepLater();
  }

  /** Agent and run. */
  get name(): string {
    return `${this.agent.name}${this.instance === "main" ? "" : `/${this.instance}`}.${this.run}`;
  }

  setOnline(isOnline: boolean): void {
    this.act(() => this.outbox.setOnline(this.agent.now().instant, isOnline));
  }

  /** Sends a reliable message. */
  send(to: SpiffeId, lane: string, content: Content, wants: Wants, timeoutMs: number): void {
    this.act(() => this.promise(to, lane, content, wants, timeoutMs));
  }

  /** As `send`, from within `act`. */
  promise(to: SpiffeId, lane: string, content: Content, wants: Wants, timeoutMs: number): void {
    const { agent } = this;
    const { instant, unix } = agent.now();
    const id = hex(newMessageId(agent.random, unix));
    this.tell({ kind: "sent", id, to, lane });
    agent.world.note(() => `${this.name} promises ${id.slice(-6)} to ${to} in ${lane.slice(0, 8)}, wants ${wants}`);
    const body = { to, content, wants, expiresUnixMs: content.kind === "stream" ? 0 : asUnixMs(unix + timeoutMs) };
    const bytes = content.kind === "stream" && content.frame.type === "data" ? content.frame.bytes.length : 100;
    this.outbox.add(instant, {
      peer: to,
      agent: agentOf(to),
      id,
      lane,
      bytes,
      body,
      timeoutMs,
      patient: content.kind === "stream",
    });
  }

  /** The process ends without a word. */
  die(): void {
    this.agent.world.note(() => `${this.name} dies`);
    this.#isDead = true;
    this.#alarm.arm(undefined);
    if (this.agent.endpoints.get(this.instance) === this) this.agent.endpoints.delete(this.instance);
  }

  receive(scan: FrameScan): void {
    const packet = this.agent.world.packets.open(scan.buf.subarray(scan.payloadStart, scan.payloadEnd));
    if (packet === undefined) return;
    const source = scan.source() as SpiffeId;
    this.act(() => {
      if (packet.message !== undefined) this.#take(source, packet, packet.message);
      for (const { channel, taken, received, refused } of packet.reports) {
        const errors = new Map(
          [...refused].map(([number, { code, message }]) => [
            number,
            refuse(code === refusedCode ? refusedCode : abandonedCode, message),
          ]),
        );
        this.outbox.handleReportOfChannel(this.agent.now().instant, agentOf(source), {
          channel,
          taken,
          received,
          refused: errors,
        });
      }
    });
  }

  /** A delivery report of a gateway. */
  handleReport(id: string, fate: agp.Fate, error: common.ErrorDetail | undefined): void {
    const { instant } = this.agent.now();
    this.agent.world.note(() => `${this.name} hears ${error?.code ?? agp.Fate[fate]} of ${id.slice(-6)}`);
    this.act(() => {
      if (error !== undefined) this.outbox.handleReport(instant, id, new CausewayError(fromErrorDetail(error)));
      else if (fate === agp.Fate.STORED) this.outbox.handleProgress(instant, id, "stored");
      else if (fate === agp.Fate.ACCEPTED) this.outbox.handleProgress(instant, id, "accepted");
    });
  }

  /** Does something with the machines and performs what comes of it. */
  act(work: () => void): void {
    if (this.#isDead) return;
    work();
    for (let isBusy = true; isBusy && !this.#isDead; ) {
      isBusy = false;
      for (const effect of this.outbox.drain()) {
        isBusy = true;
        if (effect.type === "transmit") this.#transmit(effect.entry);
        else if (effect.type === "progress")
          this.tell({ kind: "progress", id: effect.entry.id, progress: effect.progress });
        else this.#settled(effect.entry, effect.error);
      }
      for (const effect of this.#inbox.drain()) {
        isBusy = true;
        if (effect.type === "deliver") this.#handOver(effect.arrival);
        else if (effect.type === "abandon") this.#abandon(effect.arrival);
        else this.#noteNews(effect.sender, effect.channel, effect.isDurable);
      }
      isBusy = this.streams.perform() || isBusy;
    }
    const deadlines = [this.outbox.deadline(), this.streams.machine.deadline()].filter((at) => at !== undefined);
    this.#alarm.arm(deadlines.length === 0 ? undefined : Math.min(...deadlines.map((at) => this.agent.timeOf(at))));
  }

  /** Later, unless the process has died. */
  after(ms: number, what: string, work: () => void): void {
    const { world } = this.agent;
    world.queue.push(world.now + ms, `${this.name} ${what}`, () => {
      if (!this.#isDead) this.act(work);
    });
  }

  tell(event: EndpointEvent): void {
    this.agent.world.tell("endpoint", this, event);
  }

  closeLane(peer: string, lane: string): void {
    this.outbox.closeLane(lane);
    this.#inbox.closeLane(peer, lane);
  }

  #transmit(entry: OutEntry<Body>): void {
    const { agent } = this;
    const { id, lane, sequence, bytes, body } = entry;
    const position = this.outbox.positionOf(id);
    if (position === undefined) return;
    const { channel, floor: channelFloor } = this.outbox.channelOf(entry.peer);
    const message = { id, lane, sequence, bytes, content: body.content, ...position };
    const payload = agent.world.packets.seal({ channel, channelFloor, message, reports: [] });
    const header = {
      targetKind: TargetKind.agent,
      target: body.to,
      source: this.address,
      messageId: Buffer.from(id, "hex"),
      hopTtl: 16,
      deliveryMode: DeliveryMode.reliable,
      flags: flagsOf[body.wants],
      expiresUnixMs: BigInt(body.expiresUnixMs),
    };
    if (agent.random.chance(this.plan.meddling)) this.#meddle(id);
    const isGone = this.#life?.post(encodeMessageFrame(header, payload)) === true;
    this.tell({ kind: "transmitted", id, channel, number: position.number });
    agent.world.note(() => `${this.name} transmits ${id.slice(-6)} as ${position.number}, attempt ${entry.attempts}`);
    const error = isGone ? undefined : refuse("CAUSEWAY_UNREACHABLE", "there is no attachment");
    this.outbox.handleTransmitted(agent.now().instant, [id], error);
  }

  /** Acknowledges what it sent itself to somebody else, in their stead. */
  #meddle(id: string): void {
    const entries = [{ source: this.address, messageIds: [Buffer.from(id, "hex")] }];
    this.#life?.post(encodeFrame({ case: "mailboxAck", value: { entries } }));
  }

  #settled({ id, lane, body }: OutEntry<Body>, error: CausewayError | undefined): void {
    this.agent.world.note(() => `${this.name} settles ${id.slice(-6)}: ${error?.code ?? "taken"}`);
    this.tell({ kind: "settled", id, error });
    if (body.content.kind === "stream") this.streams.handleSettled(lane, body.content.frame, error);
  }

  #take(source: string, packet: Packet, message: NonNullable<Packet["message"]>): void {
    if (!this.#inbox.knows(source)) {
      const state = decodeInboxState(this.#disk.get(source) ?? new Uint8Array());
      if (state !== undefined) this.#inbox.restore(source, state);
    }
    const { channel, channelFloor } = packet;
    const { id, content, ...place } = message;
    const item = { id, content };
    const chained = content.kind === "stream" && content.frame.type !== "reset";
    const outcome = this.#inbox.handleArrival({ sender: source, channel, channelFloor, chained, item, ...place });
    this.agent.world.note(() => `${this.name} gets ${id.slice(-6)}: ${outcome}`);
    if (outcome === "settled" || outcome === "given up by the sender") this.#ackMail(source, id);
  }

  #handOver(arrival: Arrival<Item>): void {
    const { id, content } = arrival.item;
    const { sender, channel, lane, sequence } = arrival;
    this.tell({ kind: "handed", isStream: content.kind === "stream", id, channel, lane, sequence });
    if (content.kind === "stream") {
      this.#settle(arrival, undefined, false);
      this.streams.machine.handleFrame(this.agent.now().instant, sender, content.stream, content.frame);
      return;
    }
    const { random } = this.agent;
    const isRefused = random.chance(this.plan.refusals);
    this.after(random.wait(this.plan.handlingMs), "takes a message", () =>
      this.#settle(arrival, isRefused ? { code: refusedCode, message: "not wanted" } : undefined, true),
    );
    // So that its sender does not repeat what only takes its time.
    this.after(signMs, "gives a sign", () => this.#inbox.acknowledge(sender, channel));
  }

  /** What it belongs to can never be whole. */
  #abandon(arrival: Arrival<Item>): void {
    const { id, content } = arrival.item;
    this.agent.world.note(() => `${this.name} abandons ${id.slice(-6)}`);
    this.tell({ kind: "outcome", id, isRefused: true });
    this.#inbox.settle(arrival, { code: abandonedCode, message: "what came before it is missing" });
    this.#ackMail(arrival.sender, id);
    if (content.kind === "stream")
      this.streams.machine.reset(content.stream, { code: abandonedCode, message: "a part of it is missing" });
  }

  #sweepLater(): void {
    this.after(this.plan.gapMs, "looks at gaps", () => {
      this.tell({ kind: "gaps-looked-at" });
      this.#inbox.skipGaps();
      this.#sweepLater();
    });
  }

  #settle(arrival: Arrival<Item>, refusal: Parameters<Inbox<Item>["settle"]>[1], isDurable: boolean): void {
    const { id } = arrival.item;
    this.agent.world.note(() => `${this.name} ${refusal === undefined ? "takes" : "refuses"} ${id.slice(-6)}`);
    this.tell({ kind: "outcome", id, isRefused: refusal !== undefined });
    this.#inbox.settle(arrival, refusal, isDurable);
    this.#ackMail(arrival.sender, id);
  }

  /** The own gateway need not keep it any longer. */
  #ackMail(source: string, id: string): void {
    this.#acks.push({ source, id });
    if (this.#acks.length > 1) return;
    this.after(ackMs, "acknowledges to its gateway", () => {
      const acks = this.#acks.splice(0);
      const sources = [...new Set(acks.map((ack) => ack.source))];
      const entries = sources.map((from) => ({
        source: from,
        messageIds: acks.filter((ack) => ack.source === from).map((ack) => Buffer.from(ack.id, "hex")),
      }));
      this.tell({ kind: "mailbox-ack", ids: acks.map((ack) => ack.id) });
      this.#life?.post(encodeFrame({ case: "mailboxAck", value: { entries } }));
    });
  }

  #noteNews(sender: string, channel: string, isDurable: boolean): void {
    const key = `${sender} ${channel}`;
    const news = this.#news.get(key) ?? { sender, channel, isDurable };
    news.isDurable ||= isDurable;
    this.#news.set(key, news);
    if (this.#isTelling) return;
    this.#isTelling = true;
    this.after(this.#pause(), "stores what it has taken", () => this.#storeNews());
  }

  #storeNews(): void {
    this.#isTelling = false;
    const news = [...this.#news.values()];
    this.#news.clear();
    for (const { sender, isDurable } of news)
      if (isDurable) this.#disk.set(sender, encodeInboxState(this.#inbox.state(sender)));
    const reports = news.flatMap(({ sender, channel }) => {
      const state = this.#inbox.report(sender, channel);
      return state === undefined ? [] : [{ sender: sender as SpiffeId, state }];
    });
    this.after(this.#pause(), "reports", () => {
      for (const { sender, state } of reports) this.#report(sender, state);
    });
  }

  #report(to: SpiffeId, state: ChannelState): void {
    const { agent } = this;
    this.tell({ kind: "reported", state });
    agent.world.note(
      () => `${this.name} tells ${to}: taken ${state.taken.join(" ")}, received ${state.received.join(" ")}`,
    );
    const payload = agent.world.packets.seal({ channel: "", channelFloor: 0, reports: [state] });
    const header = {
      targetKind: TargetKind.agent,
      target: to,
      source: this.address,
      messageId: newMessageId(agent.random, agent.now().unix),
      hopTtl: 16,
    };
    this.#life?.post(encodeMessageFrame(header, payload));
  }

  /** The attachment of this instance. */
  get #life(): AgentLife | undefined {
    const life = this.agent.lives.get(this.instance);
    return life?.isAttached === true ? life : undefined;
  }

  get #disk(): Map<string, Uint8Array> {
    return this.agent.diskOf(this.instance);
  }

  #pause(): number {
    return this.agent.random.between(0, this.plan.storeMs);
  }
}

const flagsOf: Readonly<Record<Wants, number>> = {
  nothing: 0,
  notice: HeaderFlag.storedNotice,
  stored: HeaderFlag.stored,
  accepted: HeaderFlag.accepted | HeaderFlag.storedNotice,
};

/** Under which an instance of an agent is reached: with its name when it is not the only one. */
export function addressOf({ agentId }: Agent, { instances }: MailPlan, instance: string): SpiffeId {
  return instances.length === 1 ? agentId : parseSpiffeId(`${agentId}/@${instance}`);
}

/** The code of a message that the application refused. */
export const refusedCode = "CAUSEWAY_AGENT_HANDLER_FAILED";
/** The code of a message that is refused since what belongs before it is missing. */
export const abandonedCode = "CAUSEWAY_CANCELLED";
const signMs = 50;
const ackMs = 20;
