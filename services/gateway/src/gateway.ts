/** The gateway service: the driver around the pure machines of attachment, forwarding, topics and sync. */
import { refuse } from "@causeway/core-base";
import type { ConnectRouter } from "@connectrpc/connect";
import type { GatewayConfig, GatewayDeps, Link } from "./ports.ts";

/** What a gateway says of itself. */
export interface GatewayStatus {
  readonly attachments: number;
  readonly peers: number;
  readonly records: number;
  readonly draining: boolean;
  readonly counters: Readonly<Record<string, number>>;
}

/** One gateway. */
export interface Gateway {
  /** Loads the store, then dials the configured peers in the background. Resolves when links may be handed in. */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Tells agents and peers to move, closes every link and session. The store stays open. */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  /** Registers SyncService, DiscoveryService and GatewayAdminService. */
  routes(router: ConnectRouter): void;
  /** Takes an accepted Link stream of an agent or a peer gateway. */
  handleLink(link: Link): void;
  status(): GatewayStatus;
}

/** Makes a gateway. Does no IO until `start`. */
export function createGateway(_config: GatewayConfig, _deps: GatewayDeps): Gateway {
  throw refuse("CAUSEWAY_UNSUPPORTED", "the gateway is not built yet");
}
