import type { AgentId, GatewayUri } from "@causeway/core-base";
import type { RouteCandidate as ForwardingCandidate, ForwardingTable, RouteStatus } from "@causeway/core-forwarding";
import type { RouteCandidate } from "@causeway/core-sync";

const statuses = { online: 1, degraded: 2, offline: 3, deregistered: 4 } as const satisfies Record<
  RouteCandidate["status"],
  RouteStatus
>;

/** A route of the record base as the forwarding table has it. */
export function toForwarding(route: RouteCandidate): ForwardingCandidate {
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

/** Enters the routes of the record base into the forwarding table (AMSP-24). */
export class RouteInstaller {
  readonly #table: ForwardingTable;
  readonly #allowed = new Map<AgentId, ReadonlySet<string>>();

  constructor(table: ForwardingTable) {
    this.#table = table;
  }

  install(route: RouteCandidate): void {
    this.#table.apply({ kind: "put", candidate: toForwarding(route) });
    if (route.via !== "local") return;
    if (route.allowedDomains.length === 0) this.#allowed.delete(route.agentId);
    else this.#allowed.set(route.agentId, new Set([...route.allowedDomains, route.record.domain]));
  }

  remove(agentId: AgentId, origin: GatewayUri): void {
    this.#table.apply({ kind: "withdraw", agentId, origin });
  }

  /** Domains that may contact an agent of this gateway; undefined for every trusted one. */
  allowedDomains(agentId: AgentId): ReadonlySet<string> | undefined {
    return this.#allowed.get(agentId);
  }
}
