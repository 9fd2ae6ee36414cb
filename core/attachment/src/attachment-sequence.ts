/**
 * Numbers for the attachments of one instance (AAP-95): each is higher than every one before it, over all gateways and
 * over restarts, since gateways take the highest for the newest. One object serves all attachments of an agent.
 */
import type { Now } from "@causeway/core-base";

export class AttachmentSequence {
  #last = 0n;

  /** The next one. Wall-clock time in milliseconds is ahead of every earlier run of this agent. */
  take(now: Now): bigint {
    const clock = BigInt(Math.max(0, Math.floor(now.unix)));
    this.#last = clock > this.#last ? clock : this.#last + 1n;
    return this.#last;
  }

  /** A gateway holds this one: the next has to be above it. */
  raise(held: bigint): void {
    if (held > this.#last) this.#last = held;
  }
}
