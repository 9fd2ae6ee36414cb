/**
 * The choice among ways (C-11, AMSP-79, AMSP-80). Pure functions from candidates to a winner and the reason why it won:
 * local, then the newest version, then what is applicable, then the shortest PATH, then the lower delay class, then the
 * lower name in byte order. The result does not depend on the order in which candidates came.
 */
import type { GatewayUri } from "@causeway/core-base";
import { compareVersions, type Status, type Version } from "@causeway/core-records";
import type { DecisionReason, Via } from "./effects.ts";

/** One way to one record of one origin. */
export interface Candidate {
  readonly via: Via;
  readonly version: Version;
  /** As received: the sending Level-2 gateway first; empty for local ones and from Level-1 gateways. */
  readonly path: readonly GatewayUri[];
  readonly applicable: boolean;
  readonly delayClass: number;
}

/** Negative when the first is better, and what made the difference. */
export interface Comparison {
  readonly order: number;
  readonly reason: DecisionReason;
}

/** The winner and why. */
export interface Decision {
  readonly winner: Candidate;
  readonly reason: DecisionReason;
}

/** Orders two candidates of one (agentId, origin). */
export function compareCandidates(a: Candidate, b: Candidate): Comparison {
  const isLocal = (c: Candidate): number => (c.via === "local" ? 0 : 1);
  const steps: readonly (readonly [number, DecisionReason])[] = [
    [isLocal(a) - isLocal(b), "local"],
    [compareVersions(b.version, a.version), "newer version"],
    [Number(b.applicable) - Number(a.applicable), "applicable"],
    [a.path.length - b.path.length, "shortest path"],
    [a.delayClass - b.delayClass, "lower delay class"],
  ];
  for (const [order, reason] of steps) if (order !== 0) return { order, reason };
  return { order: compareText(a.via, b.via), reason: "lower uri" };
}

/** The best of the candidates, or undefined when there is none. */
export function decide(
  candidates: readonly Candidate[],
  compare: (a: Candidate, b: Candidate) => Comparison = compareCandidates,
): Decision | undefined {
  let winner: Candidate | undefined;
  let reason: DecisionReason = "only candidate";
  let runnerUp: Candidate | undefined;
  for (const candidate of candidates) {
    if (winner === undefined || compare(candidate, winner).order < 0) {
      runnerUp = winner;
      winner = candidate;
    } else if (runnerUp === undefined || compare(candidate, runnerUp).order < 0) {
      runnerUp = candidate;
    }
  }
  if (winner === undefined) return undefined;
  if (winner.via === "local") reason = "local";
  else if (runnerUp !== undefined) reason = compare(winner, runnerUp).reason;
  return { winner, reason };
}

/** What the choice between several origins of one agent looks at (AAP-15, AAP-95). */
export interface RankedOrigin {
  readonly origin: GatewayUri;
  readonly via: Via;
  readonly status: Status;
  readonly applicable: boolean;
  readonly attachmentSequence: bigint;
  readonly path: readonly GatewayUri[];
}

/** Orders origins of one agent: applicable, online before degraded before offline, later attachment, shorter way. */
export function compareOrigins(a: RankedOrigin, b: RankedOrigin): number {
  if (a.applicable !== b.applicable) return a.applicable ? -1 : 1;
  if (a.status !== b.status) return statusRank[a.status] - statusRank[b.status];
  if (a.attachmentSequence !== b.attachmentSequence) return a.attachmentSequence > b.attachmentSequence ? -1 : 1;
  if (a.via !== b.via && (a.via === "local" || b.via === "local")) return a.via === "local" ? -1 : 1;
  return a.path.length - b.path.length || compareText(a.origin, b.origin);
}

/** Names are ASCII, so that the order of code units is the order of bytes. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

const statusRank = { online: 0, degraded: 1, offline: 2, deregistered: 3 } as const satisfies Record<Status, number>;
