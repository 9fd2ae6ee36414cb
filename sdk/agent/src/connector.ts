/**
 * The port between the SDK's logic and a platform: identity, links to gateways, the registry, time, chance and a store.
 * `./node` implements it over the adapters, `./testing` in memory.
 */
import type { AgentId, Log, Random, Scheduler } from "@causeway/core-base";
import type { CryptoPort, Signer, TrustStore, VerifiedPeer } from "@causeway/core-identity";
import type { ars } from "@causeway/core-wire";
import type { CreateEndToEnd, StateStore } from "./end-to-end.ts";

/** One authenticated connection to a gateway that carries serialised frames. */
export interface GatewayLink {
  /** The gateway, as certified. */
  readonly peer: VerifiedPeer;
  /** Binds the attach proof to this TLS channel; 32 bytes. */
  readonly channelBinding: Uint8Array;
  /** Certificate chain and SubjectPublicKeyInfo of the gateway's TLS certificate come with `peer`. */
  /** Queues one serialised Frame. False when the queue is above its high-water mark. */
  send(frame: Uint8Array): boolean;
  /** One call for each received Frame, in order. */
  onFrame(listener: (frame: Uint8Array) => void): void;
  onWritable(listener: () => void): void;
  /** Once, when the connection is gone. */
  onClose(listener: (error: Error | undefined) => void): void;
  close(): void;
}

/** The registry of the agent's domain, called with the agent's certificate. */
export interface RegistryPort {
  register(request: ars.RegisterRequest, signal: AbortSignal): Promise<ars.RegisterResponse>;
  deregister(request: ars.DeregisterRequest, signal: AbortSignal): Promise<void>;
  discover(request: ars.DiscoverRequest, signal: AbortSignal): Promise<ars.DiscoverResponse>;
}

/** The agent's identity: keys stay behind it. */
export interface IdentityPort {
  readonly agentId: AgentId;
  readonly crypto: CryptoPort;
  readonly trust: TrustStore;
  /** Current chain and signing for a purpose. */
  signer(purpose: "tls" | "record"): Signer;
  /** Leaf key of the MLS groups. */
  mls(): { readonly chain: readonly Uint8Array[]; readonly privateKey: Uint8Array };
  notAfterUnixMs(): number;
  onTrust(listener: () => void): () => void;
  onRenewed(listener: () => void): () => void;
}

/** Everything that an agent needs of its platform. */
export interface Connector {
  readonly identity: IdentityPort;
  /** Opens a link to the best gateway; each call may choose another one. The platform has judged its certificate. */
  openLink(signal: AbortSignal): Promise<GatewayLink>;
  readonly registry: RegistryPort | undefined;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly store: StateStore;
  readonly createEndToEnd: CreateEndToEnd;
  readonly log: Log;
  /** Frees the platform's side when the agent closes. */
  close(): Promise<void>;
}
