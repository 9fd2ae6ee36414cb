/**
 * The decisions that keep synchronisation free of loops, ghosts and leaks, each a small function of its own. The
 * machine calls them through one object, so that a test can replace exactly one of them and see which checker notices;
 * production always runs `productionRules`.
 */
import { type ErrorFacts, type GatewayUri, parseGatewayUri } from "@causeway/core-base";
import { compareVersions, type Version } from "@causeway/core-records";
import { type Candidate, type Comparison, compareCandidates } from "./decide.ts";
import type { PeerName, SyncRole, Via } from "./effects.ts";
import type { PeerState } from "./session-table.ts";

/** A version of a record as one statement gives it. */
export interface Stated {
  readonly version: Version;
  readonly withdrawn: boolean;
}

/** What `checkPath` needs to know of the sender. */
export interface PathSender {
  readonly name: PeerName;
  readonly role: SyncRole;
}

export interface SyncRules {
  /** AMSP-78: our own name is in PATH. */
  readonly isLoop: (self: PeerName, path: readonly string[]) => boolean;
  /** AMSP-73: the way that we use was learned from the very neighbour that we would send to. */
  readonly isBackToSource: (learnedFrom: Via, to: PeerName) => boolean;
  /** AMSP-75 to AMSP-77: the error in a received PATH, or undefined. */
  readonly checkPath: (
    sender: PathSender,
    path: readonly string[] | undefined,
    hopsMax: number,
  ) => ErrorFacts | undefined;
  /** AMSP-76: PATH as we send it. */
  readonly extendPath: (self: PathSender, path: readonly GatewayUri[]) => readonly GatewayUri[];
  /** AMSP-100: the offered statement replaces the one held; a tombstone beats every older version. */
  readonly isNewer: (offered: Stated, held: Stated) => boolean;
  /** C-11. */
  readonly compareCandidates: (a: Candidate, b: Candidate) => Comparison;
  /** C-12: ways through a peer in this state are applicable; the decision is taken anew when that changes. */
  readonly isUsable: (state: PeerState) => boolean;
  /** C-9: may this side pass on what it learned that way? */
  readonly mayAdvertise: (role: SyncRole, via: Via) => boolean;
}

export function isLoop(self: PeerName, path: readonly string[]): boolean {
  return path.includes(self);
}

export function isBackToSource(learnedFrom: Via, to: PeerName): boolean {
  return learnedFrom === to;
}

export function checkPath(
  sender: PathSender,
  path: readonly string[] | undefined,
  hopsMax: number,
): ErrorFacts | undefined {
  if (path === undefined) {
    return { code: "CAUSEWAY_SYNC_PATH_MISSING", message: "expected a PATH attribute, got none" };
  }
  const wrong = (message: string): ErrorFacts => ({
    code: "CAUSEWAY_SYNC_PATH_INVALID",
    message,
    details: { path: path.slice(0, 4).join(" ").slice(0, 500) },
  });
  if (sender.role === "level1") {
    return path.length === 0 ? undefined : wrong("expected an empty PATH from a Level-1 gateway");
  }
  if (path.length === 0 || path[0] !== sender.name) return wrong(`expected ${sender.name} as first element of PATH`);
  if (path.length > hopsMax) return wrong(`expected at most ${hopsMax} elements in PATH, got ${path.length}`);
  if (new Set(path).size !== path.length) return wrong("expected each gateway once in PATH");
  return path.every(isGatewayUri) ? undefined : wrong("expected gateway URIs in PATH");
}

export function extendPath(self: PathSender, path: readonly GatewayUri[]): readonly GatewayUri[] {
  return self.role === "level2" ? [self.name as GatewayUri, ...path] : [];
}

export function isNewer(offered: Stated, held: Stated): boolean {
  return compareVersions(offered.version, held.version) > 0;
}

export function isUsable(state: PeerState): boolean {
  return state === "SYNCING" || state === "ESTABLISHED" || state === "RESYNC";
}

export function mayAdvertise(role: SyncRole, via: Via): boolean {
  return role === "level2" || (role === "level1" && via === "local");
}

/** What every gateway runs. */
export const productionRules: SyncRules = {
  isLoop,
  isBackToSource,
  checkPath,
  extendPath,
  isNewer,
  compareCandidates,
  isUsable,
  mayAdvertise,
};

function isGatewayUri(text: string): boolean {
  try {
    return parseGatewayUri(text) === text;
  } catch {
    // The caller reports the whole PATH; which grammar rule was broken does not matter.
    return false;
  }
}
