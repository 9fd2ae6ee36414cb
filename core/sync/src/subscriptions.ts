/**
 * Interest in records, from both ends (AMSP-64 to AMSP-69, AMSP-85, AMSP-107). `ReceivedSubscriptions` is what a peer
 * asked us for, under its rate and count limits; `OwnSubscriptions` is what we ask our Level-2 gateways for, dropped
 * when unused for a time.
 */
import { type ErrorFacts, type Instant, later, nameBytesMax } from "@causeway/core-base";
import { type InterestingRecord, type InterestTopic, matchesInterest } from "@causeway/core-records";
import type { SyncLimits } from "./limits.ts";

/** What one peer subscribed to. Survives a reconnect; freed with the peer. */
export class ReceivedSubscriptions {
  readonly #topics = new Map<bigint, InterestTopic>();
  #windowStart: Instant | undefined;
  #windowCount = 0;

  get size(): number {
    return this.#topics.size;
  }

  topics(): ReadonlyMap<bigint, InterestTopic> {
    return this.#topics;
  }

  matches(record: InterestingRecord): boolean {
    for (const topic of this.#topics.values()) if (matchesInterest(topic, record)) return true;
    return false;
  }

  /** Takes a subscription, or says why not. Repeating one that is held is free. */
  add(id: bigint, topic: InterestTopic, now: Instant, limits: SyncLimits): ErrorFacts | undefined {
    const held = this.#topics.get(id);
    if (held !== undefined && topicText(held) === topicText(topic)) return undefined;
    const details = { subscription: id.toString() };
    if ([topic.agentIds, topic.skills, topic.tags, topic.domains].flat().some((entry) => entry.length > nameBytesMax)) {
      return {
        code: "CAUSEWAY_LIMIT_COUNT",
        message: `expected at most ${nameBytesMax} characters in each entry of an interest topic`,
        details: { ...details, limit: "nameBytesMax" },
      };
    }
    const entries = topic.agentIds.length + topic.skills.length + topic.tags.length + topic.domains.length;
    if (entries > limits.interestEntriesMax || (entries === 0 && !topic.all)) {
      return {
        code: "CAUSEWAY_LIMIT_COUNT",
        message: `expected 1 to ${limits.interestEntriesMax} entries in an interest topic, got ${entries}`,
        details: { ...details, limit: "interestEntriesMax" },
      };
    }
    if (held === undefined && this.#topics.size >= limits.subscriptionsActiveMax) {
      return {
        code: "CAUSEWAY_LIMIT_COUNT",
        message: `expected at most ${limits.subscriptionsActiveMax} active subscriptions; unsubscribe from unused ones`,
        details: { ...details, limit: "subscriptionsActiveMax" },
      };
    }
    if (this.#windowStart === undefined || now >= later(this.#windowStart, minuteMs)) {
      this.#windowStart = now;
      this.#windowCount = 0;
    }
    if (this.#windowCount >= limits.subscriptionsPerMinute) {
      return {
        code: "CAUSEWAY_LIMIT_RATE",
        message: `expected at most ${limits.subscriptionsPerMinute} new subscriptions per minute`,
        retryAfterMs: later(this.#windowStart, minuteMs) - now,
        details: { ...details, limit: "subscriptionsPerMinute" },
      };
    }
    this.#windowCount += 1;
    this.#topics.set(id, topic);
    return undefined;
  }

  remove(id: bigint): InterestTopic | undefined {
    const topic = this.#topics.get(id);
    this.#topics.delete(id);
    return topic;
  }

  clear(): void {
    this.#topics.clear();
  }
}

interface OwnSubscription {
  readonly id: bigint;
  readonly topic: InterestTopic;
  usedAt: Instant;
}

/** What this side asks for. */
export class OwnSubscriptions {
  readonly #byId = new Map<bigint, OwnSubscription>();
  readonly #byText = new Map<string, OwnSubscription>();
  #nextId: bigint;

  /** Ids start at random, so that those of an earlier run are not taken for ours. */
  constructor(firstId: bigint) {
    this.#nextId = firstId;
  }

  get size(): number {
    return this.#byId.size;
  }

  all(): IterableIterator<{ readonly id: bigint; readonly topic: InterestTopic }> {
    return this.#byId.values();
  }

  find(id: bigint): InterestTopic | undefined {
    return this.#byId.get(id)?.topic;
  }

  matches(record: InterestingRecord): boolean {
    for (const { topic } of this.#byId.values()) if (matchesInterest(topic, record)) return true;
    return false;
  }

  /** The same topic again is the same subscription. */
  add(topic: InterestTopic, now: Instant): { readonly id: bigint; readonly isNew: boolean } {
    const text = topicText(topic);
    const held = this.#byText.get(text);
    if (held !== undefined) {
      held.usedAt = now;
      return { id: held.id, isNew: false };
    }
    const entry = { id: this.#nextId, topic, usedAt: now };
    this.#nextId += 1n;
    this.#byId.set(entry.id, entry);
    this.#byText.set(text, entry);
    return { id: entry.id, isNew: true };
  }

  remove(id: bigint): boolean {
    const entry = this.#byId.get(id);
    if (entry === undefined) return false;
    this.#byText.delete(topicText(entry.topic));
    return this.#byId.delete(id);
  }

  touch(id: bigint, now: Instant): void {
    const entry = this.#byId.get(id);
    if (entry !== undefined) entry.usedAt = now;
  }

  /** Ids that nobody used for `idleMs`. */
  idle(now: Instant, idleMs: number): readonly bigint[] {
    return [...this.#byId.values()].filter((s) => later(s.usedAt, idleMs) <= now).map((s) => s.id);
  }

  nextIdle(idleMs: number): Instant | undefined {
    let due: Instant | undefined;
    for (const { usedAt } of this.#byId.values()) {
      const at = later(usedAt, idleMs);
      if (due === undefined || at < due) due = at;
    }
    return due;
  }
}

function topicText({ all, agentIds, skills, tags, domains }: InterestTopic): string {
  return JSON.stringify([all, [...agentIds].sort(), [...skills].sort(), [...tags].sort(), [...domains].sort()]);
}

const minuteMs = 60_000;
