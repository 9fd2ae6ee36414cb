/** `requestMany`: one question to many agents, and whatever answers come in time. */
import { type AgentId, CausewayError, isPrefixOf, parseAgentId, parsePrefix, refuse } from "@causeway/core-base";
import type { Answer, Ask, CallOptions, DiscoverOptions, Discovery, ManyAnswers, ManyOptions } from "./api.ts";
import { timeoutOf } from "./exchange/limits.ts";

export interface ScatterPorts {
  readonly self: AgentId;
  readonly request: (agent: AgentId, ask: Ask, options: CallOptions) => Promise<Answer>;
  readonly discover: (text: string, options: DiscoverOptions) => Promise<Discovery>;
  /** Milliseconds on a clock that only moves on. */
  readonly nowMs: () => number;
}

/** Asks every target, a bounded number at a time, and tells of each who gave no answer why. */
export async function requestMany(
  ports: ScatterPorts,
  targets: string | readonly string[],
  ask: Ask,
  options: ManyOptions,
): Promise<ManyAnswers> {
  const { concurrency = 64, onAnswer } = options;
  if (!(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= concurrencyMax))
    throw refuse("CAUSEWAY_MISUSE", `expected a concurrency of 1 to ${concurrencyMax}, got ${concurrency}`);
  const until = ports.nowMs() + timeoutOf(options);
  const agents = await agentsOf(ports, targets, options);
  const enough = options.enough ?? agents.length;
  const answers: Answer[] = [];
  const failures: { agent: AgentId; error: CausewayError }[] = [];
  const abort = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, abort.signal]) : abort.signal;
  const ask1 = async (agent: AgentId): Promise<void> => {
    const leftMs = until - ports.nowMs();
    try {
      if (answers.length >= enough) throw refuse("CAUSEWAY_CANCELLED", "there were enough answers before");
      if (leftMs <= 0)
        throw refuse("CAUSEWAY_TIMEOUT", "the time was over before this agent was asked; it was not asked");
      const answer = await ports.request(agent, ask, { ...options, timeoutMs: leftMs, signal });
      answers.push(answer);
      onAnswer?.(answer);
      if (answers.length >= enough) abort.abort();
    } catch (thrown) {
      failures.push({ agent, error: CausewayError.from(thrown) });
    }
  };
  const queue = [...agents];
  const worker = async (): Promise<void> => {
    for (let agent = queue.shift(); agent; agent = queue.shift()) await ask1(agent);
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, agents.length) }, worker));
  return { answers, failures, isComplete: answers.length === agents.length };
}

async function agentsOf(
  ports: ScatterPorts,
  targets: string | readonly string[],
  options: ManyOptions,
): Promise<readonly AgentId[]> {
  if (typeof targets !== "string") {
    if (targets.length === 0 || targets.length > targetsMax)
      throw refuse("CAUSEWAY_MISUSE", `expected 1 to ${targetsMax} targets, got ${targets.length}`);
    return [...new Set(targets.map((target) => parseAgentId(target)))];
  }
  if (!targets.endsWith("/")) {
    const problem = `expected names, or a prefix that ends in '/', got ${JSON.stringify(targets)}`;
    throw refuse("CAUSEWAY_MISUSE", problem);
  }
  const prefix = parsePrefix(targets);
  const [domain = "", ...path] = prefix.slice("spiffe://".length).split("/");
  const found = await ports.discover(path.join(" "), {
    domains: [domain],
    limit: foundMax,
    ...(options.signal && { signal: options.signal }),
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
  });
  const agents = found.matches
    .map(({ agentId }) => agentId)
    .filter((agent) => agent !== ports.self && isPrefixOf(prefix, agent));
  if (agents.length > 0) return agents;
  throw refuse("CAUSEWAY_RECORD_NOT_FOUND", `expected agents below ${targets}, discovery found none`);
}

const concurrencyMax = 1_024;
const targetsMax = 10_000;
/** Agents that one question to the registry can name. */
const foundMax = 100;
