/**
 * Drives route discovery: asks the Level-2 gateways by Agent ID (AMSP-101) for whom the forwarding table has no entry,
 * enters the answer, and lets the messages go on that wait for it (AAP-79).
 */
import { type AgentId, CausewayError, type ErrorFacts, type GatewayUri, type Now } from "@causeway/core-base";
import { type ForwardingTable, type Resolution, type ResolutionEffect, Resolutions } from "@causeway/core-forwarding";
import type { QueryResult } from "@causeway/core-sync";
import type { GatewayDeps, GatewayLimits } from "./ports.ts";
import { toForwarding } from "./route-installer.ts";
import type { SyncDriver } from "./sync-driver.ts";
import type { Tally } from "./tally.ts";
import { CallerRates } from "./token-bucket.ts";
import { WakeUp } from "./wake-up.ts";

/** What the driver works with. */
export interface ResolverParts {
  readonly deps: GatewayDeps;
  readonly limits: GatewayLimits;
  readonly table: ForwardingTable;
  readonly tally: Tally;
  readonly sync: Pick<SyncDriver, "query" | "machine">;
  /** What waits for the agent goes on. */
  readonly release: (agentId: AgentId, now: Now) => void;
  /** What waits for the agent is refused. */
  readonly refuse: (agentId: AgentId, error: ErrorFacts, now: Now) => void;
}

export class Resolver {
  readonly #parts: ResolverParts;
  readonly #machine: Resolutions;
  readonly #rates: CallerRates;
  readonly #wake: WakeUp;
  #isPerforming = false;

  constructor(parts: ResolverParts) {
    this.#parts = parts;
    this.#machine = new Resolutions(parts.limits);
    this.#rates = new CallerRates(
      "unknownTargetsPerMinute",
      () => parts.limits.unknownTargetsPerMinute,
      60_000,
      () => parts.limits.attachmentsMax,
    );
    this.#wake = new WakeUp(parts.deps.scheduler, () => this.#input((now) => this.#machine.handleTimeout(now)));
  }

  /** Why `source` may not have the agent asked for now. Counts only what takes a query of its own. */
  check(agentId: AgentId, source: AgentId): ErrorFacts | undefined {
    let isAskedFor = false;
    this.#input((now) => {
      isAskedFor = this.#machine.isAskedFor(now, agentId);
    });
    if (isAskedFor) return undefined;
    try {
      this.#rates.check(source, this.#parts.deps.scheduler.now().instant);
      return undefined;
    } catch (thrown) {
      const { code, message, retryAfterMs, details } = CausewayError.from(thrown);
      this.#parts.tally.add("route_queries_refused");
      return { code, message, ...(retryAfterMs !== undefined && { retryAfterMs }), ...(details && { details }) };
    }
  }

  /** A message of `source` waits for an agent that nobody here knows. */
  want(agentId: AgentId, source: AgentId): void {
    this.#input((now) => this.#machine.want(now, agentId, source));
  }

  /** Durations count from when something began: what is due by the new ones ends now. */
  applyLimits(): void {
    this.#input((now) => this.#machine.handleTimeout(now));
  }

  /** The record base offers a way, or takes it back. */
  handleRoute(agentId: AgentId, origin: GatewayUri, isOffered: boolean): void {
    this.#input((now) => this.#machine.handleRoute(now, agentId, origin, isOffered));
  }

  handlePeerDown(peer: GatewayUri): void {
    this.#input((now) => this.#machine.handlePeerDown(now, peer));
  }

  stop(): void {
    this.#wake.cancel();
  }

  /** Sizes of the tables. */
  status(): ReturnType<Resolutions["status"]> {
    return this.#machine.status();
  }

  /** An answer may come while a question is performed: the round that runs performs what follows from it. */
  #input(work: (now: Now) => void): void {
    const now = this.#parts.deps.scheduler.now();
    work(now);
    if (this.#isPerforming) return;
    this.#isPerforming = true;
    try {
      for (;;) {
        const effects = this.#machine.drain();
        if (effects.length === 0) break;
        for (const effect of effects) this.#perform(effect, now);
      }
    } finally {
      this.#isPerforming = false;
    }
    this.#wake.arm(this.#machine.deadline());
  }

  #perform(effect: ResolutionEffect, now: Now): void {
    const { table, tally, sync, release, refuse } = this.#parts;
    switch (effect.type) {
      case "ask": {
        const { agentId } = effect;
        tally.add("route_queries");
        sync.query(agentId, (result) =>
          this.#input((at) => this.#machine.handleAnswer(at, agentId, this.#resolution(agentId, result))),
        );
        return;
      }
      case "install":
        table.apply({ kind: "put", candidate: effect.candidate });
        return;
      case "withdraw":
        table.apply({ kind: "withdraw", agentId: effect.agentId, origin: effect.origin });
        return;
      case "release":
        release(effect.agentId, now);
        return;
      case "refuse":
        tally.add("route_queries_refused");
        refuse(effect.agentId, effect.error, now);
    }
  }

  #resolution(agentId: AgentId, result: QueryResult): Resolution {
    if (result.found) {
      const routes = result.routes.filter((route) => route.agentId === agentId);
      // While it is asked for there are no entries from answers: these are the record base's, which knows what is newest.
      const held = new Set(this.#parts.table.candidates(agentId).map((each) => each.origin));
      const candidates = routes.filter((route) => !held.has(route.origin)).map(toForwarding);
      if (routes.length > 0) return { found: true, candidates };
    }
    const error = result.found ? notFound(agentId) : result.error;
    const { code, message } = error;
    if (code !== "CAUSEWAY_RECORD_NOT_FOUND") {
      return { found: false, error, isFinal: code === "CAUSEWAY_FORWARDING_TTL_EXHAUSTED" };
    }
    const hasAsked = this.#parts.sync.machine
      .peers()
      .some((each) => each.role === "level2" && inSession.has(each.state));
    if (hasAsked) return { found: false, error: { code: "CAUSEWAY_FORWARDING_NO_ROUTE", message }, isFinal: true };
    const nobody = `no Level-2 gateway is connected that could be asked for ${agentId}; retry later`;
    return { found: false, error: { code: "CAUSEWAY_FORWARDING_PEER_LOST", message: nobody }, isFinal: false };
  }
}

/** States of a peer that can be asked. */
const inSession: ReadonlySet<string> = new Set(["SYNCING", "ESTABLISHED", "RESYNC"]);

const notFound = (agentId: AgentId): ErrorFacts => ({
  code: "CAUSEWAY_RECORD_NOT_FOUND",
  message: `the answer has no record of ${agentId}`,
});
