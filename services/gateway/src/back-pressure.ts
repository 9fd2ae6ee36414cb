import { later, type Now } from "@causeway/core-base";
import type { LinkId } from "@causeway/core-wire";
import type { LinkEntry } from "./links.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";

/** How a sender is held back, and let go again. `reason` is the same for both. */
export interface Hold {
  stop(sender: LinkEntry, reason: string): void;
  go(sender: LinkEntry, reason: string): void;
}

/** Nothing is read from the sender's link. */
export const wholeLink: Hold = {
  stop: (sender, reason) => sender.pause(reason),
  go: (sender, reason) => sender.resume(reason),
};

/**
 * Holds agents back that send to a receiver whose queue is full, until there is room. It has an end, so that a stalled
 * receiver does not silence its sender towards everybody else.
 */
export class BackPressure {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  readonly #hold: Hold;
  /** Senders that wait, by receiver. */
  readonly #waiting = new Map<LinkId, Set<LinkEntry>>();

  constructor(deps: GatewayDeps, limits: GatewayLimits, hold: Hold) {
    this.#deps = deps;
    this.#limits = limits;
    this.#hold = hold;
  }

  holdBack(sender: LinkEntry, receiver: LinkEntry, now: Now): void {
    const waiting = this.#waiting.get(receiver.id) ?? new Set();
    if (waiting.has(sender)) return;
    waiting.add(sender);
    this.#waiting.set(receiver.id, waiting);
    const reason = reasonOf(receiver.id);
    this.#hold.stop(sender, reason);
    this.#deps.scheduler.at(later(now.instant, this.#limits.pauseMsMax), () => {
      if (waiting.delete(sender)) this.#hold.go(sender, reason);
    });
  }

  /** There is room again, or the receiver is gone. */
  letGo(receiver: LinkId): void {
    const waiting = this.#waiting.get(receiver);
    if (waiting === undefined) return;
    this.#waiting.delete(receiver);
    for (const sender of waiting) this.#hold.go(sender, reasonOf(receiver));
    waiting.clear();
  }
}

const reasonOf = (receiver: LinkId): string => `receiver ${receiver}`;
