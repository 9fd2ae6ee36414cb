import { refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { Interceptor, Transport } from "@connectrpc/connect";
import type { DialOptions } from "./open-link.ts";

/** Options of `createTransport`. */
export interface TransportOptions extends DialOptions {
  readonly interceptors?: readonly Interceptor[];
  /** Default time-out of a unary call. */
  readonly timeoutMs?: number;
}

/** A Connect transport (gRPC) over one connection that is dialled on demand. Calls fail with CausewayError. */
export interface ClientTransport extends Transport {
  /** Dials when not connected; who answered. */
  connect(signal?: AbortSignal): Promise<VerifiedPeer>;
  /** Ends the connection and open calls. A later call dials anew. */
  close(): void;
}

/** Makes the transport; does no IO before the first call. */
export function createTransport(_options: TransportOptions): ClientTransport {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
