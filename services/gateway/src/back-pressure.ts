import { later, type Now } from "@causeway/core-base";
import type { LinkId } from "@causeway/core-wire";
import type { LinkEntry } from "./links.ts";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";

/**
 * Holds agents back that send to a receiver whose queue is full: their link is not read from until there is room. A
 * pause has an end, so that a stalled receiver does not silence its sender towards everybody else.
 */
export class BackPressure {
  readonly #deps: GatewayDeps;
  readonly #limits: GatewayLimits;
  /** Senders that wait, by receiver. */
  readonly #waiting = new Map<LinkId, Set<LinkEntry>>();

  constructor(deps: GatewayDeps, limits: GatewayLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  holdBack(sender: LinkEntry, receiver: LinkEntry, now: Now): void {
    const waiting = this.#waiting.get(receiver.id) ?? new Set();
    if (waiting.has(sender)) return;
    waiting.add(sender);
    this.#waiting.set(receiver.id, waiting);
    const reason = reasonOf(receiver.id);
    sender.pause(reason);
    this.#deps.scheduler.at(later(now.instant, this.#limits.pauseMsMax), () => {
      if (waiting.delete(sender)) sender.resume(reason);
    });
  }

  /** There is room again, or the receiver is gone. */
  letGo(receiver: LinkId): void {
    const waiting = this.#waiting.get(receiver);
    if (waiting === undefined) return;
    this.#waiting.delete(receiver);
    for (const sender of waiting) sender.resume(reasonOf(receiver));
    waiting.clear();
  }
}

const reasonOf = (receiver: LinkId): string => `receiver ${receiver}`;
