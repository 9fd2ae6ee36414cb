export type { Candidate, Comparison, Decision, RankedOrigin } from "./decide.ts";
export { compareOrigins, decide } from "./decide.ts";
export type {
  DecisionReason,
  PeerName,
  QueryResult,
  RouteCandidate,
  SessionId,
  SyncChange,
  SyncEffect,
  SyncEvent,
  SyncPeerStatus,
  SyncRole,
  Via,
} from "./effects.ts";
export { defaultSyncLimits, type SyncLimits } from "./limits.ts";
export { SyncMachine } from "./machine.ts";
export type { OpenedSession, SyncOptions, SyncSelf, SyncTarget } from "./options.ts";
export type { Announcement } from "./origination.ts";
export { isVisibleTo, type PolicyMode, type PolicyPeer, type PolicyVerdict, type SyncPolicy } from "./policy.ts";
export type { Question } from "./queries.ts";
export { nextPeerState, type PeerEvent, type PeerState, sessionTable } from "./session-table.ts";
