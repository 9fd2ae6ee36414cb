import { CausewayError, type ErrorFacts, later, type Now } from "@causeway/core-base";
import type { BoundedLog } from "./bounded-log.ts";
import type { LinkEntry } from "./links.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";

/** Over its rate a sender is refused and not read from until it is back under it; one that goes on is closed. */
export class RateGuard {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #security: BoundedLog;

  constructor(deps: GatewayDeps, limits: GatewayLimits, security: BoundedLog) {
    this.#deps = deps;
    this.#limits = limits;
    this.#security = security;
  }

  /**
   * Counts one frame of `bytes`, a control frame or a message; undefined when it may pass, "closed" when nobody is left to
   * answer.
   */
  check(entry: LinkEntry, bytes: number, isControl: boolean, now: Now): ErrorFacts | "closed" | undefined {
    const { messageRate, byteRate } = isControl ? entry.controlRates(this.#limits, now.instant) : entry;
    const messagesLeft = messageRate.take(1, now.instant);
    // What is larger than the burst is owed; it could never pass otherwise.
    if (messagesLeft && byteRate.take(bytes, now.instant, true)) {
      // Not to 0: a flood that is paused and read on gets one message through with each read.
      if (!isControl) entry.floodLevel = Math.max(0, entry.floodLevel - 1);
      return undefined;
    }
    const limit = `agent${isControl ? "Control" : ""}${messagesLeft ? "Bytes" : "Messages"}PerSecond`;
    const waitMs = messagesLeft ? byteRate.waitMs(bytes) : messageRate.waitMs(1);
    const refusal = rateExceeded(entry, limit, waitMs);
    if (entry.floodLevel++ === 0) this.#security.warn("limits.rate_exceeded", { from: entry.name, limit });
    if (entry.floodLevel > this.#limits.floodCloseAfter) {
      this.#security.warn("limits.flooder_closed", { from: entry.name, limit });
      entry.link.close(new CausewayError(refusal));
      return "closed";
    }
    const reason = isControl ? "rate of control" : "rate";
    entry.pause(reason);
    this.#deps.scheduler.at(later(now.instant, waitMs), () => entry.resume(reason));
    return refusal;
  }
}

const rateExceeded = (entry: LinkEntry, limit: string, retryAfterMs: number): ErrorFacts => ({
  code: "CAUSEWAY_LIMIT_RATE",
  message: `${entry.name} is over ${limit}; nothing was delivered. Slow down`,
  retryAfterMs,
  details: { limit },
});
