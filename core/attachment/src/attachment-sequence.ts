/**
 * Numbers for the attachments of one instance (AAP-95), by which gateways order several of one agent: the highest is
 * preferred (AAP-15). An attachment that takes over gets one above every number before it, over all gateways and over
 * restarts; one that is to stand behind another gets one below that. One object serves all attachments of an agent.
 */
import type { Now } from "@causeway/core-base";

export class AttachmentSequence {
  #last = 0n;
  /** The last number that was given out below each of these. Bounded, oldest first. */
  readonly #lows = new Map<bigint, bigint>();

  /**
   * The next one: above all others, or as long as there is room below `below` and above `held`, which a gateway has.
   * Wall-clock time in milliseconds is ahead of every earlier run of this agent.
   */
  take(now: Now, below?: bigint, held = -1n): bigint {
    if (below !== undefined) {
      const low = maxOf((this.#lows.get(below) ?? below - room - 1n) + 1n, held + 1n);
      if (low < below) {
        this.#note(below, low);
        return low;
      }
    }
    this.#last = maxOf(maxOf(this.#last, held) + 1n, BigInt(Math.max(0, Math.floor(now.unix))));
    return this.#last;
  }

  #note(below: bigint, low: bigint): void {
    this.#lows.delete(below);
    this.#lows.set(below, low);
    const [oldest] = this.#lows.keys();
    if (this.#lows.size > lowsMax && oldest !== undefined) this.#lows.delete(oldest);
  }
}

const maxOf = (a: bigint, b: bigint): bigint => (a > b ? a : b);
/** Attachments that may come to stand behind one that lasts, before the next of them is preferred to it. */
const room = 1_000n;
const lowsMax = 16;
