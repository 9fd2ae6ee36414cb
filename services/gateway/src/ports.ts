/** What a gateway needs of the world. apps/cli hands in the adapters, tests hand in memory ones. */

import type { AttachmentModelName, ChannelBindingName, GatewayUse } from "@causeway/core-attachment";
import type {
  AnyLimitTable,
  CausewayError,
  Domain,
  GatewayStore,
  GatewayUri,
  Log,
  MailboxStore,
  ProcessUsage,
  Random,
  Scheduler,
  SpiffeId,
} from "@causeway/core-base";
import type { PolicyRule, ResolutionLimits, UnknownTargets } from "@causeway/core-forwarding";
import type { CryptoPort, Signer, TrustStore, VerifiedPeer } from "@causeway/core-identity";
import type { MailboxLimits } from "@causeway/core-mailbox";
import type { Lane } from "@causeway/core-wire";
import type { HandlerContext, Transport } from "@connectrpc/connect";
import type { AllGatewayLimits } from "./limit-rules.ts";

/**
 * One frame inside a received buffer: bytes `start` to `end` of `buffer`. May be handed to `send` of another link
 * without a copy; whoever keeps it longer than the call copies it.
 */
export interface FrameSlice {
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** One AGP Link stream, agent or peer, either side. */
export interface Link {
  readonly peer: VerifiedPeer;
  /** TLS exporter value that binds the attach proof to this connection. */
  readonly channelBinding: Uint8Array;
  /** SHA-256 of the certificate that the gateway showed on this connection (RFC 5929). */
  readonly serverEndPoint?: () => Uint8Array | undefined;
  /**
   * Queues one serialised Frame, the bytes `start` to `end` of `frame`, which must not change before the end of the
   * turn. Bulk leaves behind what is urgent, which is the default; order is kept within a lane. False when the lane's queue
   * is above its high-water mark; the frame is queued all the same.
   */
  send(frame: Uint8Array, start?: number, end?: number, lane?: Lane): boolean;
  readonly bufferedBytes: number;
  /** Bytes in the lane of bulk; undefined when they are counted with the others. */
  readonly bufferedBulkBytes?: number;
  /** The other side has taken bulk: what is on its way to it is bounded from now on. */
  takenBulk?(bytes: number): void;
  /** Sets the one receiver of frames, called with every frame of a read. Reading starts with it. */
  onFrames(receive: (frames: readonly FrameSlice[]) => void): void;
  /** Called each time one lane has room again after `send` answered false for it. */
  onWritable(run: (lane: Lane) => void): void;
  /** Called once; at once when the link is closed already. */
  onClose(run: (error?: CausewayError) => void): void;
  /** Stops and restarts reading, which holds the sender back. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. */
  close(error?: CausewayError): void;
}

/** Whom a dialled connection has to reach: a certified gateway, the one with this URI when given. */
export interface ExpectedGateway {
  readonly role: "gateway";
  readonly gatewayUri?: GatewayUri;
}

/** What a dialled connection is opened with. */
export interface DialOptions {
  /** https://host:port */
  readonly url: string;
  readonly expect: ExpectedGateway;
  readonly signal: AbortSignal;
}

/** A Connect transport over one connection that is dialled on demand. */
export interface SyncTransport extends Transport {
  /** Dials when not connected; who answered. */
  connect(signal?: AbortSignal): Promise<VerifiedPeer>;
  close(): void;
}

/** Opens connections to peer gateways. */
export interface Dialler {
  /** An AGP Link. Rejects with a typed error. */
  link(options: DialOptions): Promise<Link>;
  /** A transport for one AMSP session. */
  sync(options: DialOptions): SyncTransport;
}

/** The certified identity of this gateway. Signers are read anew each time, since certificates are renewed. */
export interface GatewayIdentity {
  readonly spiffeId: SpiffeId;
  /** Key of the TLS certificate: attach challenge, lease, offer. */
  tlsSigner(): Signer;
  /** Key of the record-signing certificate: SignedOrigin. */
  recordSigner(): Signer;
}

/** What the gateway is given. Nothing here is created or closed by it, except links that it dials. */
export interface GatewayDeps {
  readonly store: GatewayStore;
  readonly mailboxes: MailboxStore;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly crypto: CryptoPort;
  readonly trust: TrustStore;
  readonly identity: GatewayIdentity;
  readonly dial: Dialler;
  readonly log: Log;
  /** Who called a Connect handler. Throws when the connection is not authenticated. */
  callerOf(context: HandlerContext): VerifiedPeer;
  /** Closes every accepted connection of the peers that `matches` picks; returns how many. */
  disconnect(matches: (peer: VerifiedPeer) => boolean, reason?: CausewayError): number;
  /** Connections of each thread that does TCP and TLS, for the status. Default: there are none. */
  workerConnections?(): readonly number[];
  /** Calls `run` once everything that the current turn of the event loop received was handled. */
  endOfTurn(run: () => void): void;
  /** What the configuration says now, for a reload. Throws when it cannot be read. Default: there is no reload. */
  readConfig?(): LiveConfig;
  /** Limits of what carries it, listed beside its own and configured in the same place. */
  readonly limitsBeside?: AnyLimitTable;
  /** What the process uses now, for metrics. Default: not told. */
  processUsage?(): ProcessUsage;
  /** Calls `run` after each change of the trust store until the returned function is called. */
  onTrustChange(run: () => void): () => void;
}

/** A neighbour from the configuration. */
export interface PeerConfig {
  /** https://host:port */
  readonly url: string;
  /** `uplink`: the Level-2 gateway of this Level-1 gateway. `peer`: another Level-2 gateway. */
  readonly kind: "uplink" | "peer";
  /** Certified URI that has to answer; any certified gateway when undefined. */
  readonly gatewayUri?: GatewayUri;
}

/** Configuration of one gateway. */
export interface GatewayConfig {
  readonly gatewayUri: GatewayUri;
  readonly domain: Domain;
  /** Certified level. */
  readonly level: 1 | 2;
  /** https://host:port under which agents and peers reach this gateway; stands in offers. */
  readonly endpoint: string;
  readonly peers: readonly PeerConfig[];
  /** Attachment models offered, the preferred one first (AAP-81). Default stateful, soft. */
  readonly attachmentModels?: readonly AttachmentModelName[];
  /** Channel bindings that are taken of agents (ADR 30). Default both. */
  readonly channelBindings?: readonly ChannelBindingName[];
  /** What attached agents are told of messages inside the domain (ADR 60). Default `prefer`: they choose. */
  readonly gatewayUse?: GatewayUse;
  /** Forwarding policy: the first rule that matches decides. Default: everything is permitted. */
  readonly policy?: readonly PolicyRule[];
  /** What happens to messages of own agents to one that is not known here (ADR 50). Default `default-route`. */
  readonly unknownTargets?: UnknownTargets;
  /** Bounds that are not the default; those of record synchronisation begin with `sync.`. */
  readonly limits?: Partial<AllGatewayLimits>;
}

/** What a reload takes over while the gateway runs. What is absent has its default. */
export type LiveConfig = Pick<GatewayConfig, "limits" | "policy">;

/** Bounds of a gateway, all with defaults in `gatewayLimits` and rules in `gatewayLimitRules`. Live: read at each use. */
export interface GatewayLimits extends MailboxLimits, ResolutionLimits {
  readonly heartbeatMs: number;
  readonly staleAfterMs: number;
  readonly removeAfterStaleMs: number;
  readonly leaseMs: number;
  /** Time between opening a link and finishing the attach handshake. */
  readonly handshakeMs: number;
  readonly attachmentsMax: number;
  /** Attach attempts of one Agent ID, all its instances together; more are refused with the time to wait. */
  readonly attachesPerMinute: number;
  /** Best-effort messages that wait for a stale agent, and their bytes. Beyond it: OVERLOADED. */
  readonly heldMessagesMax: number;
  readonly heldBytesMax: number;
  /** Bytes that wait for all agents together. */
  readonly heldTotalBytesMax: number;
  /** Longest time that a best-effort message waits for an agent that is away. */
  readonly heldMsMax: number;
  /** Bytes queued to one link before messages to it are refused with OVERLOADED. */
  readonly linkBufferedBytesMax: number;
  /** Bytes of bulk queued to one link before bulk to it is refused with OVERLOADED; urgent messages still pass. */
  readonly linkBulkBytesMax: number;
  /** Bytes of bulk that a sender may still send after it was told to stop, before its whole link is held back. */
  readonly bulkAfterStopBytesMax: number;
  /** Bytes queued to one subscriber's link before topic messages for it wait in a queue of their own. */
  readonly topicLinkBytesMax: number;
  /** Messages that wait for one slow subscriber; beyond it the topic's overflow policy says what happens. */
  readonly topicQueueMessagesMax: number;
  /** Their bytes. */
  readonly topicQueueBytesMax: number;
  /** Least time between two reports to publishers about one slow subscriber. */
  readonly topicToldEveryMs: number;
  /** Messages and bytes that one agent may send each second, with a burst of `rateBurstSeconds` seconds. */
  readonly agentMessagesPerSecond: number;
  readonly agentBytesPerSecond: number;
  /** The same of bulk alone, so that bulk leaves something over for the rest: never more than three quarters of those. */
  readonly agentBulkMessagesPerSecond: number;
  readonly agentBulkBytesPerSecond: number;
  /** Control frames that one agent may send each second, beside its messages: neither uses up the other's rate. */
  readonly agentControlMessagesPerSecond: number;
  readonly agentControlBytesPerSecond: number;
  readonly rateBurstSeconds: number;
  /** How many times an agent's rates a peer gateway may use. */
  readonly peerRateFactor: number;
  /** Longest pause of a sender because of one slow receiver. */
  readonly pauseMsMax: number;
  /** How many more messages over the rate than within it close a flooding link with CAUSEWAY_LIMIT_RATE. */
  readonly floodCloseAfter: number;
  /**
   * How long a gateway that goes out of service waits for its agents to go while it knows of no other gateway of its domain
   * that runs; longer than the deadline of its drain it waits in no case.
   */
  readonly drainAloneMs: number;
  /** GW-DISCOVER of one agent; further ones are refused with the time to wait. */
  readonly discoveryQueriesPerMinute: number;
  /**
   * Attachments in percent of `attachmentsMax` from which on GW-DISCOVER gets no offer, so that agents go elsewhere; one
   * that has this gateway in its list attaches without an offer. 101: there is always an offer.
   */
  readonly silentAtLoadPercent: number;
  /** With `unknownTargets: query`: agents without entry that messages of one agent may have asked for. */
  readonly unknownTargetsPerMinute: number;
  readonly keyPackagesMax: number;
  /** Key packages that one agent may fetch here: each fetch uses one up. */
  readonly keyPackageFetchesPerMinute: number;
  /**
   * Packages of one agent that all agents of one other domain together get: a domain certifies as many agents as it
   * likes, and must not use up the packages of ours.
   */
  readonly outsideFetchesPerMinute: number;
  /** Commits, and their bytes, that one agent may submit here; as many questions for commits may it ask. */
  readonly commitsPerMinute: number;
  readonly commitBytesPerMinute: number;
  /** Groups whose first commit one agent may submit here. */
  readonly groupsOpenedPerHour: number;
  readonly commitsPerGroupMax: number;
  readonly groupIdleMs: number;
  readonly subscriptionsPerAgentMax: number;
  readonly topicsPerAgentMax: number;
  /** Events that one watching agent is told; more are left out and counted. */
  readonly eventsPerSecond: number;
  /** Hop records kept for Explain. */
  readonly hopRecordsMax: number;
  /** How long a sender that is not advertised can be answered after its last message. */
  readonly returnPathMs: number;
  /** Senders that are not advertised, and whom they wrote to. Beyond it the least recently heard of are forgotten. */
  readonly returnPathsMax: number;
  readonly reconnectMsMin: number;
  readonly reconnectMsMax: number;
}
