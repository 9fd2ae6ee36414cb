/**
 * Topics that this gateway keeps for their owners (AGP-12): created, described, listed, re-policied and deleted at run
 * time; gone after their idle time. Publishing and subscribing are checked against the policy where the topic is kept;
 * elsewhere the end-to-end group is what keeps strangers out.
 */
import {
  type AgentId,
  asUnixMs,
  domainOf,
  type ErrorFacts,
  type Instant,
  later,
  type Now,
  parseSpiffeId,
  refuse,
} from "@causeway/core-base";
import type { agp } from "@causeway/core-wire";
import type { Topic, TopicPolicy, TopicsEffect } from "./effects.ts";
import { isTopicOf, parseTopic, type TopicName } from "./topic-name.ts";

interface Entry {
  topic: Topic;
  /** Of the last publication, or of the last subscriber's end. */
  usedAt: Instant;
}

/** Rules of a policy list, each a SPIFFE ID or a prefix that ends in '/'. */
const policyEntriesMax = 1_000;
/** Publications that an owner may be asked to keep. */
const retainedMax = 100;
/** The last overflow policy of this version: disconnect. */
const overflowLast = 2;

export class TopicTable {
  readonly #max: number;
  readonly #perOwnerMax: () => number;
  readonly #isWanted: (topic: Topic) => boolean;
  readonly #emit: (effect: TopicsEffect) => void;
  readonly #entries = new Map<TopicName, Entry>();
  readonly #perOwner = new Map<AgentId, number>();

  constructor(options: {
    readonly topicsMax: number;
    /** Asked for each time, as it may change. */
    readonly topicsPerOwnerMax: () => number;
    /** True when a subscriber other than its owner is known: such a topic isn't idle. */
    readonly isWanted: (topic: Topic) => boolean;
    readonly emit: (effect: TopicsEffect) => void;
  }) {
    this.#max = options.topicsMax;
    this.#perOwnerMax = options.topicsPerOwnerMax;
    this.#isWanted = options.isWanted;
    this.#emit = options.emit;
  }

  restore(now: Now, topic: Topic): void {
    this.#put(now, topic);
  }

  list(): readonly Topic[] {
    return [...this.#entries.values()].map((entry) => entry.topic).sort((a, b) => (a.topic < b.topic ? -1 : 1));
  }

  get(topic: TopicName): Topic | undefined {
    return this.#entries.get(topic)?.topic;
  }

  /** Creates, or changes the policy of one's own. Throws the refusal. */
  create(now: Now, caller: AgentId, name: string, policy: agp.TopicPolicy | undefined): Topic {
    const topic = parseTopic(name);
    if (!isTopicOf(caller, topic)) {
      throw refuse(
        "CAUSEWAY_TOPIC_NOT_ALLOWED",
        `expected a topic below ${caller.slice("spiffe://".length)}/, got ${topic}; topics lie below their owner's Agent ID`,
      );
    }
    const held = this.#entries.get(topic)?.topic;
    if (held === undefined) this.#checkRoom(caller);
    const made: Topic = {
      topic,
      owner: caller,
      policy: readPolicy(policy),
      createdUnixMs: held?.createdUnixMs ?? asUnixMs(now.unix),
    };
    if (held !== undefined && JSON.stringify(held) === JSON.stringify(made)) return held;
    this.#put(now, made);
    this.#emit({ kind: "persist", topic: made });
    this.#emit({
      kind: "event",
      type: held === undefined ? "topic.created" : "topic.changed",
      topic: made,
      subject: topic,
      cause: `by ${caller}`,
    });
    return made;
  }

  /** Throws the refusal. */
  delete(caller: AgentId, name: string): Topic {
    const held = this.describe(name);
    if (held.owner !== caller)
      throw refuse("CAUSEWAY_TOPIC_NOT_ALLOWED", `only ${held.owner}, which created ${held.topic}, may delete it`);
    this.#remove(held, "topic.deleted", `by ${caller}`);
    return held;
  }

  /** Throws the refusal. */
  describe(name: string): Topic {
    const held = this.#entries.get(parseTopic(name))?.topic;
    if (held === undefined)
      throw refuse(
        "CAUSEWAY_TOPIC_NOT_FOUND",
        `no topic ${name} is kept here; create it, or ask the gateway of its owner`,
      );
    return held;
  }

  /** Why the source may not publish; undefined also for topics that are kept elsewhere. */
  checkPublish(now: Now, source: string, topic: TopicName): ErrorFacts | undefined {
    const entry = this.#entries.get(topic);
    if (entry === undefined) return undefined;
    const { owner, policy } = entry.topic;
    const isAllowed =
      source === owner ||
      (policy.publishers.length === 0
        ? source.startsWith(`spiffe://${domainOf(owner)}/`)
        : isListed(policy.publishers, source));
    if (!isAllowed)
      return { code: "CAUSEWAY_TOPIC_NOT_ALLOWED", message: `the policy of ${topic} does not let ${source} publish` };
    entry.usedAt = now.instant;
    return undefined;
  }

  /** Why the subscriber may not have the topic. */
  checkSubscribe(subscriber: string, topic: TopicName): ErrorFacts | undefined {
    const held = this.#entries.get(topic)?.topic;
    if (held === undefined || maySubscribe(held, subscriber)) return undefined;
    return {
      code: "CAUSEWAY_TOPIC_NOT_ALLOWED",
      message: `the policy of ${topic} does not let ${subscriber} subscribe`,
    };
  }

  /** When the next topic may be idle for long enough. */
  deadline(): Instant | undefined {
    let best: Instant | undefined;
    for (const { topic, usedAt } of this.#entries.values()) {
      if (topic.policy.idleExpiryMs === 0) continue;
      const at = later(usedAt, topic.policy.idleExpiryMs);
      if (best === undefined || at < best) best = at;
    }
    return best;
  }

  expire(now: Now): void {
    for (const entry of [...this.#entries.values()]) {
      const { topic, usedAt } = entry;
      if (topic.policy.idleExpiryMs === 0 || later(usedAt, topic.policy.idleExpiryMs) > now.instant) continue;
      if (this.#isWanted(topic)) entry.usedAt = now.instant;
      else this.#remove(topic, "topic.expired", `idle for ${topic.policy.idleExpiryMs} ms`);
    }
  }

  #put(now: Now, topic: Topic): void {
    if (!this.#entries.has(topic.topic)) this.#perOwner.set(topic.owner, (this.#perOwner.get(topic.owner) ?? 0) + 1);
    this.#entries.set(topic.topic, { topic, usedAt: now.instant });
  }

  #remove(topic: Topic, type: "topic.deleted" | "topic.expired", cause: string): void {
    this.#entries.delete(topic.topic);
    const left = (this.#perOwner.get(topic.owner) ?? 1) - 1;
    if (left > 0) this.#perOwner.set(topic.owner, left);
    else this.#perOwner.delete(topic.owner);
    this.#emit({ kind: "erase", topic: topic.topic });
    this.#emit({ kind: "event", type, topic, subject: topic.topic, cause });
  }

  #checkRoom(owner: AgentId): void {
    const isFull = this.#entries.size >= this.#max;
    if (!isFull && (this.#perOwner.get(owner) ?? 0) < this.#perOwnerMax()) return;
    const limit = isFull ? "topicsMax" : "topicsPerOwnerMax";
    throw refuse("CAUSEWAY_LIMIT_COUNT", `expected room for another topic, got ${limit} reached; delete one first`, {
      details: { limit },
    });
  }
}

/** Whether the topic's policy lets the agent subscribe. */
export function maySubscribe({ owner, policy }: Topic, subscriber: string): boolean {
  return policy.subscribers.length === 0 || owner === subscriber || isListed(policy.subscribers, subscriber);
}

function readPolicy(policy: agp.TopicPolicy | undefined): TopicPolicy {
  const { publishers = [], subscribers = [], idleExpiryMs = 0n, overflow = 0 } = policy ?? {};
  const { retained = 0, retainedMs = 0n } = policy ?? {};
  for (const list of [publishers, subscribers]) {
    if (list.length > policyEntriesMax)
      throw refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `expected at most ${policyEntriesMax} entries in a policy list, got ${list.length}`,
      );
    for (const each of list) checkPolicyEntry(each);
  }
  if (idleExpiryMs > BigInt(Number.MAX_SAFE_INTEGER) || retainedMs > BigInt(Number.MAX_SAFE_INTEGER))
    throw refuse("CAUSEWAY_NAME_INVALID", "expected idle_expiry_ms and retained_ms below 2^53");
  if (overflow > overflowLast)
    throw refuse("CAUSEWAY_UNSUPPORTED", `expected an overflow policy from 0 to ${overflowLast}, got ${overflow}`);
  if (retained > retainedMax) {
    throw refuse("CAUSEWAY_LIMIT_COUNT", `expected at most ${retainedMax} retained publications, got ${retained}`, {
      details: { limit: "retainedMax" },
    });
  }
  return {
    publishers: [...publishers],
    subscribers: [...subscribers],
    idleExpiryMs: Number(idleExpiryMs),
    overflow,
    retained,
    retainedMs: Number(retainedMs),
  };
}

/** `spiffe://domain/…`, or a prefix that ends in '/', for which a bare domain is enough. */
function checkPolicyEntry(text: string): void {
  if (!text.startsWith("spiffe://"))
    throw refuse(
      "CAUSEWAY_NAME_INVALID",
      `expected a SPIFFE ID or a prefix that ends in '/', got ${JSON.stringify(text.slice(0, 100))}`,
    );
  parseSpiffeId(text.endsWith("/") ? `${text}x` : text);
}

function isListed(list: readonly string[], source: string): boolean {
  return list.some((each) => (each.endsWith("/") ? source.startsWith(each) : each === source));
}
