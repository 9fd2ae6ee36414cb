/** Finding agents: questions to the registry, and its answers as typed matches whose records were verified. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, CausewayError, type GatewayUri, parseGatewayUri, refuse } from "@causeway/core-base";
import { createRecordVerifier, trustedSignatures } from "@causeway/core-records";
import { ars, record } from "@causeway/core-wire";
import type { AgentStatusName, CallOptions, DiscoverOptions, Discovery, Match } from "./api.ts";
import { cancelled, within } from "./clock.ts";
import type { Connector, RegistryPort } from "./connector.ts";
import { timeoutOf } from "./exchange/limits.ts";

/** Asks the registry. A match whose record does not verify is left out, and a note says so. */
export async function discover(connector: Connector, text: string, options: DiscoverOptions): Promise<Discovery> {
  const request = create(ars.DiscoverRequestSchema, {
    text,
    skills: [...(options.skills ?? [])],
    tags: [...(options.tags ?? [])],
    protocols: [...(options.protocols ?? [])],
    languages: [...(options.languages ?? [])],
    domains: [...(options.domains ?? [])],
    statuses: (options.statuses ?? []).map((name) => statusCodes[name]),
    limit: options.limit ?? 10,
  });
  const response = await asked(connector, options, (registry, signal) => registry.discover(request, signal));
  const matches: Match[] = [];
  const notes = [...response.notes];
  for (const found of response.matches) {
    try {
      matches.push(verified(connector, found));
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      notes.push(`${found.agentId} was left out: ${error.message} (${error.code})`);
    }
  }
  return { matches, notes, considered: Number(response.considered) };
}

/** The record of one agent; undefined when the registry knows none that this agent may see. */
export async function lookup(connector: Connector, agentId: AgentId, options: CallOptions): Promise<Match | undefined> {
  const request = create(ars.GetRecordRequestSchema, { agentId });
  try {
    const { match } = await asked(connector, options, (registry, signal) => registry.getRecord(request, signal));
    return match && verified(connector, match);
  } catch (thrown) {
    const error = CausewayError.from(thrown);
    if (error.code === "CAUSEWAY_RECORD_NOT_FOUND") return undefined;
    throw error;
  }
}

async function asked<T>(
  connector: Connector,
  options: CallOptions,
  call: (registry: RegistryPort, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { registry, scheduler } = connector;
  if (!registry) throw refuse("CAUSEWAY_MISUSE", "expected the URL of a registry in the options of connect, got none");
  if (options.signal?.aborted) throw cancelled(options.signal);
  const abort = new AbortController();
  try {
    return await within(
      call(registry, options.signal ? AbortSignal.any([abort.signal, options.signal]) : abort.signal),
      {
        scheduler,
        timeoutMs: timeoutOf(options),
        signal: options.signal,
        expected: "an answer of the registry",
      },
    );
  } finally {
    abort.abort();
  }
}

/** A match whose record was signed by the agent that it names. */
function verified({ identity, scheduler }: Connector, found: ars.Match): Match {
  if (!found.record) throw refuse("CAUSEWAY_RECORD_MALFORMED", "expected a record with the match, got none");
  const verifier = createRecordVerifier(trustedSignatures(identity.trust, identity.crypto));
  const { record: agentRecord } = verifier.verifyRecord(found.record, scheduler.now().unix);
  if (agentRecord.agentId !== found.agentId) {
    throw refuse(
      "CAUSEWAY_RECORD_NOT_OWNER",
      `expected the record of ${found.agentId}, got that of ${agentRecord.agentId}`,
    );
  }
  return matchOf(found, agentRecord.agentId, agentRecord.agentCard);
}

function matchOf(found: ars.Match, agentId: AgentId, cardBytes: Uint8Array): Match {
  return {
    agentId,
    score: found.score,
    why: found.why,
    local: found.local,
    status: statusNames[found.status] ?? "unknown",
    gateway: gatewayOf(found.gatewayUri),
    path: found.path,
    card: JSON.parse(new TextDecoder().decode(cardBytes)) as Match["card"],
    cardBytes,
    freshUnixMs: Number(found.freshUnixMs),
  };
}

function gatewayOf(uri: string): GatewayUri | undefined {
  return uri === "" ? undefined : parseGatewayUri(uri);
}

const statusCodes: Readonly<Record<AgentStatusName, record.AgentStatus>> = {
  unknown: record.AgentStatus.UNSPECIFIED,
  online: record.AgentStatus.ONLINE,
  degraded: record.AgentStatus.DEGRADED,
  offline: record.AgentStatus.OFFLINE,
  deregistered: record.AgentStatus.DEREGISTERED,
};

const statusNames: Readonly<Record<number, AgentStatusName>> = Object.fromEntries(
  Object.entries(statusCodes).map(([name, code]) => [code, name as AgentStatusName]),
);
