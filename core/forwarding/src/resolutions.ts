/**
 * Route discovery (AAP-43, AAP-79, ADR 50): which unknown agents are being asked for, what was answered, and for how
 * long it counts. Messages wait outside; this machine says when they go on and when they are refused. It knows neither
 * who is asked nor how. Invariants: at most one open query for each agent; each query ends in `release` or `refuse`,
 * at the latest after `resolveMs`; a route that the record base offers is never withdrawn here; no source has more than
 * its share of the open queries. Limits may change at any time: what is kept is when something began.
 */
import {
  type AgentId,
  type ErrorFacts,
  earliest,
  type GatewayUri,
  type Instant,
  later,
  type Machine,
  type Now,
} from "@causeway/core-base";
import type { RouteCandidate } from "./route.ts";

/** Bounds of route discovery. */
export interface ResolutionLimits {
  /** Time for the answer to one query; then what waits for it is refused with CAUSEWAY_TIMEOUT. */
  readonly resolveMs: number;
  /** Agents that are asked for at the same time; messages to further ones are refused with OVERLOADED. */
  readonly resolvingMax: number;
  /** The same for the messages of one agent, so that one that writes to random names leaves room for the others. */
  readonly resolvingPerSourceMax: number;
  /** How long it is remembered that nobody knows an agent. */
  readonly unknownMs: number;
  /** Such agents; beyond it the oldest are forgotten, and asked for again. */
  readonly unknownMax: number;
  /** How long an answer is used before the next message asks again. */
  readonly resolvedMs: number;
  /** Agents whose way was answered; beyond it the oldest are forgotten. */
  readonly resolvedMax: number;
}

/** Default bounds of route discovery. */
export const resolutionLimits: ResolutionLimits = {
  resolveMs: 2_000,
  resolvingMax: 1_000,
  resolvingPerSourceMax: 100,
  unknownMs: 5_000,
  unknownMax: 10_000,
  resolvedMs: 300_000,
  resolvedMax: 100_000,
};

/** One instruction to the driver. */
export type ResolutionEffect =
  | { readonly type: "ask"; readonly agentId: AgentId }
  | { readonly type: "install"; readonly candidate: RouteCandidate }
  | { readonly type: "withdraw"; readonly agentId: AgentId; readonly origin: GatewayUri }
  /** What waits for the agent goes on. */
  | { readonly type: "release"; readonly agentId: AgentId }
  /** What waits for the agent is answered. */
  | { readonly type: "refuse"; readonly agentId: AgentId; readonly error: ErrorFacts };

/** What was answered: ways to the agent, or why there is none. */
export type Resolution =
  | { readonly found: true; readonly candidates: readonly RouteCandidate[] }
  /** `isFinal`: everybody who could know was asked. Only that is remembered. */
  | { readonly found: false; readonly error: ErrorFacts; readonly isFinal: boolean };

interface Open {
  readonly since: Instant;
  /** Whose message was the first to wait. */
  readonly source: AgentId;
}

interface Unknown {
  readonly since: Instant;
  readonly error: ErrorFacts;
}

interface Resolved {
  readonly since: Instant;
  /** Origins that came with the answer and that the record base does not offer, with the neighbour that leads there. */
  readonly ways: Map<GatewayUri, GatewayUri | undefined>;
}

export class Resolutions implements Machine<ResolutionEffect> {
  readonly #limits: ResolutionLimits;
  /** All three in the order of their beginnings, and so of their ends, whatever the durations are by now. */
  readonly #open = new Map<AgentId, Open>();
  readonly #unknown = new Map<AgentId, Unknown>();
  readonly #resolved = new Map<AgentId, Resolved>();
  /** Open queries of each source that has any. */
  readonly #perSource = new Map<AgentId, number>();
  #effects: ResolutionEffect[] = [];

  constructor(limits: ResolutionLimits) {
    this.#limits = limits;
  }

  /** Whether a message to the agent would be answered or wait without a further query. */
  isAskedFor(now: Now, agentId: AgentId): boolean {
    this.#endDue(now.instant);
    return this.#open.has(agentId) || this.#resolved.has(agentId) || this.#unknown.has(agentId);
  }

  /** A message of `source` waits for an agent without entry. */
  want(now: Now, agentId: AgentId, source: AgentId): void {
    this.#endDue(now.instant);
    if (this.#open.has(agentId)) return;
    if (this.#resolved.has(agentId)) {
      this.#effects.push({ type: "release", agentId });
      return;
    }
    const unknown = this.#unknown.get(agentId);
    if (unknown !== undefined) {
      this.#effects.push({ type: "refuse", agentId, error: unknown.error });
      return;
    }
    const overloaded = this.#overloaded(source);
    if (overloaded !== undefined) {
      this.#effects.push({ type: "refuse", agentId, error: overloaded });
      return;
    }
    this.#open.set(agentId, { since: now.instant, source });
    this.#perSource.set(source, (this.#perSource.get(source) ?? 0) + 1);
    this.#effects.push({ type: "ask", agentId });
  }

  /** An answer came. One that nobody waits for any more changes nothing. */
  handleAnswer(now: Now, agentId: AgentId, answer: Resolution): void {
    this.#endDue(now.instant);
    if (!this.#close(agentId)) return;
    if (!answer.found) {
      if (answer.isFinal) this.#remember(now.instant, agentId, answer.error);
      this.#effects.push({ type: "refuse", agentId, error: answer.error });
      return;
    }
    const ways = new Map<GatewayUri, GatewayUri | undefined>();
    for (const candidate of answer.candidates) {
      ways.set(candidate.origin, candidate.via.kind === "peer" ? candidate.via.peer : undefined);
      this.#effects.push({ type: "install", candidate });
    }
    if (ways.size > 0) this.#resolved.set(agentId, { since: now.instant, ways });
    for (const oldest of this.#resolved.keys()) {
      if (this.#resolved.size <= this.#limits.resolvedMax) break;
      this.#forget(oldest);
    }
    this.#effects.push({ type: "release", agentId });
  }

  /** The record base offers a way to the agent from `origin`, or takes it back: what was answered of it counts no more. */
  handleRoute(now: Now, agentId: AgentId, origin: GatewayUri, isOffered: boolean): void {
    // First of all: the entry is the record base's already, even if the answer has lasted its time.
    const resolved = this.#resolved.get(agentId);
    if (resolved?.ways.delete(origin) && resolved.ways.size === 0) this.#resolved.delete(agentId);
    if (isOffered) {
      this.#unknown.delete(agentId);
      if (this.#close(agentId)) this.#effects.push({ type: "release", agentId });
    }
    this.#endDue(now.instant);
  }

  /** The link to a neighbour is gone: what leads over it is asked for anew. */
  handlePeerDown(now: Now, peer: GatewayUri): void {
    this.#endDue(now.instant);
    for (const [agentId, { ways }] of this.#resolved) {
      for (const [origin, via] of ways) {
        if (via !== peer) continue;
        ways.delete(origin);
        this.#effects.push({ type: "withdraw", agentId, origin });
      }
      if (ways.size === 0) this.#resolved.delete(agentId);
    }
  }

  handleTimeout(now: Now): void {
    this.#endDue(now.instant);
  }

  drain(): readonly ResolutionEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  deadline(): Instant | undefined {
    const [open] = this.#open.values();
    const [unknown] = this.#unknown.values();
    const [resolved] = this.#resolved.values();
    const { resolveMs, unknownMs, resolvedMs } = this.#limits;
    return earliest(
      open && later(open.since, resolveMs),
      unknown && later(unknown.since, unknownMs),
      resolved && later(resolved.since, resolvedMs),
    );
  }

  /** Sizes of the tables. */
  status(): { readonly open: number; readonly unknown: number; readonly resolved: number } {
    return { open: this.#open.size, unknown: this.#unknown.size, resolved: this.#resolved.size };
  }

  #overloaded(source: AgentId): ErrorFacts | undefined {
    const { resolvingMax, resolvingPerSourceMax } = this.#limits;
    const code = "CAUSEWAY_FORWARDING_OVERLOADED";
    if ((this.#perSource.get(source) ?? 0) >= resolvingPerSourceMax) {
      const message = `expected ${source} to wait for at most ${resolvingPerSourceMax} unknown agents at a time; retry later`;
      return { code, message, details: { limit: "resolvingPerSourceMax" } };
    }
    if (this.#open.size < resolvingMax) return undefined;
    const message = `expected at most ${resolvingMax} unknown agents at a time; retry later`;
    return { code, message, details: { limit: "resolvingMax" } };
  }

  /** The query ends; false when there is none. */
  #close(agentId: AgentId): boolean {
    const open = this.#open.get(agentId);
    if (open === undefined) return false;
    this.#open.delete(agentId);
    const left = (this.#perSource.get(open.source) ?? 0) - 1;
    if (left > 0) this.#perSource.set(open.source, left);
    else this.#perSource.delete(open.source);
    return true;
  }

  #remember(now: Instant, agentId: AgentId, error: ErrorFacts): void {
    this.#unknown.set(agentId, { since: now, error });
    for (const oldest of this.#unknown.keys()) {
      if (this.#unknown.size <= this.#limits.unknownMax) break;
      this.#unknown.delete(oldest);
    }
  }

  #forget(agentId: AgentId): void {
    const ways = this.#resolved.get(agentId)?.ways;
    this.#resolved.delete(agentId);
    for (const origin of ways?.keys() ?? []) this.#effects.push({ type: "withdraw", agentId, origin });
  }

  #endDue(now: Instant): void {
    const { resolveMs, unknownMs, resolvedMs } = this.#limits;
    for (const [agentId, { since }] of this.#open) {
      if (later(since, resolveMs) > now) break;
      this.#close(agentId);
      const message = `no gateway answered in ${resolveMs} ms who serves ${agentId}; retry later`;
      this.#effects.push({ type: "refuse", agentId, error: { code: "CAUSEWAY_TIMEOUT", message } });
    }
    for (const [agentId, { since }] of this.#unknown) {
      if (later(since, unknownMs) > now) break;
      this.#unknown.delete(agentId);
    }
    for (const [agentId, { since }] of this.#resolved) {
      if (later(since, resolvedMs) > now) break;
      this.#forget(agentId);
    }
  }
}
