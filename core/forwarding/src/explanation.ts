/** The answer to "why does a message to this name go that way", in words: what operators read. Changes nothing. */
import { type AgentId, agentOf, asUnixMs, type UnixMs } from "@causeway/core-base";
import type { AgentEntry } from "./agent-entry.ts";
import { asciiBytes, endOfAgent } from "./name-map.ts";
import { reasonTexts } from "./reasons.ts";
import type { PeerRoute } from "./return-paths.ts";
import type { RouteExplanation, RouteReason } from "./route.ts";
import type { ForwardingTable } from "./table.ts";

/** Explains the way to `target`, full or short. `now` leaves out ways back that have lasted their time. */
export function explainRoute(table: ForwardingTable, target: string, now = asUnixMs(0)): RouteExplanation {
  const name = target.startsWith("spiffe://") ? target : `spiffe://${target}`;
  const agentId = agentOf(name as AgentId);
  const entry = table.entryOf(agentId);
  if (entry === undefined) return explainUnknown(table, name, now);
  const { ways, live, reason, instances } = entry;
  const first = ways[0];
  const chosen = first && {
    via: first.peer?.uri ?? ("local" as const),
    reason: live.length === 0 && first.peer === undefined ? heldReason(entry) : reason,
  };
  return {
    target: name,
    ...(chosen && { chosen }),
    candidates: table.candidates(agentId),
    attachments: [...instances.values()].map((slot) => slot.attachment),
    text: chosen
      ? `${agentId} goes ${chosen.via === "local" ? "to its attachment at this gateway" : `to ${chosen.via}`}: ${first.isUsable ? reasonTexts[chosen.reason] : reasonTexts["peer-lost"]}`
      : `${agentId}: ${reasonTexts["no-entry"]}`,
  };
}

function heldReason(entry: AgentEntry): RouteReason {
  return entry.instances.size > 0 ? "attachment-stale" : "not-attached";
}

function explainUnknown(table: ForwardingTable, name: string, now: UnixMs): RouteExplanation {
  const found = routeToUnknown(table, name, now);
  if (table.unknownTargets === "query" && (found === undefined || found.reason === "default-uplink")) {
    return { target: name, candidates: [], attachments: [], text: `${name}: ${reasonTexts["asked-for"]}` };
  }
  return {
    target: name,
    ...(found && { chosen: { via: found.route.peer.uri, reason: found.reason } }),
    candidates: [],
    attachments: [],
    text: found
      ? `${name} goes to ${found.route.peer.uri}: ${reasonTexts[found.reason]}`
      : `${name}: ${reasonTexts["no-entry"]}`,
  };
}

function routeToUnknown(
  table: ForwardingTable,
  name: string,
  now: UnixMs,
): { readonly route: PeerRoute; readonly reason: RouteReason } | undefined {
  const key = asciiBytes(name);
  const prefix = table.lookupPrefix(key, 0, key.length);
  if (prefix !== undefined) return { route: prefix, reason: "longest-prefix" };
  const back = table.returnPaths.findSender(key, 0, endOfAgent(key, 0, key.length), now);
  if (back !== undefined) return { route: back, reason: "return-path" };
  return table.uplink && { route: table.uplink, reason: "default-uplink" };
}
