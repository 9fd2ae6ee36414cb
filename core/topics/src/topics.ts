/**
 * Publish and subscribe of one gateway (AGP-9, AGP-12, AGP-15, AGP-19, AGP-20): the topic table, subscriptions of
 * agents attached here, interest of other gateways, and who gets a copy of a message. Knows neither gRPC nor payloads.
 * Invariants: one copy for each link and message; nothing goes back to where it came from; a Level-1 gateway carries
 * nothing from neighbour to neighbour; after a link or neighbour is gone nothing is sent to it.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type AgentId,
  agentOf,
  CausewayError,
  type ErrorFacts,
  type GatewayUri,
  type Instant,
  isCausewayError,
  isPrefixOf,
  later,
  type Machine,
  type Now,
  refuse,
  type SpiffeId,
  Timers,
} from "@causeway/core-base";
import { agp, encodeFrame, type FrameScan, gatewaysOf, type LinkId, toErrorDetail } from "@causeway/core-wire";
import { Duplicates } from "./duplicates.ts";
import type { Topic, TopicArrival, TopicPeer, TopicPolicy, TopicsEffect } from "./effects.ts";
import { type Copy, Interest } from "./interest.ts";
import { PatternIndex } from "./subscriptions.ts";
import { parseTopicPattern, type TopicName, type TopicPattern } from "./topic-name.ts";
import { TopicTable } from "./topic-table.ts";

/** Copies of one message. The arrays are shared: nobody changes them. */
export interface FanOut {
  /** Local attachments, the publisher's own link left out. */
  readonly links: readonly LinkId[];
  /**
   * Neighbours, each once, and whom each copy is for (`addressCopy`). Call `decrementTtl` once before sending to them;
   * empty when the TTL is used up.
   */
  readonly peers: readonly Copy[];
  /** Set when the message may not be published: answer the publisher. */
  readonly refusal?: ErrorFacts;
  /** Why there is nothing, or less, to do. */
  readonly reason: "fan-out" | "duplicate" | "no-subscriber" | "refused" | "ttl-exhausted";
}

export interface TopicsOptions {
  readonly self: GatewayUri;
  readonly level: 1 | 2;
  /** Grows at each restart. */
  readonly epoch: bigint;
  /** Default 100,000; more are refused. */
  readonly topicsMax?: number;
  /** Default 1,000; more are refused. */
  readonly topicsPerOwnerMax?: number;
  /** Default 1,000; more are refused. */
  readonly subscriptionsPerLinkMax?: number;
  /** Patterns that one gateway may want. Default 4,096; more subscriptions, and a larger announced set, are refused. */
  readonly patternsMax?: number;
  /** Origins that one neighbour may announce. Default 10,000; more are refused. */
  readonly originsMax?: number;
  /** Messages that the duplicate filter remembers. Default 65,536. */
  readonly duplicatesMax?: number;
  /** Changes of interest are collected for so long before they are told. Default 20 ms. */
  readonly interestDelayMs?: number;
}

interface Subscriber {
  readonly agentId: AgentId;
  readonly patterns: Set<TopicPattern>;
}

/** Topic table, subscriptions and interest of one gateway. */
export class Topics implements Machine<TopicsEffect> {
  readonly #options: TopicsOptions;
  readonly #table: TopicTable;
  readonly #subscribers = new Map<LinkId, Subscriber>();
  readonly #local = new PatternIndex<LinkId>();
  readonly #interest: Interest;
  readonly #duplicates: Duplicates;
  readonly #timers = new Timers<"interest" | "idle">();
  /** Who gets a topic's messages here, as long as no subscription and no policy changes. */
  readonly #reached = new Map<TopicName, { readonly set: ReadonlySet<LinkId>; readonly list: readonly LinkId[] }>();
  #effects: TopicsEffect[] = [];

  constructor(options: TopicsOptions) {
    this.#options = options;
    this.#table = new TopicTable({
      topicsMax: options.topicsMax ?? topicsMaxDefault,
      topicsPerOwnerMax: () => options.topicsPerOwnerMax ?? 1_000,
      isWanted: (topic) => this.#isWanted(topic),
      emit: (effect) => this.#effects.push(effect),
    });
    this.#interest = new Interest({
      self: options.self,
      level: options.level,
      epoch: options.epoch,
      originsMax: options.originsMax ?? 10_000,
      patternsMax: options.patternsMax ?? patternsMaxDefault,
    });
    this.#duplicates = new Duplicates(options.duplicatesMax ?? 65_536);
  }

  /** Takes back what was persisted. Idle times begin anew. */
  restore(now: Now, topics: readonly Topic[]): void {
    this.#reached.clear();
    for (const topic of topics) this.#table.restore(now, topic);
    this.#armIdle();
  }

  /** Serves create, describe, list and delete for an authenticated caller; refusals are in the result. */
  handleCommand(now: Now, caller: AgentId, command: agp.TopicCommand): agp.TopicResult {
    this.#reached.clear();
    try {
      const topics = this.#serve(now, caller, command.command);
      this.#armIdle();
      return create(agp.TopicResultSchema, { request: command.request, topics: topics.map(infoOf) });
    } catch (thrown) {
      if (!isCausewayError(thrown)) throw thrown;
      return create(agp.TopicResultSchema, { request: command.request, error: toErrorDetail(thrown) });
    }
  }

  /** Returns undefined, or why not. Subscribing twice to the same pattern changes nothing. */
  handleSubscribe(now: Now, link: LinkId, subscriber: AgentId, pattern: string): CausewayError | undefined {
    const parsed = parsePattern(pattern);
    if (isCausewayError(parsed)) return parsed;
    const refusal = this.#table.checkSubscribe(subscriber, parsed as string as TopicName);
    if (refusal !== undefined) return new CausewayError(refusal);
    const held = this.#subscribers.get(link) ?? { agentId: subscriber, patterns: new Set<TopicPattern>() };
    const limit = this.#options.subscriptionsPerLinkMax ?? 1_000;
    if (!held.patterns.has(parsed) && held.patterns.size >= limit) {
      return refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `expected at most ${limit} subscriptions of one attachment; end one first`,
        { details: { limit: "subscriptionsPerLinkMax" } },
      );
    }
    const patternsMax = this.#options.patternsMax ?? patternsMaxDefault;
    if (!this.#local.has(parsed) && this.#local.size >= patternsMax) {
      return refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `expected at most ${patternsMax} different patterns at this gateway; use wildcards`,
        { details: { limit: "patternsMax" } },
      );
    }
    this.#reached.clear();
    this.#subscribers.set(link, held);
    held.patterns.add(parsed);
    if (this.#local.add(parsed, link)) this.#interestChanged(now);
    return undefined;
  }

  /** Ending a subscription that isn't there changes nothing. */
  handleUnsubscribe(now: Now, link: LinkId, pattern: string): CausewayError | undefined {
    const parsed = parsePattern(pattern);
    if (isCausewayError(parsed)) return parsed;
    this.#reached.clear();
    this.#subscribers.get(link)?.patterns.delete(parsed);
    if (this.#local.delete(parsed, link)) this.#interestChanged(now);
    return undefined;
  }

  /** Ends every subscription of a link. */
  handleLinkDown(now: Now, link: LinkId): void {
    const held = this.#subscribers.get(link);
    if (held === undefined) return;
    this.#reached.clear();
    this.#subscribers.delete(link);
    for (const pattern of held.patterns) this.#local.delete(pattern, link);
    this.#interestChanged(now);
  }

  /** A data link to a neighbour stands; it knows nothing yet. */
  handlePeerUp(now: Now, peer: TopicPeer): void {
    this.#interest.peerUp(peer);
    this.#interestChanged(now);
  }

  handlePeerDown(now: Now, peer: GatewayUri): void {
    this.#interest.peerDown(peer);
    this.#interestChanged(now);
  }

  /** Returns why the frame was refused, undefined when it was taken or rightly ignored. */
  handleInterest(now: Now, from: GatewayUri, interest: agp.TopicInterest): ErrorFacts | undefined {
    const refusal = this.#interest.handle(from, interest);
    if (refusal === undefined) this.#interestChanged(now);
    return refusal;
  }

  /** Who gets the scanned topic message. */
  fanOut(now: Now, scan: FrameScan, arrival: TopicArrival): FanOut {
    const topic = scan.target() as TopicName;
    const source = scan.source();
    const refusal = this.#table.checkPublish(now, agentOf(source as SpiffeId), topic);
    if (refusal !== undefined) return { links: none, peers: none, refusal, reason: "refused" };
    const from = arrival.kind === "peer" ? arrival.peer : undefined;
    const passages = this.#duplicates;
    const isFirst = passages.note(source, scan.buf, scan.messageIdStart);
    if (from !== undefined) passages.noteSentTo(from);
    const links = passages.deliverHere() ? none : this.#linksFor(topic, arrival);
    const listed = from === undefined ? undefined : gatewaysOf(scan);
    const interested = this.#interest.next(topic, from, listed);
    const wanted = interested.length === 0 ? none : interested.filter(({ peer }) => !passages.wasSentTo(peer));
    if (wanted.length > 0 && scan.hopTtl <= 1) return { links, peers: none, reason: "ttl-exhausted" };
    for (const { peer } of wanted) passages.noteSentTo(peer);
    const isNothing = links.length === 0 && wanted.length === 0;
    return { links, peers: wanted, reason: !isNothing ? "fan-out" : isFirst ? "no-subscriber" : "duplicate" };
  }

  /** A topic that is kept here. */
  find(topic: string): Topic | undefined {
    return this.#table.get(topic as TopicName);
  }

  /** Topics that this gateway keeps at most. */
  get topicsMax(): number {
    return this.#options.topicsMax ?? topicsMaxDefault;
  }

  /** Topics kept here, by name. */
  topics(): readonly Topic[] {
    return this.#table.list();
  }

  /** Interest of other gateways and the neighbour that leads to each (AGP-59). */
  origins(): ReturnType<Interest["origins"]> {
    return this.#interest.origins();
  }

  drain(): readonly TopicsEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  deadline(): Instant | undefined {
    return this.#timers.deadline();
  }

  handleTimeout(now: Now): void {
    for (const name of this.#timers.takeDue(now.instant)) {
      if (name === "idle") {
        this.#reached.clear();
        this.#table.expire(now);
        this.#armIdle();
      } else {
        this.#tell();
      }
    }
  }

  #serve(now: Now, caller: AgentId, command: agp.TopicCommand["command"]): readonly Topic[] {
    switch (command.case) {
      case "create":
        return [this.#table.create(now, caller, command.value.topic, command.value.policy)];
      case "describe":
        return [this.#table.describe(command.value.topic)];
      case "delete":
        return [this.#table.delete(caller, command.value.topic)];
      case "list": {
        const { prefix } = command.value;
        const all = this.#table.list().filter((topic) => prefix === "" || isPrefixOf(prefix, topic.topic));
        return all.slice(0, listMax);
      }
      default:
        throw refuse("CAUSEWAY_FRAME_UNKNOWN", "expected a topic command that version 1 knows, got none");
    }
  }

  #linksFor(topic: TopicName, arrival: TopicArrival): readonly LinkId[] {
    let all = this.#reached.get(topic);
    if (all === undefined) {
      if (this.#reached.size >= reachedMax) this.#reached.clear();
      const set = this.#subscribersOf(topic);
      all = { set, list: [...set] };
      this.#reached.set(topic, all);
    }
    if (arrival.kind !== "agent" || !all.set.has(arrival.link)) return all.list;
    return all.list.filter((link) => link !== arrival.link);
  }

  #subscribersOf(topic: TopicName): ReadonlySet<LinkId> {
    const links = new Set<LinkId>();
    this.#local.collect(topic, links);
    // A wildcard must not reach what the topic's own policy withholds.
    for (const link of links) {
      const subscriber = this.#subscribers.get(link);
      if (subscriber === undefined || this.#table.checkSubscribe(subscriber.agentId, topic) !== undefined)
        links.delete(link);
    }
    return links;
  }

  /** Owners hear their own topics, where members say that they leave: that alone is no use of one. */
  #isWanted({ topic, owner }: Topic): boolean {
    const links = new Set<LinkId>();
    this.#local.collect(topic, links);
    const isHeard = [...links].some((link) => this.#subscribers.get(link)?.agentId !== owner);
    return isHeard || this.#interest.isWanted(topic);
  }

  #armIdle(): void {
    const at = this.#table.deadline();
    if (at === undefined) this.#timers.clear("idle");
    else this.#timers.set("idle", at);
  }

  #interestChanged(now: Now): void {
    if (this.#timers.at("interest") === undefined)
      this.#timers.set("interest", later(now.instant, this.#options.interestDelayMs ?? 20));
  }

  #tell(): void {
    this.#interest.setOwn(this.#local.patterns());
    for (const { peer, interest } of this.#interest.announcements()) {
      this.#effects.push({ kind: "send", peer, frame: encodeFrame({ case: "topicInterest", value: interest }) });
    }
  }
}

function parsePattern(text: string): TopicPattern | CausewayError {
  try {
    return parseTopicPattern(text);
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown;
    throw thrown;
  }
}

function infoOf(topic: Topic): {
  topic: string;
  owner: string;
  policy: MessageInitShape<typeof agp.TopicPolicySchema>;
  createdUnixMs: bigint;
} {
  return {
    topic: topic.topic,
    owner: topic.owner,
    policy: policyMessage(topic.policy),
    createdUnixMs: BigInt(topic.createdUnixMs),
  };
}

/** The policy as it is on the wire, and stored. */
export function policyMessage(policy: TopicPolicy): MessageInitShape<typeof agp.TopicPolicySchema> {
  const { publishers, subscribers, idleExpiryMs, overflow, retained, retainedMs } = policy;
  return {
    publishers: [...publishers],
    subscribers: [...subscribers],
    idleExpiryMs: BigInt(idleExpiryMs),
    overflow,
    retained,
    retainedMs: BigInt(retainedMs),
  };
}

/** Topics in one answer to a list; ask with a longer prefix for the rest. */
const listMax = 1_000;
/** Topics whose subscribers are remembered; beyond, all are looked up anew. */
const reachedMax = 10_000;
const patternsMaxDefault = 4_096;
const topicsMaxDefault = 100_000;
const none: readonly never[] = [];
