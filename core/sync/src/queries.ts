/**
 * Resolution between gateways (AMSP-101): by Agent ID or by text, positive, negative, timed out, or out of hops. A
 * question goes to every Level-2 gateway in session; the first that knows answers for all. A Level-2 gateway that does
 * not know asks its Level-2 neighbours while hops are left.
 */

import { create } from "@bufbuild/protobuf";
import {
  type AgentId,
  CausewayError,
  type ErrorFacts,
  isCausewayError,
  isErrorCode,
  later,
  type Now,
  parseAgentId,
} from "@causeway/core-base";
import { equalBytes } from "@causeway/core-records";
import { amsp } from "@causeway/core-wire";
import { compareOrigins } from "./decide.ts";
import type { PeerName, QueryResult, RouteCandidate } from "./effects.ts";
import { isOpen, type Peer } from "./peer.ts";
import { isVisibleTo } from "./policy.ts";
import { errorDetail, factsOf, type SyncState } from "./sync-state.ts";

/** What is asked: one agent, or agents by what they can do. */
export type Question = { readonly agentId: AgentId } | { readonly text: string; readonly limit?: number };

interface OpenQuery {
  readonly id: bigint;
  readonly question: Question;
  /** Who asked; undefined for our own side. */
  readonly asker: { readonly peer: PeerName; readonly id: bigint } | undefined;
  readonly asked: Set<PeerName>;
  /** The answer if nobody knows. */
  negative: ErrorFacts;
}

export class Queries {
  readonly #state: SyncState;
  readonly #open = new Map<bigint, OpenQuery>();
  #nextId = 1n;

  constructor(state: SyncState) {
    this.#state = state;
  }

  /** Asks on behalf of our own side. */
  ask(now: Now, question: Question): bigint {
    const id = this.#nextId;
    this.#nextId += 1n;
    const routes = this.#known(question, undefined);
    if (routes.length > 0) this.#state.emit({ type: "answer", query: id, result: { found: true, routes } });
    else
      this.#pass(
        now,
        { id, question, asker: undefined, asked: new Set(), negative: notFound(question) },
        this.#state.limits.queryHops,
      );
    return id;
  }

  /** A peer asks. */
  take(now: Now, peer: Peer, query: amsp.Query): void {
    const answer = (error: ErrorFacts): void => this.#reply(now, peer.name, query.id, { found: false, error });
    if (this.#state.self.role !== "level2") {
      answer({
        code: "CAUSEWAY_UNSUPPORTED",
        message: "expected a Level-2 gateway to ask; this one answers no queries",
      });
      return;
    }
    if (peer.openQueries >= this.#state.limits.queriesPerPeerMax) {
      answer({
        code: "CAUSEWAY_LIMIT_COUNT",
        message: `expected at most ${this.#state.limits.queriesPerPeerMax} queries in progress`,
        details: { limit: "queriesPerPeerMax" },
      });
      return;
    }
    const question = parseQuestion(query, this.#state.limits.queryMatchesMax, this.#state.options.search !== undefined);
    if (question instanceof CausewayError) {
      answer(factsOf(question));
      return;
    }
    const routes = this.#known(question, peer);
    if (routes.length > 0) {
      this.#reply(now, peer.name, query.id, { found: true, routes });
    } else if ("text" in question) {
      answer(notFound(question));
    } else {
      const id = this.#nextId;
      this.#nextId += 1n;
      const asker = { peer: peer.name, id: query.id };
      peer.openQueries += 1;
      const hops = Math.min(query.hops, this.#state.limits.queryHops) - 1;
      this.#pass(now, { id, question, asker, asked: new Set(), negative: notFound(question) }, hops);
    }
  }

  /** An answer arrived. */
  takeResult(now: Now, peer: Peer, result: amsp.Result): void {
    const query = this.#open.get(result.id);
    if (query === undefined || !query.asked.delete(peer.name)) return;
    const routes = result.matches
      .slice(0, this.#state.limits.queryMatchesMax)
      .flatMap((m) => this.#verify(now, peer, m))
      .filter((route) => isAnswerTo(query.question, route));
    if (routes.length > 0) {
      this.#finish(now, query, { found: true, routes });
      return;
    }
    const { code = "", message = "" } = result.error ?? {};
    if (isErrorCode(code) && code !== "CAUSEWAY_RECORD_NOT_FOUND") query.negative = { code, message };
    if (query.asked.size === 0) this.#finish(now, query, { found: false, error: query.negative });
  }

  timedOut(now: Now, id: bigint): void {
    const query = this.#open.get(id);
    if (query === undefined) return;
    const error = { code: "CAUSEWAY_TIMEOUT", message: "no gateway answered the query in time" } as const;
    this.#finish(now, query, { found: false, error });
  }

  /** The peer is gone: it answers nothing and waits for nothing. */
  peerLost(now: Now, name: PeerName): void {
    for (const query of [...this.#open.values()]) {
      if (query.asker?.peer === name) this.#close(query);
      else if (query.asked.delete(name) && query.asked.size === 0) {
        const error = { code: "CAUSEWAY_UNREACHABLE", message: "the gateway that was asked is gone" } as const;
        this.#finish(now, query, { found: false, error });
      }
    }
  }

  #known(question: Question, asker: Peer | undefined): readonly RouteCandidate[] {
    const { base, options, limits } = this.#state;
    const agents =
      "agentId" in question
        ? [question.agentId]
        : (options.search?.(question.text, question.limit ?? limits.queryMatchesMax) ?? []);
    const routes: RouteCandidate[] = [];
    for (const agentId of agents) {
      const ofAgent = [...base.slotsOf(agentId)].flatMap((slot) => slot.route ?? []).filter((r) => r.applicable);
      for (const route of ofAgent.sort(compareOrigins)) {
        if (asker === undefined || (isVisibleTo(route.record, asker.domain) && route.via !== asker.name))
          routes.push(route);
      }
    }
    return routes.slice(0, limits.queryMatchesMax);
  }

  #pass(now: Now, query: OpenQuery, hops: number): void {
    const { question } = query;
    const nextHops = [...this.#state.peers.values()].filter(
      (p) => p.role === "level2" && isOpen(p) && p.name !== query.asker?.peer,
    );
    this.#open.set(query.id, query);
    if (nextHops.length === 0 || hops < 1) {
      const outOfHops = nextHops.length > 0;
      this.#finish(now, query, { found: false, error: outOfHops ? outOfHopsError : query.negative });
      return;
    }
    for (const peer of nextHops) {
      query.asked.add(peer.name);
      const body =
        "agentId" in question ? { agentId: question.agentId } : { text: question.text, limit: question.limit ?? 0 };
      this.#state.send(now, peer, { case: "query", value: { id: query.id, hops, ...body } });
    }
    // Less time for each further hop, so that the first asker still hears the answer of the last.
    const waitMs = (this.#state.limits.queryMs * hops) / this.#state.limits.queryHops;
    this.#state.timers.set(`query ${query.id}`, later(now.instant, waitMs));
  }

  #verify(now: Now, peer: Peer, match: amsp.Update): readonly RouteCandidate[] {
    const { rules, limits, options, self } = this.#state;
    const path = match.path?.gateways;
    if (
      rules.checkPath(peer, path, limits.pathHopsMax) !== undefined ||
      match.origin === undefined ||
      match.record === undefined
    )
      return [];
    try {
      const { statement } = options.verifier.verifyOrigin(match.origin, now.unix);
      const { record, digest, signed } = options.verifier.verifyRecord(match.record, now.unix);
      // AMSP-78 for answers, too: such a way leads back to us, and of our own agents nobody knows more than we do.
      if (rules.isLoop(self.name, path ?? []) || statement.origin === self.name) return [];
      if (statement.withdrawn || record.agentId !== statement.agentId || !equalBytes(digest, statement.bodyDigest))
        return [];
      return [
        {
          agentId: statement.agentId,
          origin: statement.origin,
          via: peer.name,
          path: (path ?? []) as readonly string[] as RouteCandidate["path"],
          version: statement.version,
          status: statement.status,
          applicable: true,
          reason: "only candidate",
          attachmentSequence: statement.attachmentSequence,
          allowedDomains: record.allowedDomains,
          record,
          signed,
          signedOrigin: match.origin,
        },
      ];
    } catch (thrown) {
      if (!isCausewayError(thrown)) throw thrown;
      this.#state.event({ name: "sync.update_refused", peer: peer.name, error: factsOf(thrown) });
      return [];
    }
  }

  #finish(now: Now, query: OpenQuery, result: QueryResult): void {
    this.#close(query);
    if (query.asker === undefined) this.#state.emit({ type: "answer", query: query.id, result });
    else this.#reply(now, query.asker.peer, query.asker.id, result);
  }

  #close(query: OpenQuery): void {
    this.#open.delete(query.id);
    this.#state.timers.clear(`query ${query.id}`);
    const asker = query.asker === undefined ? undefined : this.#state.peers.get(query.asker.peer);
    if (asker !== undefined && asker.openQueries > 0) asker.openQueries -= 1;
  }

  #reply(now: Now, name: PeerName, id: bigint, result: QueryResult): void {
    const peer = this.#state.peers.get(name);
    if (peer === undefined) return;
    const { rules, self } = this.#state;
    const value = result.found
      ? {
          id,
          matches: result.routes
            .filter((route) => isVisibleTo(route.record, peer.domain))
            .map((route) =>
              create(amsp.UpdateSchema, {
                record: route.signed,
                origin: route.signedOrigin,
                path: { gateways: [...rules.extendPath(self, route.path)] },
              }),
            ),
        }
      : { id, error: errorDetail(result.error) };
    this.#state.send(now, peer, { case: "result", value });
  }
}

function parseQuestion(query: amsp.Query, limitMax: number, canSearch: boolean): Question | CausewayError {
  try {
    if (query.agentId !== "") return { agentId: parseAgentId(query.agentId) };
  } catch (thrown) {
    return CausewayError.from(thrown);
  }
  if (canSearch) return { text: query.text, limit: Math.min(query.limit || limitMax, limitMax) };
  return new CausewayError({
    code: "CAUSEWAY_UNSUPPORTED",
    message: "expected an Agent ID; this gateway has no search, ask the registry of its domain",
  });
}

/** A record of somebody else may be old: only synchronisation says what is newest, and nobody asked for it. */
function isAnswerTo(question: Question, route: RouteCandidate): boolean {
  return !("agentId" in question) || route.agentId === question.agentId;
}

function notFound(question: Question): ErrorFacts {
  const what = "agentId" in question ? question.agentId : JSON.stringify(question.text.slice(0, 100));
  return { code: "CAUSEWAY_RECORD_NOT_FOUND", message: `no gateway that was asked knows ${what}` };
}

const outOfHopsError: ErrorFacts = {
  code: "CAUSEWAY_FORWARDING_TTL_EXHAUSTED",
  message: "the query passed as many gateways as it may, and none of them knows the agent",
};
