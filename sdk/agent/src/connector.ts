/**
 * The port between the SDK's logic and a platform: identity, links to gateways, the registry, time, chance and a store.
 * `./node` implements it over the adapters, `./testing` in memory.
 */
import type { BootstrapHint, BootstrapSource, GatewayCandidate, OfferPolicy } from "@causeway/core-attachment";
import type { AgentId, CausewayError, Log, Random, Scheduler, UnixMs } from "@causeway/core-base";
import type { CryptoPort, Signer, TrustStore, VerifiedPeer } from "@causeway/core-identity";
import type { aap, ars, Lane } from "@causeway/core-wire";
import type { CreateEndToEnd, MlsIdentity, StateStore } from "./end-to-end.ts";

/**
 * One received frame: bytes `start` to `end` of `buffer`, valid for the call that hands it over. Whoever keeps them longer
 * copies them: the memory may be used again for the next reads. `buffer` may be a Buffer, whose `slice` copies nothing.
 */
export interface FrameSlice {
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** One authenticated connection to a gateway, or directly to another agent, that carries serialised frames. */
export interface GatewayLink {
  /** The other end, as its verified certificate names it. */
  readonly peer: VerifiedPeer;
  /** Binds the attach proof to this TLS channel; 32 bytes. */
  readonly channelBinding: Uint8Array;
  /** Queues one serialised Frame. False when the queue of its lane, by default the urgent one, is above its high-water mark. */
  send(frame: Uint8Array, start?: number, end?: number, lane?: Lane): boolean;
  /** The other end has taken bulk: what is on its way to it is bounded from now on. */
  takenBulk?(bytes: number): void;
  /** Sets the one receiver of frames. Reading starts with it. */
  onFrames(receive: (frames: readonly FrameSlice[]) => void): void;
  /** Calls `run` whenever there is room again after `send` answered false. */
  onWritable(run: () => void): void;
  /** Calls `run` once, when the connection is gone. */
  onClose(run: (error?: CausewayError) => void): void;
  pause(): void;
  resume(): void;
  close(error?: CausewayError): void;
}

/** The registry of the agent's domain, called with the agent's certificate. */
export interface RegistryPort {
  register(request: ars.RegisterRequest, signal: AbortSignal): Promise<ars.RegisterResponse>;
  deregister(request: ars.DeregisterRequest, signal: AbortSignal): Promise<void>;
  discover(request: ars.DiscoverRequest, signal: AbortSignal): Promise<ars.DiscoverResponse>;
  getRecord(request: ars.GetRecordRequest, signal: AbortSignal): Promise<ars.GetRecordResponse>;
}

/** The agent's identity. Keys stay behind it, except the MLS leaf key that the MLS library of this process needs. */
export interface IdentityPort {
  readonly agentId: AgentId;
  readonly crypto: CryptoPort;
  readonly trust: TrustStore;
  /** Current chain and signing for a purpose. */
  signer(purpose: "tls" | "record"): Signer;
  mls(): MlsIdentity;
  notAfter(): UnixMs;
  /** Bundles or revocations have changed. Returns the function that ends it. */
  onTrust(listener: () => void): () => void;
  /** Certificates were renewed. */
  onRenewed(listener: () => void): () => void;
}

/** Where an agent takes direct links. */
export interface DirectListener {
  /** https://host:port under which others reach it. */
  readonly url: string;
  close(): Promise<void>;
}

/** Links to agents of the own domain. The platform verifies certificate, role and domain of the other end. */
export interface DirectPort {
  /** Takes links of others until it is closed. Absent when this agent does not listen. Rejects with a typed error. */
  listen?(onLink: (link: GatewayLink) => void): Promise<DirectListener>;
  /** Opens a link to an agent. Rejects with a typed error. */
  dial(url: string, agent: AgentId, signal: AbortSignal): Promise<GatewayLink>;
}

/** Everything that an agent needs of its platform. */
export interface Connector {
  readonly identity: IdentityPort;
  /** Ways to find gateways, in the order in which they are tried. */
  readonly sources: readonly BootstrapSource[];
  /** What the source with this index says. Rejects with a typed error. */
  lookUp(source: number, signal: AbortSignal): Promise<readonly BootstrapHint[]>;
  /** How to choose among offers. */
  readonly offerPolicy?: OfferPolicy;
  /** Opens a link to a gateway whose certificate the platform has verified. Rejects with a typed error. */
  dial(candidate: GatewayCandidate, signal: AbortSignal): Promise<GatewayLink>;
  /** Sends GW-DISCOVER to an endpoint. */
  discoverGateway(endpoint: string, request: aap.DiscoverRequest, signal: AbortSignal): Promise<aap.DiscoverResponse>;
  /** Sends GW-DISCOVER to udp://host:port and hands over every answer until the signal ends it. */
  discoverByDatagram?(
    endpoint: string,
    request: aap.DiscoverRequest,
    onAnswer: (answer: aap.DiscoverResponse) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Undefined where there are no direct links. */
  readonly direct?: DirectPort;
  readonly registry: RegistryPort | undefined;
  readonly scheduler: Scheduler;
  /** Calls `run` once the process has read what there is to read. Default: as soon as the scheduler can. */
  nextTurn?(run: () => void): void;
  readonly random: Random;
  /** State of this agent. What the end-to-end layer puts into it is encrypted by that layer. */
  readonly store: StateStore;
  readonly createEndToEnd: CreateEndToEnd;
  readonly log: Log;
  /** Frees the platform's side when the agent closes. */
  close(): Promise<void>;
}
