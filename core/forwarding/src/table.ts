import type { AgentId, GatewayUri } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";
import type { LocalAttachment, RouteCandidate, RouteExplanation, TableDelta } from "./route.ts";

/** The Message Forwarding Table. */
export class ForwardingTable {
  constructor(_options: { readonly self: GatewayUri; readonly domain: string }) {}
  apply(_delta: TableDelta): void {
    throw new Error("not yet");
  }
  /** Number of agents with an entry. */
  get size(): number {
    throw new Error("not yet");
  }
  candidates(_agentId: AgentId): readonly RouteCandidate[] {
    throw new Error("not yet");
  }
  attachments(): readonly LocalAttachment[] {
    throw new Error("not yet");
  }
  /** True when this gateway is the serving gateway of the scanned message's target agent. */
  serves(_scan: FrameScan): boolean {
    throw new Error("not yet");
  }
  /** Why a message to `target` takes the way that it takes. */
  explain(_target: string): RouteExplanation {
    throw new Error("not yet");
  }
  /** An agent with the skill: local first, then by rank. */
  resolveSkill(_skill: string): AgentId | undefined {
    throw new Error("not yet");
  }
}
