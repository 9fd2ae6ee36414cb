/** What a sync machine is made of and what its driver hands it. */
import type { AgentId, Domain, GatewayUri, OwnVersion, Random, StoredRecord, StoredVector } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { OriginStatement, RecordVerifier } from "@causeway/core-records";
import type { record } from "@causeway/core-wire";
import type { PeerName, SessionId, SyncRole } from "./effects.ts";
import type { SyncLimits } from "./limits.ts";
import type { SyncPolicy } from "./policy.ts";

/** What this side is: certified, not chosen. */
export interface SyncSelf {
  readonly name: PeerName;
  readonly domain: Domain;
  readonly role: SyncRole;
}

export interface SyncOptions {
  readonly self: SyncSelf;
  readonly verifier: RecordVerifier;
  readonly sha256: (data: Uint8Array) => Uint8Array;
  readonly random: Random;
  /** Signs a statement of this gateway with its record key. A reader never calls it. */
  readonly sign: (statement: OriginStatement) => record.SignedOrigin;
  /** Last version given out; a new store starts with a greater epoch and sequence 0. */
  readonly own: OwnVersion;
  /** What was persisted before. */
  readonly records?: Iterable<StoredRecord>;
  readonly vectors?: readonly StoredVector[];
  readonly policy?: SyncPolicy;
  readonly limits?: Partial<SyncLimits>;
  /** Resolves the text of a query to agents of the record base, best first. Without it such queries are refused. */
  readonly search?: (text: string, limit: number) => readonly AgentId[];
}

/** A transport that is open and whose peer is authenticated. */
export interface OpenedSession {
  readonly session: SessionId;
  readonly peer: VerifiedPeer;
  /** The target that we dialled; left out when the peer dialled. */
  readonly target?: string;
}

/** A peer to dial. `target` is the driver's name for an address; who answers there is known by certificate. */
export interface SyncTarget {
  readonly target: string;
  /** Refuse anybody else at this address. */
  readonly expect?: GatewayUri;
}
