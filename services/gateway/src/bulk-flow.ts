/**
 * Bulk on the way in (BEY-1): it may wait, and it must not stop what is interactive of the same sender. So an agent whose
 * bulk finds the receiver's lane full, or that is over its rate of bulk, is told to send no more of it, by a Credit frame,
 * while everything else of its link is read on. One that does not obey is held back altogether, as without classes. What
 * was taken is acknowledged, so that the sender can keep what is on its way small.
 */

import { type ErrorFacts, later, type Now } from "@causeway/core-base";
import { agp, encodeFrame, grpcPrefixBytes, type LinkId } from "@causeway/core-wire";
import { BackPressure } from "./back-pressure.ts";
import type { BoundedLog } from "./bounded-log.ts";
import type { LinkEntry } from "./links.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";
import { TokenBucket } from "./token-bucket.ts";

/** What a link that brings bulk has beside. */
export class BulkIntake {
  readonly messageRate: TokenBucket;
  readonly byteRate: TokenBucket;
  /** Taken and not acknowledged. */
  taken = 0;
  /** Why its sender was told to stop. */
  readonly stops = new Set<string>();
  /** Bytes that came since it was told, to whomever. */
  sinceStop = 0;
  /** It went on all the same: nothing is read from it until it may send bulk again. */
  isHeldBack = false;

  constructor(limits: GatewayLimits, factor: number, now: Now) {
    const { messages, bytes, seconds } = ratesOf(limits, factor);
    this.messageRate = new TokenBucket(messages, messages * seconds, now.instant);
    this.byteRate = new TokenBucket(bytes, bytes * seconds, now.instant);
  }

  /** Limits have changed. */
  applyRates(limits: GatewayLimits, factor: number): void {
    const { messages, bytes, seconds } = ratesOf(limits, factor);
    this.messageRate.setRate(messages, messages * seconds);
    this.byteRate.setRate(bytes, bytes * seconds);
  }
}

/** Bulk has a rate of its own, and three quarters of the rate of everything at most, whatever that is now. */
function ratesOf(
  limits: GatewayLimits,
  factor: number,
): { readonly messages: number; readonly bytes: number; readonly seconds: number } {
  return {
    messages: Math.min(limits.agentBulkMessagesPerSecond, limits.agentMessagesPerSecond * bulkPart) * factor,
    bytes: Math.min(limits.agentBulkBytesPerSecond, limits.agentBytesPerSecond * bulkPart) * factor,
    seconds: limits.rateBurstSeconds,
  };
}

/** What the flow of bulk works with. */
export interface BulkFlowParts {
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly security: BoundedLog;
}

export class BulkFlow {
  readonly #parts: BulkFlowParts;
  /** Of receivers whose lane for bulk is full. */
  readonly #pressure: BackPressure;

  constructor(parts: BulkFlowParts) {
    this.#parts = parts;
    this.#pressure = new BackPressure(parts.deps, parts.limits, {
      stop: (sender, reason) => this.#stop(sender, reason),
      go: (sender, reason) => this.#go(sender, reason),
    });
  }

  /** Counts a bulk message of `bytes` that was read from `entry`, whatever becomes of it: it is not on its way any more. */
  count(entry: LinkEntry, bytes: number, now: Now): void {
    const bulk = this.#intakeOf(entry, now);
    bulk.taken += bytes + grpcPrefixBytes;
    if (bulk.stops.size === 0) return;
    bulk.sinceStop += bytes;
    if (bulk.isHeldBack || bulk.sinceStop <= this.#parts.limits.bulkAfterStopBytesMax) return;
    bulk.isHeldBack = true;
    this.#parts.security.warn("limits.bulk_not_stopped", { from: entry.name });
    entry.pause(heldBack);
  }

  /** Why a bulk message of `bytes` may not pass, when it may not. */
  check(entry: LinkEntry, bytes: number, now: Now): ErrorFacts | undefined {
    const bulk = this.#intakeOf(entry, now);
    const hasMessages = bulk.messageRate.take(1, now.instant, true);
    if (hasMessages && bulk.byteRate.take(bytes, now.instant, true)) return undefined;
    const limit = hasMessages ? "agentBulkBytesPerSecond" : "agentBulkMessagesPerSecond";
    const waitMs = hasMessages ? bulk.byteRate.waitMs(bytes) : bulk.messageRate.waitMs(1);
    if (entry.role.kind === "agent") this.#stopForRate(entry, limit, waitMs, now);
    return {
      code: "CAUSEWAY_LIMIT_RATE",
      message: `${entry.name} is over ${limit}; nothing was delivered. Send bulk again in ${waitMs} ms; what is interactive passes`,
      retryAfterMs: waitMs,
      details: { limit },
    };
  }

  /** The receiver's lane for bulk is full: the sender waits with bulk until there is room, or `pauseMsMax` at most. */
  holdBack(sender: LinkEntry, receiver: LinkEntry, now: Now): void {
    this.#pressure.holdBack(sender, receiver, now);
  }

  /** There is room again, or the receiver is gone. */
  letGo(receiver: LinkId): void {
    this.#pressure.letGo(receiver);
  }

  /** Tells the sender what was taken, after the frames of a read. One that was told to stop hears of it with its leave. */
  acknowledge(entry: LinkEntry): void {
    const { bulk } = entry;
    if (bulk === undefined || bulk.taken < acknowledgeBytes || bulk.stops.size > 0) return;
    say(entry, bulk, agp.FlowState.UNSPECIFIED);
  }

  #intakeOf(entry: LinkEntry, now: Now): BulkIntake {
    const { limits } = this.#parts;
    entry.bulk ??= new BulkIntake(limits, entry.peer.role === "gateway" ? limits.peerRateFactor : 1, now);
    return entry.bulk;
  }

  #stopForRate(entry: LinkEntry, limit: string, waitMs: number, now: Now): void {
    const { deps, security } = this.#parts;
    if (entry.bulk?.stops.has("rate") === true) return;
    security.warn("limits.bulk_rate_exceeded", { from: entry.name, limit });
    this.#stop(entry, "rate");
    deps.scheduler.at(later(now.instant, waitMs), () => this.#go(entry, "rate"));
  }

  #stop(sender: LinkEntry, reason: string): void {
    const { bulk } = sender;
    if (bulk === undefined) return;
    if (bulk.stops.size === 0) {
      bulk.sinceStop = 0;
      say(sender, bulk, agp.FlowState.STOP);
    }
    bulk.stops.add(reason);
  }

  #go(sender: LinkEntry, reason: string): void {
    const { bulk } = sender;
    if (bulk?.stops.delete(reason) !== true || bulk.stops.size > 0) return;
    say(sender, bulk, agp.FlowState.GO);
    if (!bulk.isHeldBack) return;
    bulk.isHeldBack = false;
    sender.resume(heldBack);
  }
}

function say(entry: LinkEntry, bulk: BulkIntake, flow: agp.FlowState): void {
  if (entry.role.kind === "closed") return;
  const bytes = bulk.taken;
  bulk.taken = 0;
  entry.link.send(encodeFrame({ case: "credit", value: { trafficClass: agp.TrafficClass.BULK, flow, bytes } }));
}

/** Why a link is not read from. */
const heldBack = "bulk after stop";

/** What bulk may use of a sender's rates, so that something is left for the rest. */
const bulkPart = 0.75;
/** A quarter of the smallest window. */
const acknowledgeBytes = 16_384;
