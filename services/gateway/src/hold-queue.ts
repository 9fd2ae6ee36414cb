/** Messages that wait for an agent that is stale, not attached yet (C-12) or asked for (AAP-79), bounded for each agent and in all. */
import type { AgentId, ErrorFacts, UnixMs } from "@causeway/core-base";
import type { Arrival } from "@causeway/core-forwarding";
import type { LinkId } from "@causeway/core-wire";

/** One waiting frame, copied out of the buffer it came in. */
export interface HeldFrame {
  readonly frame: Uint8Array;
  /** Where it came in; the link may be gone when it is let go. */
  readonly arrival: Arrival;
  readonly link: LinkId | undefined;
  readonly at: UnixMs;
}

/** Bounds of the queue. */
export interface HoldLimits {
  readonly heldMessagesMax: number;
  readonly heldBytesMax: number;
  readonly heldTotalBytesMax: number;
}

interface Lane {
  readonly frames: HeldFrame[];
  bytes: number;
}

/** The waiting frames of every agent, oldest first. */
export class HoldQueue {
  readonly #limits: HoldLimits;
  readonly #lanes = new Map<AgentId, Lane>();
  #bytes = 0;

  constructor(limits: HoldLimits) {
    this.#limits = limits;
  }

  /** Takes the frame, or says why it cannot. */
  hold(agentId: AgentId, held: HeldFrame): ErrorFacts | undefined {
    const lane = this.#lanes.get(agentId) ?? { frames: [], bytes: 0 };
    const { heldMessagesMax, heldBytesMax, heldTotalBytesMax } = this.#limits;
    const size = held.frame.length;
    const isFull =
      lane.frames.length >= heldMessagesMax ||
      lane.bytes + size > heldBytesMax ||
      this.#bytes + size > heldTotalBytesMax;
    if (isFull) {
      return {
        code: "CAUSEWAY_FORWARDING_OVERLOADED",
        message: `${agentId} cannot be reached now and ${lane.frames.length} messages wait for it already; retry later`,
        details: { limit: "heldMessagesMax" },
      };
    }
    lane.frames.push(held);
    lane.bytes += size;
    this.#bytes += size;
    this.#lanes.set(agentId, lane);
    return undefined;
  }

  /** Takes all frames of an agent out. */
  take(agentId: AgentId): readonly HeldFrame[] {
    const lane = this.#lanes.get(agentId);
    if (lane === undefined) return [];
    this.#lanes.delete(agentId);
    this.#bytes -= lane.bytes;
    return lane.frames;
  }

  /** Waiting frames of all agents, and their bytes. */
  status(): { readonly messages: number; readonly bytes: number } {
    let messages = 0;
    for (const lane of this.#lanes.values()) messages += lane.frames.length;
    return { messages, bytes: this.#bytes };
  }

  /** Agents with waiting frames. */
  agents(): readonly AgentId[] {
    return [...this.#lanes.keys()];
  }
}
