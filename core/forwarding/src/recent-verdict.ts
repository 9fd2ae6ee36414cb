/**
 * The last decision about messages of one shape (`KnownFrame`) from one agent. It is taken again while nothing has
 * changed that it depends on: the shape holds every byte of the header but id and expiry, and the version of the table
 * counts every change. Choices that depend on what was chosen before, and ways back that are forgotten with time, are
 * never kept, so that remembering changes no outcome.
 */
import { type KnownFrame, TargetKind } from "@causeway/core-wire";
import type { ForwardingPolicy } from "./policy.ts";
import type { Arrival, RouteReason } from "./route.ts";
import type { ForwardingTable } from "./table.ts";
import type { Verdict } from "./verdict.ts";

class RecentVerdict {
  readonly table: ForwardingTable;
  readonly version: number;
  readonly policy: ForwardingPolicy;
  readonly arrival: Arrival;
  readonly verdict: Verdict;

  constructor(table: ForwardingTable, policy: ForwardingPolicy, arrival: Arrival, verdict: Verdict) {
    this.table = table;
    this.version = table.version;
    this.policy = policy;
    this.arrival = arrival;
    this.verdict = verdict;
  }
}

/** The decision that holds still. */
export function recall(
  known: KnownFrame,
  table: ForwardingTable,
  policy: ForwardingPolicy,
  arrival: Arrival,
): Verdict | undefined {
  const { memo } = known;
  return memo instanceof RecentVerdict &&
    memo.arrival === arrival &&
    memo.table === table &&
    memo.version === table.version &&
    memo.policy === policy
    ? memo.verdict
    : undefined;
}

/** Keeps a decision that follows from the table alone. */
export function remember(
  known: KnownFrame,
  targetKind: number,
  table: ForwardingTable,
  policy: ForwardingPolicy,
  arrival: Arrival,
  verdict: Verdict,
): void {
  // One of many is chosen by who was chosen before, whatever the reason for the way to it.
  if (targetKind === TargetKind.prefix) return;
  // Of a neighbour's messages the table also learns where their senders are.
  if (arrival.kind !== "agent" || !lasting.has(verdict.reason)) return;
  if (verdict.reason === "default-uplink" && table.returnPaths.size > 0) return;
  known.memo = new RecentVerdict(table, policy, arrival, verdict);
}

/** Reasons that neither a counter nor a clock is part of. */
const lasting: ReadonlySet<RouteReason> = new Set<RouteReason>([
  "local-attachment",
  "named-instance",
  "only-candidate",
  "applicable-first",
  "online-first",
  "newest-attachment",
  "local-first",
  "shortest-path",
  "lowest-origin",
  "default-uplink",
  "topic",
]);
