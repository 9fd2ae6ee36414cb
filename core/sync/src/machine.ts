import type {
  AgentId,
  ErrorFacts,
  GatewayUri,
  Instant,
  Machine,
  Now,
  OwnVersion,
  Random,
  StoredRecord,
  StoredVector,
  Domain,
} from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { InterestTopic, OriginStatement, RecordVerifier, RegisteredRecord, Status } from "@causeway/core-records";
import type { amsp, record } from "@causeway/core-wire";
import type { PeerName, RouteCandidate, SessionId, SyncEffect, SyncPeerStatus, SyncRole } from "./effects.ts";
import type { SyncLimits } from "./limits.ts";
import type { PolicyVerdict, SyncPolicy } from "./policy.ts";
import { productionRules, type SyncRules } from "./rules.ts";

/** What this side is: certified, not chosen. */
export interface SyncSelf {
  readonly name: PeerName;
  readonly domain: Domain;
  readonly role: SyncRole;
}

/** What a machine is made of. */
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

/** The record base of one gateway or reader and its peering sessions. */
export class SyncMachine implements Machine<SyncEffect> {
  constructor(_options: SyncOptions, _rules: SyncRules = productionRules) {}

  // Inputs
  handleOpened(_now: Now, _opened: OpenedSession): void {
    throw new Error("not yet");
  }
  handleDialFailed(_now: Now, _target: string, _reason: string): void {
    throw new Error("not yet");
  }
  handleMessage(_now: Now, _session: SessionId, _message: amsp.Message): void {
    throw new Error("not yet");
  }
  /** Bytes came that are not a message of this protocol: the session is closed and the peer told. */
  handleMalformed(_now: Now, _session: SessionId): void {
    throw new Error("not yet");
  }
  handleClosed(_now: Now, _session: SessionId, _reason: string): void {
    throw new Error("not yet");
  }
  handleTimeout(_now: Now): void {
    throw new Error("not yet");
  }

  // Commands
  addTarget(_now: Now, _target: SyncTarget): void {
    throw new Error("not yet");
  }
  removeTarget(_now: Now, _target: string): void {
    throw new Error("not yet");
  }
  /** Ends the peering for good and removes what only this peer told (revocation, operator). */
  disconnect(_now: Now, _peer: PeerName, _error: ErrorFacts): void {
    throw new Error("not yet");
  }
  /** Measured distance class of a peer; the lower wins between equal paths (C-11). Default 0. */
  setDelayClass(_now: Now, _peer: PeerName, _delayClass: number): void {
    throw new Error("not yet");
  }
  setPolicy(_now: Now, _policy: SyncPolicy): void {
    throw new Error("not yet");
  }
  /** Originates a record of an agent that is attached here, or replaces it. */
  announce(
    _now: Now,
    _entry: { readonly registered: RegisteredRecord; readonly status: Status; readonly attachmentSequence: bigint },
  ): void {
    throw new Error("not yet");
  }
  setStatus(_now: Now, _agentId: AgentId, _status: Status, _attachmentSequence?: bigint): void {
    throw new Error("not yet");
  }
  /** Withdraws an own record: a tombstone travels. */
  withdraw(_now: Now, _agentId: AgentId): void {
    throw new Error("not yet");
  }
  /** Asks the Level-2 gateways for records of a topic, now and at each new session. Returns the subscription's id. */
  subscribe(_now: Now, _interest: Partial<InterestTopic>): bigint {
    throw new Error("not yet");
  }
  unsubscribe(_now: Now, _id: bigint): void {
    throw new Error("not yet");
  }
  /** The subscription was used; its idle time starts again. */
  touch(_now: Now, _id: bigint): void {
    throw new Error("not yet");
  }
  /** Asks the Level-2 gateways; an `answer` effect with this id follows, always. */
  query(_now: Now, _query: { readonly agentId: AgentId } | { readonly text: string; readonly limit?: number }): bigint {
    throw new Error("not yet");
  }
  /** Leaves service: Close with `leaving` to every peer. */
  leave(_now: Now): void {
    throw new Error("not yet");
  }

  // Outputs
  drain(): readonly SyncEffect[] {
    throw new Error("not yet");
  }
  deadline(): Instant | undefined {
    throw new Error("not yet");
  }

  // Reads
  peers(): readonly SyncPeerStatus[] {
    throw new Error("not yet");
  }
  /** Every way to an agent, best origin first (online before degraded before offline, later attachment, shorter path). */
  routes(_agentId: AgentId): readonly RouteCandidate[] {
    throw new Error("not yet");
  }
  /** Every route of the record base in key order. */
  allRoutes(): IterableIterator<RouteCandidate> {
    throw new Error("not yet");
  }
  /** Why a record is or is not sent to a peer (AMSP-74, AMSP-82). */
  explainExport(_agentId: AgentId, _origin: GatewayUri, _peer: PeerName): PolicyVerdict {
    throw new Error("not yet");
  }
  /** Highest version known of each origin. */
  vector(): readonly StoredVector[] {
    throw new Error("not yet");
  }
  /** Digest over (agent, origin, version, status) of every applicable record: equal at gateways with equal views. */
  digest(): Uint8Array {
    throw new Error("not yet");
  }
  recordCount(): number {
    throw new Error("not yet");
  }
}
