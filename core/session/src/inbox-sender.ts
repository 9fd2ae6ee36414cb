/**
 * What an inbox knows of one sender: its channels, in which messages are counted, and its lanes, in which they have an
 * order. Part of the inbox, which keeps the bounds over all senders.
 */
import type { Arrival, Refusal } from "./inbox.ts";
import type { InboxState } from "./inbox-state.ts";
import type { SessionLimits } from "./limits.ts";
import { RangeSet } from "./ranges.ts";

/** The messages of one run of the sender, by number. */
export class Channel {
  floor: number;
  /** Highest number that arrived. */
  highest = 0;
  /** Taken, from the floor on. */
  settled = new RangeSet();
  /** Here and neither taken nor refused, with their bytes. */
  readonly unsettled = new Map<number, number>();
  unsettledBytes = 0;
  /** Of the settled ones, those that were refused. */
  readonly refusals = new Map<number, Refusal>();

  constructor(floor: number) {
    this.floor = floor;
  }

  /** It is not here any more. */
  forget(number: number): void {
    this.unsettledBytes -= this.unsettled.get(number) ?? 0;
    this.unsettled.delete(number);
  }

  raise(floor: number): void {
    if (floor <= this.floor) return;
    this.floor = floor;
    this.settled.dropBelow(floor);
    for (const number of this.refusals.keys()) if (number < floor) this.refusals.delete(number);
  }

  settle(number: number, refusal: Refusal | undefined): void {
    this.forget(number);
    if (number < this.floor) return;
    this.settled.add(number);
    if (refusal) this.refusals.set(number, refusal);
  }
}

/** Messages in an order. */
export class Lane<Item> {
  /** The next one to hand over. */
  next: number;
  floor: number;
  readonly held = new Map<number, Arrival<Item>>();
  /** Settled for good, from the floor on; what a restored lane need not wait for. */
  settled = new RangeSet();

  /** Something came since gaps were looked at. */
  isTouched = true;
  /** Passed over without having been here; handed over when it comes, since late is better than never. */
  readonly skipped = new RangeSet();
  /** Something of it was handed over. */
  isBegun = false;
  /** Something was skipped: what hangs together is whole no more. */
  isBroken = false;

  /** Channels of its messages, the latest ones: more than one when a message goes to another address of the receiver. */
  #channels: readonly string[];

  constructor(floor: number, channels: readonly string[] = []) {
    this.next = floor;
    this.floor = floor;
    this.#channels = channels;
  }

  /** True for a message of a later run of the sender, which counts from the beginning again. */
  isUsedAnew(channel: string, sequence: number): boolean {
    if (this.#channels.includes(channel)) return false;
    const isAnew = this.#channels.length > 0 && sequence < this.next;
    this.#channels = [...this.#channels, channel].slice(-laneChannelsMax);
    return isAnew;
  }

  /** Waits no longer for what is missing before the first that is held. */
  skip(): void {
    const first = Math.min(...this.held.keys());
    for (; this.next < first; this.next++) if (!this.settled.has(this.next)) this.skipped.add(this.next);
    this.isBroken = true;
  }

  /** `sequence` was here before. */
  pass(sequence: number): void {
    if (sequence === this.next) this.next++;
  }

  /** Takes what is next in order, as long as it is here. */
  takeNext(): Arrival<Item>[] {
    const taken: Arrival<Item>[] = [];
    if (this.held.size === 0) return taken;
    for (;;) {
      const arrival = this.held.get(this.next);
      if (arrival === undefined && !this.settled.has(this.next)) return taken;
      this.held.delete(this.next);
      this.next++;
      if (arrival !== undefined) taken.push(arrival);
    }
  }
}

export class InboxSender<Item> {
  /** Messages that are not settled, and their bytes. */
  pending = 0;
  bytes = 0;
  readonly #limits: SessionLimits;
  readonly #channels = new Map<string, Channel>();
  readonly #lanes = new Map<string, Lane<Item>>();

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  knownChannel(name: string): Channel | undefined {
    return this.#channels.get(name);
  }

  channel(name: string, floor: number): Channel {
    const known = this.#channels.get(name);
    if (known && this.#newestChannel === known) return known;
    const channel = known ?? new Channel(floor);
    // The map's order is the order of use.
    this.#channels.delete(name);
    this.#channels.set(name, channel);
    this.#newestChannel = channel;
    if (!known && this.#channels.size > this.#limits.channelsPerSenderMax) {
      for (const [oldest, { unsettled }] of this.#channels) {
        if (unsettled.size > 0 || oldest === name) continue;
        this.#channels.delete(oldest);
        break;
      }
    }
    return channel;
  }

  lane(name: string, floor: number): Lane<Item> {
    const known = this.#lanes.get(name);
    if (known && this.#newestLane === known) return known;
    const lane = known ?? new Lane<Item>(floor);
    this.#lanes.delete(name);
    this.#lanes.set(name, lane);
    this.#newestLane = lane;
    if (!known && this.#lanes.size > this.#limits.lanesPerSenderMax) {
      for (const [oldest, { held }] of this.#lanes) {
        if (held.size > 0 || oldest === name) continue;
        this.#lanes.delete(oldest);
        break;
      }
    }
    return lane;
  }

  closeLane(name: string): void {
    const lane = this.#lanes.get(name);
    if (!lane || lane.held.size > 0) return;
    this.#lanes.delete(name);
    if (this.#newestLane === lane) this.#newestLane = undefined;
  }

  /** The sender waits for nothing below `floor` any more: neither does the lane. Returns what it held of that. */
  advance(lane: Lane<Item>, floor: number): readonly Arrival<Item>[] {
    if (floor <= lane.floor) return [];
    lane.floor = floor;
    lane.settled.dropBelow(floor);
    lane.skipped.dropBelow(floor);
    if (floor <= lane.next) return [];
    const dropped: Arrival<Item>[] = [];
    for (const [sequence, arrival] of [...lane.held]) {
      if (sequence >= floor) continue;
      // The sender has given it up; handing it over now would surprise both sides.
      lane.held.delete(sequence);
      this.#drop(arrival);
      dropped.push(arrival);
    }
    // An earlier run of this receiver took what is missing here, or its sender gave it up: not the whole comes.
    if (lane.isBegun) lane.isBroken = true;
    lane.next = floor;
    return dropped;
  }

  /** A later run of the sender uses the lane. Returns what it held of the earlier one. */
  restart(lane: Lane<Item>, floor: number): readonly Arrival<Item>[] {
    const dropped = [...lane.held.values()];
    for (const arrival of dropped) this.#drop(arrival);
    lane.held.clear();
    lane.settled = new RangeSet();
    lane.skipped.dropBelow(Infinity);
    lane.isBegun = false;
    lane.isBroken = false;
    lane.next = floor;
    lane.floor = floor;
    return dropped;
  }

  settleIn({ lane, sequence }: Arrival<Item>, isDurable: boolean): void {
    const known = this.#lanes.get(lane);
    if (known && isDurable && sequence >= known.floor) known.settled.add(sequence);
  }

  /** Lets go of about `bytes` that wait behind gaps. Returns how many that were. */
  letGo(bytes: number): number {
    let freed = 0;
    for (const { held } of this.#lanes.values()) {
      for (const [sequence, arrival] of held) {
        if (freed >= bytes) return freed;
        held.delete(sequence);
        freed += this.#drop(arrival);
      }
    }
    return freed;
  }

  state(): InboxState {
    // Lanes in which nothing was settled for good hold nothing that a restart would lose.
    const lanes = [...this.#lanes].filter(([, { settled }]) => settled.ranges.length > 0);
    return {
      channels: [...this.#channels].map(([channel, { floor, settled, refusals }]) => ({
        channel,
        floor,
        settled: settled.ranges,
        refused: [...refusals].map(([number, { code }]) => [number, code] as const),
      })),
      // From the floor on: what was handed over and not settled comes again after a restart.
      lanes: lanes.slice(-this.#limits.lanesStoredPerSenderMax).map(([lane, { floor, settled }]) => ({
        lane,
        floor,
        settled: settled.ranges,
      })),
    };
  }

  restore(state: InboxState): void {
    for (const { channel: name, floor, settled, refused } of state.channels) {
      const channel = new Channel(floor);
      channel.settled = RangeSet.of(settled);
      channel.highest = settled.at(-1)?.[1] ?? 0;
      for (const [number, code] of refused)
        channel.refusals.set(number, { code, message: "refused before the last restart" });
      this.#channels.set(name, channel);
    }
    for (const { lane: name, floor, settled } of state.lanes) {
      const lane = new Lane<Item>(floor, [...this.#channels.keys()].slice(-laneChannelsMax));
      lane.settled = RangeSet.of(settled);
      while (lane.settled.has(lane.next)) lane.next++;
      this.#lanes.set(name, lane);
    }
  }

  #drop({ channel, number }: Arrival<Item>): number {
    const known = this.#channels.get(channel);
    const bytes = known?.unsettled.get(number);
    if (bytes === undefined) return 0;
    known?.forget(number);
    this.pending--;
    this.bytes -= bytes;
    return bytes;
  }

  #newestChannel: Channel | undefined;
  #newestLane: Lane<Item> | undefined;
}

/** Channels of one lane that are remembered. */
const laneChannelsMax = 8;
