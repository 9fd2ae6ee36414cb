/**
 * Synchronisation policies (seed 003, section 4.5.3): which records go to which neighbour. Send-filter lets the sender
 * decide, publish/subscribe the receiver, hybrid both. What a record itself allows (`visible_domains`) holds in every
 * mode and cannot be configured away.
 */
import type { Domain } from "@causeway/core-base";
import type { AgentRecord } from "@causeway/core-records";
import type { PeerName, SyncRole } from "./effects.ts";

/** Who decides what is sent: the sender's filter, the receiver's subscriptions, or both (AMSP-81). */
export type PolicyMode = "send-filter" | "publish-subscribe" | "hybrid";

/** What a policy sees of a peer. */
export interface PolicyPeer {
  readonly name: PeerName;
  readonly role: SyncRole;
  readonly domain: Domain;
}

/** Answer of a policy function: allowed, or the reason why not. */
export type PolicyVerdict = true | { readonly denied: string };

/** Deployment policy. Everything left out is allowed. */
export interface SyncPolicy {
  /** Default: hybrid towards Level-1 gateways, send-filter towards Level-2 gateways and readers. */
  readonly mode?: (peer: PolicyPeer) => PolicyMode;
  /** Send filter: may this record go to that neighbour? Not asked in publish-subscribe mode. */
  readonly exports?: (record: AgentRecord, peer: PolicyPeer) => PolicyVerdict;
  /** Scope of this gateway: is this record kept at all when that neighbour sends it (AMSP-47)? */
  readonly imports?: (record: AgentRecord, peer: PolicyPeer) => PolicyVerdict;
}

/** The mode that applies to a peer. */
export function modeFor(policy: SyncPolicy, peer: PolicyPeer): PolicyMode {
  return policy.mode?.(peer) ?? (peer.role === "level1" ? "hybrid" : "send-filter");
}

/** May the record be shown to the peer's domain? Its own domain always may see it. */
export function isVisibleTo(record: AgentRecord, domain: Domain): boolean {
  return record.visibleDomains.length === 0 || domain === record.domain || record.visibleDomains.includes(domain);
}

/** The export decision for one record and one peer; `subscribed` tells whether the peer asked for it. */
export function decideExport(
  policy: SyncPolicy,
  record: AgentRecord,
  peer: PolicyPeer,
  subscribed: boolean,
): PolicyVerdict {
  if (!isVisibleTo(record, peer.domain)) {
    return { denied: `the agent shows its record to ${record.visibleDomains.join(", ")} only` };
  }
  const mode = modeFor(policy, peer);
  if (mode !== "send-filter" && !subscribed) return { denied: "the peer has no subscription for it" };
  return mode === "publish-subscribe" ? true : (policy.exports?.(record, peer) ?? true);
}
