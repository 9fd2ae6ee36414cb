/**
 * Topic messages for subscribers that read more slowly than others publish. Each has a queue of its own with a bound, so
 * that a stopped subscriber costs nobody else anything; what happens at the bound is the publisher's choice, which is
 * that of the topic's policy: the oldest goes, the publisher waits, or the subscriber is disconnected.
 */
import { CausewayError, type Instant, later, type Now } from "@causeway/core-base";
import { Lane } from "@causeway/core-wire";
import type { LinkEntry } from "./links.ts";
import type { GatewayLimits, Link } from "./ports.ts";

/** What happens at the bound (`agp.TopicOverflow`), as two bits of the header's flags. */
export const Overflow = { dropOldest: 0, block: 1, disconnect: 2 } as const;
export type Overflow = (typeof Overflow)[keyof typeof Overflow];

const overflowShift = 4;

/** The publisher's choice; what this version does not know drops the oldest. */
export function overflowOf(flags: number): Overflow {
  const value = (flags >>> overflowShift) & 3;
  return value === Overflow.block || value === Overflow.disconnect ? value : Overflow.dropOldest;
}

interface Queue {
  readonly frames: Uint8Array[];
  /** Position of the oldest frame: shifting a long array costs its length. */
  first: number;
  bytes: number;
  dropped: number;
  /** When a publisher was told of drops last. */
  toldAt: Instant | undefined;
}

/** What an offered frame led to. */
export interface Offered {
  /** Messages that this subscriber lost since a publisher was told last; 0 when it is not time to tell one. */
  readonly toTell: number;
  readonly isDisconnected: boolean;
}

export class SlowSubscribers {
  readonly #limits: GatewayLimits;
  /** By lane: what is bulk does not hold up what is not. */
  readonly #queues = { [Lane.urgent]: new Map<LinkEntry, Queue>(), [Lane.bulk]: new Map<LinkEntry, Queue>() } as const;

  constructor(limits: GatewayLimits) {
    this.#limits = limits;
  }

  /** True when the subscriber's link is full, or what was published before still waits for it. */
  isBehind(entry: LinkEntry, lane: Lane): boolean {
    if (queuedIn(entry.link, lane) > this.#limits.topicLinkBytesMax) return true;
    const queues = this.#queues[lane];
    return queues.size > 0 && queues.has(entry);
  }

  /** Queues a frame that the caller does not change any more. */
  offer(entry: LinkEntry, frame: Uint8Array, overflow: Overflow, now: Now, lane: Lane): Offered {
    const queues = this.#queues[lane];
    const queue = queues.get(entry) ?? { frames: [], first: 0, bytes: 0, dropped: 0, toldAt: undefined };
    queues.set(entry, queue);
    const isFull = (): boolean =>
      queue.frames.length - queue.first >= this.#limits.topicQueueMessagesMax ||
      queue.bytes + frame.length > this.#limits.topicQueueBytesMax;
    if (isFull() && overflow === Overflow.disconnect) {
      this.forget(entry);
      entry.link.close(new CausewayError(tooSlow(entry)));
      return { toTell: queue.dropped + queue.frames.length - queue.first + 1, isDisconnected: true };
    }
    while (isFull() && queue.first < queue.frames.length) this.#dropOldest(queue);
    queue.frames.push(frame);
    queue.bytes += frame.length;
    if (queue.first > this.#limits.topicQueueMessagesMax) {
      queue.frames.splice(0, queue.first);
      queue.first = 0;
    }
    const { dropped, toldAt } = queue;
    const isTime = toldAt === undefined || later(toldAt, this.#limits.topicToldEveryMs) <= now.instant;
    if (dropped === 0 || !isTime) return { toTell: 0, isDisconnected: false };
    queue.dropped = 0;
    queue.toldAt = now.instant;
    return { toTell: dropped, isDisconnected: false };
  }

  /** The link has room: what waits goes out, as far as there is room. */
  handleWritable(entry: LinkEntry): void {
    this.#sendOn(entry, Lane.urgent);
    this.#sendOn(entry, Lane.bulk);
  }

  /** Waiting messages of all slow subscribers, their bytes, and how many subscribers are slow. */
  status(): { readonly messages: number; readonly bytes: number; readonly subscribers: number } {
    let [messages, bytes] = [0, 0];
    const subscribers = new Set<LinkEntry>();
    for (const queues of Object.values(this.#queues)) {
      for (const [entry, queue] of queues) {
        messages += queue.frames.length - queue.first;
        bytes += queue.bytes;
        subscribers.add(entry);
      }
    }
    return { messages, bytes, subscribers: subscribers.size };
  }

  forget(entry: LinkEntry): void {
    this.#queues[Lane.urgent].delete(entry);
    this.#queues[Lane.bulk].delete(entry);
  }

  #sendOn(entry: LinkEntry, lane: Lane): void {
    const queue = this.#queues[lane].get(entry);
    if (queue === undefined) return;
    while (queue.first < queue.frames.length && queuedIn(entry.link, lane) <= this.#limits.topicLinkBytesMax) {
      const frame = queue.frames[queue.first++] as Uint8Array;
      queue.bytes -= frame.length;
      entry.messagesOut++;
      entry.link.send(frame, 0, frame.length, lane);
    }
    if (queue.first === queue.frames.length) this.#queues[lane].delete(entry);
  }

  #dropOldest(queue: Queue): void {
    const frame = queue.frames[queue.first] as Uint8Array;
    queue.frames[queue.first++] = nothing;
    queue.bytes -= frame.length;
    queue.dropped++;
  }
}

/** What waits in one lane of a link. */
export function queuedIn(link: Pick<Link, "bufferedBytes" | "bufferedBulkBytes">, lane: Lane): number {
  return lane === Lane.bulk ? (link.bufferedBulkBytes ?? link.bufferedBytes) : link.bufferedBytes;
}

const nothing = new Uint8Array(0);

const tooSlow = (entry: LinkEntry) =>
  ({
    code: "CAUSEWAY_FORWARDING_OVERLOADED",
    message: `${entry.name} reads more slowly than the topic is published, and the topic's policy is to disconnect; connect again and read faster`,
  }) as const;
