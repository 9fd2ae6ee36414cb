/** Routes of the record base as rows of the forwarding table. */
import type { GatewayUri } from "@causeway/core-base";
import type { RouteStatus, RouteCandidate as TableCandidate, TableDelta } from "@causeway/core-forwarding";
import type { RouteCandidate } from "@causeway/core-sync";

export function routeDelta(route: RouteCandidate): TableDelta {
  return { kind: "put", candidate: tableCandidate(route) };
}

export function tableCandidate(route: RouteCandidate): TableCandidate {
  return {
    agentId: route.agentId,
    origin: route.origin,
    // A reader sends no records, so that every name of a next hop is a gateway's.
    via: route.via === "local" ? { kind: "local" } : { kind: "peer", peer: route.via as GatewayUri },
    path: route.path,
    epoch: route.version.epoch,
    sequence: route.version.sequence,
    status: statuses[route.status],
    applicable: route.applicable,
    attachmentSequence: route.attachmentSequence,
    skills: route.record.card.skills.map((skill) => skill.id),
  };
}

const statuses = { online: 1, degraded: 2, offline: 3, deregistered: 4 } as const satisfies Record<
  RouteCandidate["status"],
  RouteStatus
>;
