/** Drives the topics machine: subscriptions and commands of agents, interest of neighbours, topics on the disk. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type AgentId, CausewayError, type Now } from "@causeway/core-base";
import {
  maySubscribe,
  parseTopic,
  policyMessage,
  type Topic,
  type TopicPeer,
  Topics,
  type TopicsEffect,
} from "@causeway/core-topics";
import { agp, encodeFrame, FrameKind, type FrameScan, toErrorDetail } from "@causeway/core-wire";
import type { BoundedLog } from "./bounded-log.ts";
import { decodeBody } from "./decode-body.ts";
import type { EventFeed } from "./event-feed.ts";
import type { LinkEntry, Links } from "./links.ts";
import type { GatewayConfig, GatewayDeps, GatewayLimits } from "./ports.ts";
import { WakeUp } from "./wake-up.ts";

/** What the driver works with. */
export interface TopicsParts {
  readonly config: GatewayConfig;
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly links: Links;
  readonly security: BoundedLog;
  readonly events: EventFeed;
}

/** Topics of this gateway and the interest of its neighbours. */
export class TopicsDriver {
  readonly machine: Topics;
  readonly #parts: TopicsParts;
  readonly #wake: WakeUp;
  /** Patterns of each subscribed link, for the admin interface. */
  readonly #patterns = new Map<LinkEntry, Set<string>>();

  constructor(parts: TopicsParts) {
    const { config, deps, limits } = parts;
    this.#parts = parts;
    this.machine = new Topics({
      self: config.gatewayUri,
      level: config.level,
      // Unix time grows from one start to the next.
      epoch: BigInt(deps.scheduler.now().unix),
      get subscriptionsPerLinkMax() {
        return limits.subscriptionsPerAgentMax;
      },
      get topicsPerOwnerMax() {
        return limits.topicsPerAgentMax;
      },
    });
    this.#wake = new WakeUp(deps.scheduler, () => this.#input((now) => this.machine.handleTimeout(now)));
  }

  start(): void {
    const kept = this.#parts.deps.store.topics().map((each): Topic => {
      const policy = fromBinary(agp.TopicPolicySchema, each.policy);
      return {
        topic: parseTopic(each.topic),
        owner: each.owner,
        policy: {
          publishers: policy.publishers,
          subscribers: policy.subscribers,
          idleExpiryMs: Number(policy.idleExpiryMs),
          overflow: policy.overflow,
          retained: policy.retained,
          retainedMs: Number(policy.retainedMs),
        },
        createdUnixMs: each.createdAt,
      };
    });
    this.#input((now) => this.machine.restore(now, kept));
  }

  stop(): void {
    this.#wake.cancel();
  }

  /** Takes a subscribe, unsubscribe or topic command frame of an attached agent; false when it is of another kind. */
  handleFrame(entry: LinkEntry, agentId: AgentId, scan: FrameScan): boolean {
    switch (scan.kind) {
      case FrameKind.subscribe: {
        const { request, topic } = decodeBody(agp.SubscribeSchema, scan);
        this.#acknowledge(entry, request, (now) => {
          const refused = this.machine.handleSubscribe(now, entry.id, agentId, topic);
          if (refused === undefined && !this.#patternsOf(entry).has(topic)) {
            this.#patternsOf(entry).add(topic);
            this.#tellMember("topic.joined", topic, agentId);
          }
          return refused;
        });
        return true;
      }
      case FrameKind.unsubscribe: {
        const { request, topic } = decodeBody(agp.UnsubscribeSchema, scan);
        this.#acknowledge(entry, request, (now) => {
          if (this.#patternsOf(entry).delete(topic)) this.#tellMember("topic.left", topic, agentId);
          return this.machine.handleUnsubscribe(now, entry.id, topic);
        });
        return true;
      }
      case FrameKind.topicCommand: {
        const command = decodeBody(agp.TopicCommandSchema, scan);
        entry.link.send(encodeFrame({ case: "topicResult", value: this.command(agentId, command) }));
        return true;
      }
      default:
        return false;
    }
  }

  /** Serves a command; stored when this returns. */
  command(caller: AgentId, command: agp.TopicCommand): agp.TopicResult {
    try {
      let result: agp.TopicResult | undefined;
      this.#input((now) => {
        result = this.machine.handleCommand(now, caller, command);
      });
      return result ?? create(agp.TopicResultSchema, { request: command.request });
    } catch (error) {
      return create(agp.TopicResultSchema, {
        request: command.request,
        error: toErrorDetail(CausewayError.from(error)),
      });
    }
  }

  /** TopicInterest of a neighbour. */
  handleInterest(entry: LinkEntry, scan: FrameScan): void {
    const { role } = entry;
    if (role.kind !== "peer") return;
    const interest = decodeBody(agp.TopicInterestSchema, scan);
    this.#input((now) => {
      const refused = this.machine.handleInterest(now, role.arrival.peer, interest);
      if (refused === undefined) return;
      this.#parts.security.warn("topics.interest_refused", {
        peer: role.arrival.peer,
        code: refused.code,
        reason: refused.message,
      });
      entry.link.send(encodeFrame({ case: "error", value: { error: toErrorDetail(refused) } }));
    });
  }

  handleLinkDown(entry: LinkEntry): void {
    const patterns = this.#patterns.get(entry) ?? [];
    this.#patterns.delete(entry);
    for (const pattern of patterns) this.#tellMember("topic.left", pattern, entry.peer.spiffeId);
    this.#input((now) => this.machine.handleLinkDown(now, entry.id));
  }

  handlePeerUp(peer: TopicPeer): void {
    this.#input((now) => this.machine.handlePeerUp(now, peer));
  }

  handlePeerDown(peer: TopicPeer["uri"]): void {
    this.#input((now) => this.machine.handlePeerDown(now, peer));
  }

  /** After `fanOut`, which may set timers. */
  rearm(): void {
    this.#wake.arm(this.machine.deadline());
  }

  /** Who subscribed to what at this gateway. */
  *subscriptions(): Generator<{ readonly pattern: string; readonly entry: LinkEntry }> {
    for (const [entry, patterns] of this.#patterns) for (const pattern of patterns) yield { pattern, entry };
  }

  /** A subscriber of this gateway has come or gone: its topic's owner hears of it, and itself. */
  #tellMember(type: "topic.joined" | "topic.left", pattern: string, member: string): void {
    const owner = this.machine.find(pattern)?.owner;
    const concerns = (agentId: AgentId): boolean => agentId === owner || agentId === member;
    this.#parts.events.publish({ type, subject: pattern, cause: member, concerns });
  }

  #patternsOf(entry: LinkEntry): Set<string> {
    const patterns = this.#patterns.get(entry) ?? new Set<string>();
    this.#patterns.set(entry, patterns);
    return patterns;
  }

  #acknowledge(entry: LinkEntry, request: bigint, work: (now: Now) => CausewayError | undefined): void {
    let refused: CausewayError | undefined;
    this.#input((now) => {
      refused = work(now);
    });
    const error = refused && toErrorDetail(refused);
    entry.link.send(encodeFrame({ case: "subscriptionResult", value: { request, ...(error && { error }) } }));
  }

  #input(work: (now: Now) => void): void {
    work(this.#parts.deps.scheduler.now());
    for (let effects = this.machine.drain(); effects.length > 0; effects = this.machine.drain()) {
      for (const effect of effects) this.#perform(effect);
    }
    this.rearm();
  }

  #perform(effect: TopicsEffect): void {
    const { links, deps } = this.#parts;
    switch (effect.kind) {
      case "send":
        links.peer(effect.peer)?.link.send(effect.frame);
        return;
      case "persist": {
        const { topic, owner, policy, createdUnixMs } = effect.topic;
        const bytes = toBinary(agp.TopicPolicySchema, create(agp.TopicPolicySchema, policyMessage(policy)));
        deps.store.putTopic({ topic, owner, policy: bytes, createdAt: createdUnixMs });
        return;
      }
      case "erase":
        deps.store.deleteTopic(effect.topic);
        return;
      case "event":
        deps.log.info(effect.type.replace(".", ".topic_"), { topic: effect.subject, cause: effect.cause });
        this.#parts.events.publish({
          type: effect.type,
          subject: effect.subject,
          cause: effect.cause,
          concerns: (agentId) => maySubscribe(effect.topic, agentId),
        });
        return;
    }
  }
}
