/**
 * What happens at this gateway, told to those who asked (AGP-11): agents hear what concerns them over their link,
 * operators hear everything. A watcher that is too slow, or too curious, misses events and is told how many.
 */
import { create } from "@bufbuild/protobuf";
import type { AgentId, ErrorFacts, Now, UnixMs } from "@causeway/core-base";
import { agp, encodeFrame } from "@causeway/core-wire";
import type { LinkEntry } from "./links.ts";
import type { MessageQueue } from "./message-queue.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Kinds of events. */
export type EventType =
  | "agent.attached"
  | "agent.stale"
  | "agent.left"
  | "topic.created"
  | "topic.changed"
  | "topic.deleted"
  | "topic.expired"
  | "topic.joined"
  | "topic.left"
  | "topic.overflowed"
  | "peer.up"
  | "peer.down"
  | "delivery.failed"
  | "credential.revoked";

/** Something that happened. */
export interface GatewayEvent {
  readonly type: EventType;
  readonly subject: string;
  readonly cause: string;
  /** Whom of the attached agents it concerns; everyone when left out. */
  readonly concerns?: (agentId: AgentId) => boolean;
  /** What agents are told instead, where the facts show how the network is built (AAP-4). */
  readonly forAgents?: { readonly subject: string; readonly cause: string };
}

interface Watcher {
  readonly types: readonly string[];
  readonly rate: TokenBucket;
  missed: bigint;
}

/** Types that one watch may name. */
const typesMax = 64;
/** Events that wait for an operator that does not read. */
const queuedMax = 10_000;

export class EventFeed {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #links = new Map<LinkEntry, Watcher & { readonly agentId: AgentId }>();
  readonly #operators = new Map<MessageQueue<agp.Event>, Watcher>();

  constructor(deps: GatewayDeps, limits: GatewayLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  /** Starts, replaces or (without types) ends the watch of an attached agent; why not, when it is refused. */
  watch(entry: LinkEntry, agentId: AgentId, types: readonly string[], now: Now): ErrorFacts | undefined {
    if (types.length > typesMax) return tooManyTypes(types.length);
    if (types.length === 0) this.#links.delete(entry);
    else this.#links.set(entry, { ...this.#watcher(types, now), agentId });
    return undefined;
  }

  /** The link is gone, or its agent is detached. */
  forget(entry: LinkEntry): void {
    this.#links.delete(entry);
  }

  /** Feeds an operator until `end` is called. No types means all of them. */
  open(queue: MessageQueue<agp.Event>, types: readonly string[], now: Now): ErrorFacts | undefined {
    if (types.length > typesMax) return tooManyTypes(types.length);
    this.#operators.set(queue, this.#watcher(types, now));
    return undefined;
  }

  end(queue: MessageQueue<agp.Event>): void {
    this.#operators.delete(queue);
    queue.end();
  }

  stop(): void {
    for (const queue of this.#operators.keys()) this.end(queue);
  }

  /** How many watch. */
  get watchers(): number {
    return this.#links.size + this.#operators.size;
  }

  /** Limits have changed. */
  applyLimits(): void {
    const perSecond = this.#limits.eventsPerSecond;
    for (const { rate } of this.#links.values()) rate.setRate(perSecond, perSecond * 2);
  }

  /** False while nobody asked for anything: then an event need not even be made. */
  get isWatched(): boolean {
    return this.#links.size > 0 || this.#operators.size > 0;
  }

  /** Tells everybody who asked for it and whom it concerns. */
  publish(event: GatewayEvent): void {
    if (!this.isWatched) return;
    const now = this.#deps.scheduler.now();
    for (const [entry, watcher] of this.#links) {
      if (!isWanted(watcher.types, event.type) || event.concerns?.(watcher.agentId) === false) continue;
      const isBehind = entry.link.bufferedBytes > this.#limits.linkBufferedBytesMax;
      if (isBehind || !watcher.rate.take(1, now.instant)) watcher.missed++;
      else
        entry.link.send(
          encodeFrame({ case: "event", value: take(watcher, { ...event, ...event.forAgents }, now.unix) }),
        );
    }
    for (const [queue, watcher] of this.#operators) {
      if (watcher.types.length > 0 && !isWanted(watcher.types, event.type)) continue;
      if (queue.length >= queuedMax) watcher.missed++;
      else queue.push(take(watcher, event, now.unix));
    }
  }

  #watcher(types: readonly string[], now: Now): Watcher {
    const perSecond = this.#limits.eventsPerSecond;
    return { types: [...types], rate: new TokenBucket(perSecond, perSecond * 2, now.instant), missed: 0n };
  }
}

/** The event as it is sent; takes what was left out before it into account. */
function take(watcher: Watcher, { type, subject, cause }: GatewayEvent, at: UnixMs): agp.Event {
  const { missed } = watcher;
  watcher.missed = 0n;
  return create(agp.EventSchema, { type, atUnixMs: BigInt(Math.round(at)), subject, cause, missed });
}

const isWanted = (types: readonly string[], type: EventType): boolean =>
  types.some((each) => (each.endsWith(".") ? type.startsWith(each) : type === each));

const tooManyTypes = (count: number): ErrorFacts => ({
  code: "CAUSEWAY_LIMIT_COUNT",
  message: `expected at most ${typesMax} types of events, got ${count}; name families like "topic." instead`,
  details: { limit: "typesMax" },
});
