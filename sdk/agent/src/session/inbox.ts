/**
 * The receiving half of reliable messages (AGP-58): a synchronous machine that hands each message over once and in the
 * order of its lane, whatever was lost, repeated or overtaken on the way, and answers repetitions with the outcome that
 * it remembers. What it remembers can be stored and restored, so that a restart hands nothing over twice.
 */
import type { SessionLimits } from "./limits.ts";

/** A message that has arrived, decrypted and attributed to its sender. */
export interface Arrival<Item> {
  readonly sender: string;
  readonly id: string;
  readonly lane: string;
  readonly sequence: number;
  readonly floor: number;
  readonly bytes: number;
  readonly item: Item;
}

/** Why a message was refused, in the form that is remembered. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
}

export type InboxEffect<Item> =
  | { readonly type: "deliver"; readonly arrival: Arrival<Item> }
  | { readonly type: "received"; readonly sender: string; readonly id: string }
  | { readonly type: "settled"; readonly sender: string; readonly id: string; readonly refusal: Refusal | undefined };

/** What has to survive a restart, of one sender. */
export interface InboxState {
  readonly lanes: readonly {
    readonly lane: string;
    readonly next: number;
    readonly settled: readonly { readonly id: string; readonly sequence: number; readonly refusal?: Refusal }[];
  }[];
}

interface Remembered {
  readonly id: string;
  readonly lane: string;
  readonly sequence: number;
  readonly bytes: number;
  isSettled: boolean;
  refusal: Refusal | undefined;
}

interface Lane<Item> {
  next: number;
  floor: number;
  readonly held: Map<number, Arrival<Item>>;
}

interface Sender<Item> {
  readonly lanes: Map<string, Lane<Item>>;
  readonly remembered: Map<string, Remembered>;
  pending: number;
  /** Of what is pending. */
  bytes: number;
}

/** Why an arrival was dropped without an answer. */
export type DropReason = "invalid position" | "outside the window" | "too much is pending" | "given up by the sender";

export class Inbox<Item> {
  readonly #limits: SessionLimits;
  readonly #senders = new Map<string, Sender<Item>>();
  #effects: InboxEffect<Item>[] = [];
  #bytes = 0;

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  /** False for a sender of whom nothing is remembered. */
  knows(senderName: string): boolean {
    return this.#senders.has(senderName);
  }

  /** Takes an arrival. Returns why it was dropped, or undefined when it was not; the sender repeats what is dropped. */
  handleArrival(arrival: Arrival<Item>): DropReason | undefined {
    const { sequence, floor } = arrival;
    if (sequence < 1 || floor < 1 || floor > sequence) return "invalid position";
    const sender = this.#sender(arrival.sender);
    const lane = this.#lane(sender, arrival.lane, floor);
    // Also a repetition moves the floor, and what waited behind a message that was given up goes on.
    this.#advance(sender, lane, floor);
    this.#deliver(lane);
    const known = sender.remembered.get(arrival.id);
    if (known) {
      this.#effects.push(
        known.isSettled
          ? { type: "settled", sender: arrival.sender, id: known.id, refusal: known.refusal }
          : { type: "received", sender: arrival.sender, id: known.id },
      );
      return undefined;
    }
    if (sequence < lane.next) return "given up by the sender";
    if (sequence >= lane.next + this.#limits.laneSpanMax) return "outside the window";
    const { pendingPerSenderMax, senderBytesMax } = this.#limits;
    if (
      sender.pending >= pendingPerSenderMax ||
      sender.bytes + arrival.bytes > senderBytesMax ||
      !this.#makeRoom(arrival.bytes, arrival.sender)
    ) {
      return "too much is pending";
    }
    sender.remembered.set(arrival.id, {
      id: arrival.id,
      lane: arrival.lane,
      sequence,
      bytes: arrival.bytes,
      isSettled: false,
      refusal: undefined,
    });
    sender.pending++;
    this.#count(sender, arrival.bytes);
    lane.held.set(sequence, arrival);
    this.#deliver(lane);
    if (lane.held.has(sequence)) this.#effects.push({ type: "received", sender: arrival.sender, id: arrival.id });
    return undefined;
  }

  /** Says of what is not settled yet that it is here and waits, so that its sender repeats it rarely. */
  acknowledge(sender: string, id: string): void {
    const entry = this.#senders.get(sender)?.remembered.get(id);
    if (entry && !entry.isSettled) this.#effects.push({ type: "received", sender, id });
  }

  /** The application took a delivered message, or refused it. */
  settle(senderName: string, id: string, refusal?: Refusal): void {
    const sender = this.#senders.get(senderName);
    const entry = sender?.remembered.get(id);
    if (!sender || !entry || entry.isSettled) return;
    entry.isSettled = true;
    entry.refusal = refusal && { ...refusal, message: refusal.message.slice(0, refusalCharsMax) };
    sender.pending--;
    this.#count(sender, -entry.bytes);
    this.#effects.push({ type: "settled", sender: senderName, id, refusal: entry.refusal });
    this.#forgetOldest(sender);
  }

  /** Forgets a lane that its sender will not use again. Ids stay remembered. */
  closeLane(senderName: string, lane: string): void {
    const sender = this.#senders.get(senderName);
    const known = sender?.lanes.get(lane);
    if (sender && known && known.held.size === 0) sender.lanes.delete(lane);
  }

  drain(): readonly InboxEffect<Item>[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** What to store of a sender before its messages are acknowledged. */
  state(senderName: string): InboxState {
    const sender = this.#senders.get(senderName);
    if (!sender) return { lanes: [] };
    const settled = new Map<string, { id: string; sequence: number; refusal?: Refusal }[]>();
    const recent = [...sender.lanes].slice(-this.#limits.lanesStoredPerSenderMax);
    for (const [lane] of recent) settled.set(lane, []);
    for (const { id, lane, sequence, isSettled, refusal } of sender.remembered.values()) {
      if (!isSettled || sequence < (sender.lanes.get(lane)?.floor ?? Infinity)) continue;
      settled.get(lane)?.push({ id, sequence, ...(refusal && { refusal }) });
    }
    // From the floor on: what was handed over and not settled comes again after a restart.
    return { lanes: recent.map(([lane, { floor }]) => ({ lane, next: floor, settled: settled.get(lane) ?? [] })) };
  }

  /** Takes over what was stored, before the first arrival of the sender. */
  restore(senderName: string, state: InboxState): void {
    const sender = this.#sender(senderName);
    for (const { lane: name, next, settled } of state.lanes) {
      const lane: Lane<Item> = { next, floor: next, held: new Map() };
      sender.lanes.set(name, lane);
      const sequences = new Set<number>();
      for (const { id, sequence, refusal } of settled) {
        sender.remembered.set(id, { id, lane: name, sequence, bytes: 0, isSettled: true, refusal });
        sequences.add(sequence);
      }
      while (sequences.has(lane.next)) lane.next++;
      sequences.forEach((sequence) => {
        if (sequence > lane.next) lane.held.set(sequence, alreadySettled);
      });
    }
  }

  #sender(name: string): Sender<Item> {
    const known = this.#senders.get(name);
    const sender = known ?? { lanes: new Map(), remembered: new Map(), pending: 0, bytes: 0 };
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

  #lane(sender: Sender<Item>, name: string, floor: number): Lane<Item> {
    const known = sender.lanes.get(name);
    const lane = known ?? { next: floor, floor, held: new Map<number, Arrival<Item>>() };
    sender.lanes.delete(name);
    sender.lanes.set(name, lane);
    if (!known && sender.lanes.size > this.#limits.lanesPerSenderMax) {
      for (const [oldest, { held }] of sender.lanes) {
        if (held.size > 0 || oldest === name) continue;
        sender.lanes.delete(oldest);
        break;
      }
    }
    return lane;
  }

  #advance(sender: Sender<Item>, lane: Lane<Item>, floor: number): void {
    if (floor <= lane.floor) return;
    lane.floor = floor;
    if (floor <= lane.next) return;
    for (const [sequence, arrival] of [...lane.held]) {
      if (sequence >= floor) continue;
      // The sender has given it up; handing it over now would surprise both sides.
      lane.held.delete(sequence);
      this.#drop(sender, arrival);
    }
    lane.next = floor;
  }

  #drop(sender: Sender<Item>, arrival: Arrival<Item>): void {
    const entry = sender.remembered.get(arrival.id);
    if (!entry || entry.isSettled) return;
    sender.remembered.delete(arrival.id);
    sender.pending--;
    this.#count(sender, -entry.bytes);
  }

  #count(sender: Sender<Item>, bytes: number): void {
    sender.bytes += bytes;
    this.#bytes += bytes;
  }

  /**
   * Makes room for `bytes` of `name` by letting go of what waits behind gaps, of the senders that hold most. Whoever
   * leaves a gap open could keep everybody else out otherwise. True when there is room now.
   */
  #makeRoom(bytes: number, name: string): boolean {
    const { bytesMax } = this.#limits;
    if (this.#bytes + bytes <= bytesMax) return true;
    const others = [...this.#senders].filter(([other]) => other !== name).map(([, sender]) => sender);
    others.sort((a, b) => b.bytes - a.bytes);
    for (const sender of others) {
      for (const { held } of sender.lanes.values()) {
        for (const [sequence, arrival] of held) {
          if (this.#bytes + bytes <= bytesMax) return true;
          if (arrival === alreadySettled) continue;
          held.delete(sequence);
          this.#drop(sender, arrival);
        }
      }
    }
    return this.#bytes + bytes <= bytesMax;
  }

  #deliver(lane: Lane<Item>): void {
    for (let arrival = lane.held.get(lane.next); arrival; arrival = lane.held.get(lane.next)) {
      lane.held.delete(lane.next);
      lane.next++;
      if (arrival !== alreadySettled) this.#effects.push({ type: "deliver", arrival });
    }
  }

  #forgetOldest(sender: Sender<Item>): void {
    if (sender.remembered.size <= this.#limits.rememberedPerSenderMax) return;
    for (const entry of sender.remembered.values()) {
      if (!entry.isSettled) continue;
      sender.remembered.delete(entry.id);
      return;
    }
  }
}

/** Characters of a refusal's sentence that are remembered and sent. */
export const refusalCharsMax = 1_000;

/** Stands in a restored lane for a message that was settled before the restart. */
const alreadySettled: Arrival<never> = {
  sender: "",
  id: "",
  lane: "",
  sequence: 0,
  floor: 0,
  bytes: 0,
  item: undefined as never,
};
