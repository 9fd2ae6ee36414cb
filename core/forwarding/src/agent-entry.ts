/**
 * Everything that the table knows of one agent, and the ranking of its ways. The order is: usable before lost, online
 * before degraded before offline, newest attachment (AAP-95), here before elsewhere, shortest PATH (C-11), lowest
 * origin. The criterion that separated the winner from the runner-up is the reason that `explain` gives.
 */
import type { AgentId, GatewayUri } from "@causeway/core-base";
import type { LocalAttachment, RouteCandidate, RouteReason } from "./route.ts";
import type { Verdict } from "./verdict.ts";

/** A neighbour; shared by all entries that lead to it. */
export class PeerState {
  readonly uri: GatewayUri;
  isUp = false;
  readonly #verdicts = new Map<RouteReason, Verdict>();

  constructor(uri: GatewayUri) {
    this.uri = uri;
  }

  /** To relay there: one object for all entries, so that it stays in the processor's cache. */
  verdict(reason: RouteReason): Verdict {
    let verdict = this.#verdicts.get(reason);
    if (verdict === undefined) {
      verdict = Object.freeze({ action: "relay", peer: this.uri, reason });
      this.#verdicts.set(reason, verdict);
    }
    return verdict;
  }
}

/** A live attachment and its ready-made verdicts. */
export class InstanceSlot {
  readonly attachment: LocalAttachment;
  /** Sources that stick to this instance: its load. */
  sources = 0;
  readonly named: Verdict;
  readonly only: Verdict;
  readonly sticky: Verdict;
  readonly leastLoaded: Verdict;

  constructor(attachment: LocalAttachment) {
    this.attachment = attachment;
    const { link, agentId, instance } = attachment;
    const deliver = (reason: RouteReason): Verdict =>
      Object.freeze({ action: "deliver", link, agentId, instance, reason });
    this.named = deliver("named-instance");
    this.only = deliver("local-attachment");
    this.sticky = deliver("sticky-instance");
    this.leastLoaded = deliver("least-loaded-instance");
  }
}

/** One way to the agent, ready to be taken. `peer` is undefined for this gateway. */
export interface Way {
  readonly peer: PeerState | undefined;
  readonly isUsable: boolean;
  readonly status: number;
  readonly attachmentSequence: bigint;
  readonly hops: number;
  readonly origin: string;
  /** Relay to the peer, or hold when nothing is attached here. */
  readonly verdict: Verdict;
}

type UndecidedWay = Omit<Way, "verdict">;

/** One agent. What a decision looks at comes first, so that it is one look at memory. */
export class AgentEntry {
  /** True once the table has dropped it. */
  isGone = false;
  /** Version of the peer states that `ways` was made with. */
  rankedAt = -1;
  /** The first way when it leads to a neighbour and can be taken; `relayTo` is the neighbour. */
  relay: Verdict | undefined = undefined;
  relayTo: GatewayUri | undefined = undefined;
  readonly agentId: AgentId;
  /** Number of the entry, for sticky choices. */
  readonly number: number;
  readonly candidates = new Map<GatewayUri, RouteCandidate>();
  readonly instances = new Map<string, InstanceSlot>();
  /** Instances that heartbeats reach: those that run well, or the degraded ones when there is no other. */
  live: readonly InstanceSlot[] = [];
  ways: readonly Way[] = [];
  reason: RouteReason = "no-entry";
  /** Position in each prefix group, by the group. */
  readonly positions = new Map<object, number>();
  readonly stale: Verdict;

  constructor(agentId: AgentId, number: number) {
    this.agentId = agentId;
    this.number = number;
    this.stale = hold(agentId, "attachment-stale");
  }

  get isEmpty(): boolean {
    return this.candidates.size === 0 && this.instances.size === 0;
  }

  /** True when this gateway is a serving gateway of the agent. */
  isServedBy(self: GatewayUri): boolean {
    return this.instances.size > 0 || this.candidates.get(self)?.via.kind === "local";
  }

  /** Orders the ways again. */
  rank(self: GatewayUri, peerOf: (uri: GatewayUri) => PeerState, version: number): void {
    this.rankedAt = version;
    const fresh = [...this.instances.values()].filter((slot) => !slot.attachment.stale);
    const well = fresh.filter((slot) => slot.attachment.degraded !== true);
    this.live = well.length > 0 ? well : fresh;
    const ways = [...this.candidates.values()].flatMap((c) =>
      c.via.kind === "peer" ? [remoteWay(c, peerOf(c.via.peer))] : [],
    );
    const here = this.#localWay(self, fresh, well.length > 0);
    if (here !== undefined) ways.push(here);
    ways.sort((a, b) => compareWays(a, b).order);
    this.reason = reasonOf(ways);
    this.ways = ways.map((way, i) => ({
      ...way,
      verdict: this.#verdict(way.peer, i === 0 ? this.reason : "better-way-leads-back"),
    }));
    const [first] = this.ways;
    const isRelay = first?.peer !== undefined && first.isUsable;
    this.relay = isRelay ? first.verdict : undefined;
    this.relayTo = isRelay ? first.peer.uri : undefined;
  }

  #verdict(peer: PeerState | undefined, reason: RouteReason): Verdict {
    if (peer !== undefined) return peer.verdict(reason);
    return this.instances.size > 0 ? this.stale : hold(this.agentId, "not-attached");
  }

  #localWay(self: GatewayUri, fresh: readonly InstanceSlot[], isWell: boolean): UndecidedWay | undefined {
    if (!this.isServedBy(self)) return undefined;
    const slots = fresh.length > 0 ? fresh : [...this.instances.values()];
    const own = this.candidates.get(self);
    const sequence = slots.reduce(
      (max, { attachment: a }) => (a.attachmentSequence > max ? a.attachmentSequence : max),
      own?.attachmentSequence ?? 0n,
    );
    return {
      peer: undefined,
      isUsable: true,
      status: isWell ? 1 : fresh.length > 0 ? 2 : 3,
      attachmentSequence: sequence,
      hops: 0,
      origin: self,
    };
  }
}

const hold = (agentId: AgentId, reason: RouteReason): Verdict =>
  Object.freeze({ action: "hold", agentId, code: "CAUSEWAY_FORWARDING_NOT_ATTACHED", reason });

function remoteWay(c: RouteCandidate, peer: PeerState): UndecidedWay {
  return {
    peer,
    isUsable: c.applicable && peer.isUp && c.status !== 4,
    status: c.status,
    attachmentSequence: c.attachmentSequence,
    hops: c.path.length + 1,
    origin: c.origin,
  };
}

/** Negative when `a` is better, with the criterion that decided. */
function compareWays(a: UndecidedWay, b: UndecidedWay): { readonly order: number; readonly reason: RouteReason } {
  if (a.isUsable !== b.isUsable) return { order: a.isUsable ? -1 : 1, reason: "applicable-first" };
  if (a.status !== b.status) return { order: a.status - b.status, reason: "online-first" };
  if (a.attachmentSequence !== b.attachmentSequence) {
    return { order: a.attachmentSequence > b.attachmentSequence ? -1 : 1, reason: "newest-attachment" };
  }
  if ((a.peer === undefined) !== (b.peer === undefined))
    return { order: a.peer === undefined ? -1 : 1, reason: "local-first" };
  if (a.hops !== b.hops) return { order: a.hops - b.hops, reason: "shortest-path" };
  return { order: a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0, reason: "lowest-origin" };
}

function reasonOf(ways: readonly UndecidedWay[]): RouteReason {
  const [first, second] = ways;
  if (first === undefined) return "no-entry";
  if (second === undefined) return first.peer === undefined ? "local-attachment" : "only-candidate";
  return compareWays(first, second).reason;
}
