/** Finding agents: questions to the registry, and its answers as typed matches whose records were verified. */
import { create } from "@bufbuild/protobuf";
import { type AgentId, CausewayError, type GatewayUri, parseGatewayUri, refuse } from "@causeway/core-base";
import { createRecordVerifier, trustedSignatures } from "@causeway/core-records";
import { ars, record } from "@causeway/core-wire";
import type { AgentStatusName, Discovery, DiscoverOptions, Match } from "./api.ts";
import { cancelled, within } from "./clock.ts";
import type { Connector } from "./connector.ts";
import { timeoutOf } from "./exchanges.ts";

/** Asks the registry. A match whose record does not verify is left out, and a note says so. */
export async function discover(connector: Connector, text: string, options: DiscoverOptions): Promise<Discovery> {
  const { registry, scheduler, identity } = connector;
  if (!registry) throw refuse("CAUSEWAY_MISUSE", "expected the URL of a registry in the options of connect, got none");
  if (options.signal?.aborted) throw cancelled(options.signal);
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
  const abort = new AbortController();
  const signal = options.signal ? AbortSignal.any([abort.signal, options.signal]) : abort.signal;
  let response: ars.DiscoverResponse;
  try {
    response = await within(registry.discover(request, signal), {
      scheduler,
      timeoutMs: timeoutOf(options),
      signal: options.signal,
      expected: "an answer of the registry",
    });
  } finally {
    abort.abort();
  }
  const verifier = createRecordVerifier(trustedSignatures(identity.trust, identity.crypto));
  const matches: Match[] = [];
  const notes = [...response.notes];
  for (const found of response.matches) {
    try {
      if (!found.record) throw refuse("CAUSEWAY_RECORD_MALFORMED", "expected a record with the match, got none");
      const verified = verifier.verifyRecord(found.record, scheduler.now().unix);
      if (verified.record.agentId !== found.agentId) {
        throw refuse("CAUSEWAY_RECORD_NOT_OWNER", `expected the record of ${found.agentId}, got that of ${verified.record.agentId}`);
      }
      matches.push(matchOf(found, verified.record.agentId, verified.record.agentCard));
    } catch (thrown) {
      const error = CausewayError.from(thrown);
      notes.push(`${found.agentId} was left out: ${error.message} (${error.code})`);
    }
  }
  return { matches, notes, considered: Number(response.considered) };
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
