/**
 * What the sync machine asks its driver to do, as data. The driver performs the effects of one `drain()` in order and
 * before the next input; a `persist` comes before every `send` that depends on it.
 */
import type {
  AgentId,
  Domain,
  ErrorFacts,
  GatewayUri,
  Instant,
  OwnVersion,
  SpiffeId,
  StoredRecord,
  StoredVector,
} from "@causeway/core-base";
import type { AgentRecord, Status, Version } from "@causeway/core-records";
import type { amsp, record } from "@causeway/core-wire";
import type { PeerState } from "./session-table.ts";

/** Name of a peer: the certified URI of a gateway, or the SPIFFE ID of a reader, which has no URI. */
export type PeerName = GatewayUri | SpiffeId;

/** What a side is in a session (AMSP-44, AMSP-47). A reader receives and never sends a record. */
export type SyncRole = "level1" | "level2" | "reader";

/** A number that the driver gives to each transport; never used twice. */
export type SessionId = number;

/** One instruction to the driver. */
export type SyncEffect =
  /** Open a transport to the target and report it by `handleOpened` or `handleDialFailed`. */
  | { readonly type: "dial"; readonly target: string }
  | { readonly type: "send"; readonly session: SessionId; readonly message: amsp.Message }
  /** Close the transport after what was sent; no `handleClosed` is expected for it. */
  | { readonly type: "close"; readonly session: SessionId; readonly error?: ErrorFacts }
  | { readonly type: "persist"; readonly change: SyncChange }
  /** Insert or replace the route (agentId, origin) of the forwarding table. */
  | { readonly type: "install"; readonly route: RouteCandidate }
  | { readonly type: "remove"; readonly agentId: AgentId; readonly origin: GatewayUri; readonly reason: string }
  | { readonly type: "answer"; readonly query: bigint; readonly result: QueryResult }
  | { readonly type: "event"; readonly event: SyncEvent };

/** A change of durable state. */
export type SyncChange =
  /** Insert or replace by (agentId, origin); a withdrawn one is a tombstone. */
  | { readonly kind: "record"; readonly record: StoredRecord }
  /** Delete (agentId, origin), tombstone or not. */
  | { readonly kind: "forget"; readonly agentId: AgentId; readonly origin: GatewayUri }
  | { readonly kind: "vector"; readonly vector: StoredVector }
  /** The last version that this gateway gave out; the record that carries it follows in the same drain. */
  | { readonly kind: "version"; readonly own: OwnVersion };

/** Where an entry leads: to an attachment here, or to the peer of that name. */
export type Via = "local" | PeerName;

/** Why an entry won over the others of the same (agentId, origin), or why it is the only one (C-11). */
export type DecisionReason =
  | "local"
  | "only candidate"
  | "newer version"
  | "applicable"
  | "shortest path"
  | "lower delay class"
  | "lower uri";

/** One usable way to one origin of an agent: a row for the forwarding table, with what discovery shows of it. */
export interface RouteCandidate {
  readonly agentId: AgentId;
  readonly origin: GatewayUri;
  readonly via: Via;
  /** Level-2 gateways passed, newest first; empty for local ones and for those of an attached Level-1 gateway. */
  readonly path: readonly GatewayUri[];
  readonly version: Version;
  readonly status: Status;
  /** False while the peer that leads there is away (C-12). */
  readonly applicable: boolean;
  readonly reason: DecisionReason;
  /** Orders several origins of one agent: the higher is the later attachment (AAP-95). */
  readonly attachmentSequence: bigint;
  /** Domains that may contact the agent; empty for every trusted one (AMSP-19). */
  readonly allowedDomains: readonly Domain[];
  readonly record: AgentRecord;
  readonly signed: record.SignedRecord;
  readonly signedOrigin: record.SignedOrigin;
}

/** Outcome of a query (AMSP-101). Negative: CAUSEWAY_RECORD_NOT_FOUND, CAUSEWAY_TIMEOUT, CAUSEWAY_FORWARDING_TTL_EXHAUSTED. */
export type QueryResult =
  | { readonly found: true; readonly routes: readonly RouteCandidate[] }
  | { readonly found: false; readonly error: ErrorFacts };

/** Something that an operator wants to know. */
export type SyncEvent =
  | {
      readonly name: "sync.peer_changed";
      readonly peer: string;
      readonly from: PeerState;
      readonly to: PeerState;
      readonly reason: string;
    }
  | { readonly name: "sync.peer_refused"; readonly peer: string; readonly error: ErrorFacts }
  | {
      readonly name: "sync.update_refused";
      readonly peer: PeerName;
      readonly error: ErrorFacts;
      readonly agentId?: AgentId;
    }
  | { readonly name: "sync.loop_discarded"; readonly peer: PeerName; readonly agentId: string }
  | { readonly name: "sync.notified"; readonly peer: PeerName; readonly code: string; readonly message: string }
  | { readonly name: "sync.view_mismatch"; readonly peer: PeerName }
  | { readonly name: "sync.epoch_raised"; readonly epoch: bigint; readonly reason: string }
  | {
      readonly name: "sync.status_damped";
      readonly agentId: AgentId;
      readonly origin: GatewayUri;
      readonly until: Instant;
    }
  | { readonly name: "sync.subscription_refused"; readonly peer: PeerName; readonly error: ErrorFacts };

/** State and counters of one peer, as the admin interface shows them. */
export interface SyncPeerStatus {
  readonly name: PeerName;
  readonly role: SyncRole;
  readonly domain: Domain;
  readonly state: PeerState;
  readonly since: Instant;
  /** Updates taken and sent, all sessions together. */
  readonly received: number;
  readonly sent: number;
  readonly loopsDiscarded: number;
  readonly refused: number;
  /** Records in the received and in the sent view. */
  readonly recordsIn: number;
  readonly recordsOut: number;
  readonly unacknowledged: number;
  readonly queued: number;
  readonly subscriptions: number;
}
