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
export { type OpenedSession, SyncMachine, type SyncOptions, type SyncSelf, type SyncTarget } from "./machine.ts";
export type { PolicyMode, PolicyPeer, PolicyVerdict, SyncPolicy } from "./policy.ts";
export { nextPeerState, type PeerEvent, type PeerState, sessionTable } from "./session-table.ts";
