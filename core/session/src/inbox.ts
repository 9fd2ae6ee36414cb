/**
 * The receiving half of reliable messages (AGP-58): a synchronous machine that hands each message over once and in the
 * order of its lane, whatever was lost, repeated or overtaken on the way. The numbers of a channel tell a repetition from
 * something new, exactly and in little memory; an acknowledgement is what is known of a channel from its sender's floor
 * on, so that any later one makes up for a lost one. What has to be remembered can be stored and restored: a restart
 * hands nothing over twice that was acknowledged.
 */
import { InboxSender, type Lane } from "./inbox-sender.ts";
import type { InboxState } from "./inbox-state.ts";
import type { SessionLimits } from "./limits.ts";
import { type NumberRange, rangesOf } from "./ranges.ts";

/** A message that has arrived, decrypted and attributed to its sender. */
export interface Arrival<Item> {
  readonly sender: string;
  /** Hex, 8 bytes. */
  readonly channel: string;
  readonly number: number;
  readonly channelFloor: number;
  readonly lane: string;
  readonly sequence: number;
  readonly laneFloor: number;
  readonly bytes: number;
  /** True: worth nothing without what comes before it in its lane. */
  readonly chained?: boolean;
  /** True: it may use half of what its sender may have waiting. */
  readonly isBulk?: boolean;
  readonly item: Item;
}

/** Why a message was refused, in the form that is remembered. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
}

export type InboxEffect<Item> =
  | { readonly type: "deliver"; readonly arrival: Arrival<Item> }
  /**
   * Never to be handed over: its sender has given it up, or what comes before it is missing for good. To be settled as
   * refused.
   */
  | { readonly type: "abandon"; readonly arrival: Arrival<Item> }
  /** The sender has to be told of this channel: that messages are here, or what became of them. */
  | { readonly type: "report"; readonly sender: string; readonly channel: string; readonly isDurable: boolean };

/** What is known of a channel. */
export interface ChannelState {
  readonly channel: string;
  readonly taken: readonly NumberRange[];
  readonly received: readonly NumberRange[];
  readonly refused: ReadonlyMap<number, Refusal>;
}

/** What became of an arrival: taken in, or a repetition of one that is here or that is settled, or dropped. */
export type ArrivalOutcome = "accepted" | "repeated" | "settled" | DropReason;

/** Why an arrival was dropped without an answer. */
export type DropReason = "invalid position" | "outside the window" | "too much is pending" | "given up by the sender";

export class Inbox<Item> {
  readonly #limits: SessionLimits;
  readonly #senders = new Map<string, InboxSender<Item>>();
  /** Lanes in which something waits behind a gap, or did. */
  readonly #gaps = new Set<Lane<Item>>();
  #effects: InboxEffect<Item>[] = [];
  #bytes = 0;

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  /** False for a sender of whom nothing is remembered. */
  knows(sender: string): boolean {
    return this.#senders.has(sender);
  }

  /** Takes an arrival. The sender repeats what is dropped. */
  handleArrival(arrival: Arrival<Item>): ArrivalOutcome {
    const { number, channelFloor, sequence, laneFloor } = arrival;
    if (channelFloor < 1 || channelFloor > number || laneFloor < 1 || laneFloor > sequence) return "invalid position";
    const sender = this.#sender(arrival.sender);
    const channel = sender.channel(arrival.channel, channelFloor);
    const lane = sender.lane(arrival.lane, laneFloor);
    const before = sender.bytes;
    // Also a repetition moves the floors, and what waited behind a message that was given up goes on.
    channel.raise(channelFloor);
    lane.isTouched = true;
    if (lane.isUsedAnew(arrival.channel, sequence))
      for (const old of sender.restart(lane, laneFloor)) this.#abandon(old);
    for (const dropped of sender.advance(lane, laneFloor)) this.#abandon(dropped);
    this.#bytes += sender.bytes - before;
    const outcome = this.#admit(sender, lane, arrival);
    this.#deliver(lane);
    return outcome;
  }

  /** Says of a channel what is here and not settled, so that its sender repeats it rarely. */
  acknowledge(sender: string, channel: string): void {
    if (this.#senders.get(sender)?.knownChannel(channel)?.unsettled.size)
      this.#effects.push({ type: "report", sender, channel, isDurable: false });
  }

  /**
   * The application took a delivered message, or refused it. What is not `isDurable` may come again after a restart.
   */
  settle(arrival: Arrival<Item>, refusal?: Refusal, isDurable = true): void {
    const sender = this.#senders.get(arrival.sender);
    const channel = sender?.knownChannel(arrival.channel);
    const bytes = channel?.unsettled.get(arrival.number);
    if (!sender || !channel || bytes === undefined) return;
    const kept = refusal && { ...refusal, message: refusal.message.slice(0, refusalCharsMax) };
    channel.settle(arrival.number, kept);
    sender.settleIn(arrival, isDurable);
    sender.bytes -= bytes;
    sender.pending--;
    this.#bytes -= bytes;
    this.#effects.push({ type: "report", sender: arrival.sender, channel: arrival.channel, isDurable });
  }

  /** True while something waits for what comes before it: `skipGaps` has to be called now and then. */
  get hasGaps(): boolean {
    return this.#gaps.size > 0;
  }

  /**
   * Goes on without what is missing in lanes in which nothing came since the call before this one. A sender that lives
   * repeats what waits here, so that only one that is gone leaves a gap, of which another gateway may still have the rest.
   */
  skipGaps(): void {
    for (const lane of this.#gaps) {
      if (lane.held.size === 0) this.#gaps.delete(lane);
      else if (lane.isTouched) lane.isTouched = false;
      else {
        lane.skip();
        this.#deliver(lane);
      }
    }
  }

  /** Forgets a lane that its sender will not use again. Numbers stay remembered. */
  closeLane(sender: string, lane: string): void {
    this.#senders.get(sender)?.closeLane(lane);
  }

  /** What to tell the sender of a channel now. */
  report(senderName: string, name: string): ChannelState | undefined {
    const channel = this.#senders.get(senderName)?.knownChannel(name);
    if (!channel) return undefined;
    const { ackRangesMax } = this.#limits;
    return {
      channel: name,
      taken: channel.settled.without([...channel.refusals.keys()].sort((a, b) => a - b)).slice(0, ackRangesMax),
      received: rangesOf([...channel.unsettled.keys()].sort((a, b) => a - b)).slice(0, ackRangesMax),
      refused: new Map(channel.refusals),
    };
  }

  drain(): readonly InboxEffect<Item>[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** What to store of a sender before its messages are acknowledged. */
  state(sender: string): InboxState {
    return this.#senders.get(sender)?.state() ?? { channels: [], lanes: [] };
  }

  /** Takes over what was stored, before the first arrival of the sender. */
  restore(sender: string, state: InboxState): void {
    this.#sender(sender).restore(state);
  }

  #admit(sender: InboxSender<Item>, lane: Lane<Item>, arrival: Arrival<Item>): ArrivalOutcome {
    const { number, sequence, bytes } = arrival;
    const { channelSpanMax, laneSpanMax, pendingPerSenderMax, refusalsMax, senderBytesMax } = this.#limits;
    const channel = sender.channel(arrival.channel, arrival.channelFloor);
    if (number < channel.floor) return "given up by the sender";
    const isSettled = channel.settled.has(number);
    if (isSettled || channel.unsettled.has(number)) {
      // It was here before: its lane must not wait for it.
      if (isSettled) lane.pass(sequence);
      this.#effects.push({ type: "report", sender: arrival.sender, channel: arrival.channel, isDurable: false });
      return isSettled ? "settled" : "repeated";
    }
    const isLate = sequence < lane.next && lane.skipped.has(sequence);
    if (sequence < lane.next && !isLate) return "given up by the sender";
    if (
      number >= channel.floor + channelSpanMax ||
      sequence >= lane.next + laneSpanMax ||
      (channel.settled.holes >= holesMax && number > channel.highest)
    )
      return "outside the window";
    if (
      channel.refusals.size >= refusalsMax ||
      sender.pending >= pendingPerSenderMax ||
      sender.bytes + bytes > senderBytesMax ||
      // Bulk that nobody takes leaves room for what is not bulk.
      (arrival.isBulk === true &&
        (channel.unsettled.size >= pendingPerSenderMax / 2 || channel.unsettledBytes + bytes > senderBytesMax / 2)) ||
      !this.#makeRoom(bytes, sender)
    )
      return "too much is pending";
    channel.unsettled.set(number, bytes);
    channel.unsettledBytes += bytes;
    channel.highest = Math.max(channel.highest, number);
    sender.pending++;
    sender.bytes += bytes;
    this.#bytes += bytes;
    // A message of an earlier run of the sender may wait at the same place, and would wait for ever.
    const stranded = isLate ? undefined : lane.held.get(sequence);
    if (stranded !== undefined) {
      lane.held.delete(sequence);
      this.#abandon(stranded);
    }
    if (sequence > lane.next) {
      lane.held.set(sequence, arrival);
      this.#gaps.add(lane);
      this.#effects.push({ type: "report", sender: arrival.sender, channel: arrival.channel, isDurable: false });
    } else {
      if (!isLate) lane.next++;
      this.#handOver(lane, arrival);
    }
    return "accepted";
  }

  #sender(name: string): InboxSender<Item> {
    const known = this.#senders.get(name);
    const sender = known ?? new InboxSender<Item>(this.#limits);
    // The map's order is the order of use.
    this.#senders.delete(name);
    this.#senders.set(name, sender);
    if (!known && this.#senders.size > this.#limits.sendersMax) {
      for (const [oldest, { pending }] of this.#senders) {
        if (pending > 0 || oldest === name) continue;
        this.#senders.delete(oldest);
        break;
      }
    }
    return sender;
  }

  /**
   * Makes room for `bytes` of `keep` by letting go of what waits behind gaps, of the senders that hold most. Whoever
   * leaves a gap open could keep everybody else out otherwise. True when there is room now.
   */
  #makeRoom(bytes: number, keep: InboxSender<Item>): boolean {
    const { bytesMax } = this.#limits;
    if (this.#bytes + bytes <= bytesMax) return true;
    const others = [...this.#senders.values()].filter((sender) => sender !== keep);
    others.sort((a, b) => b.bytes - a.bytes);
    for (const sender of others) {
      const freed = sender.letGo(this.#bytes + bytes - bytesMax);
      this.#bytes -= freed;
      if (this.#bytes + bytes <= bytesMax) return true;
    }
    return false;
  }

  #deliver(lane: Lane<Item>): void {
    for (const arrival of lane.takeNext()) this.#handOver(lane, arrival);
    if (lane.held.size === 0 && this.#gaps.size > 0) this.#gaps.delete(lane);
  }

  #abandon(arrival: Arrival<Item>): void {
    this.#effects.push({ type: "abandon", arrival });
  }

  #handOver(lane: Lane<Item>, arrival: Arrival<Item>): void {
    const isWhole = !(arrival.chained && lane.isBroken);
    lane.isBegun = true;
    this.#effects.push({ type: isWhole ? "deliver" : "abandon", arrival });
  }
}

/** Characters of a refusal's sentence that are remembered and sent. */
export const refusalCharsMax = 1_000;
/** Gaps among the settled numbers of a channel; then only what fills them is taken. */
const holesMax = 1_024;
