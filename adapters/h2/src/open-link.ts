import type { ConnectionOptions, TLSSocket } from "node:tls";
import { refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { H2Limits } from "./limits.ts";
import type { Link } from "./link.ts";

/** What every dialled connection needs. */
export interface DialOptions {
  /** https://host:port */
  readonly url: string;
  /** Client options of node:tls, made by the tls adapter; read for each new connection. */
  readonly tls: () => ConnectionOptions;
  /** Judges the server after the handshake; throws what the caller gets. */
  readonly authenticate: (socket: TLSSocket) => VerifiedPeer;
  readonly limits?: Partial<H2Limits>;
}

/**
 * Opens a connection of its own with one Link on it; closing the link closes the connection.
 * Rejects with CAUSEWAY_UNREACHABLE, CAUSEWAY_CANCELLED, the code of the refusal, or what `authenticate` throws.
 */
export async function openLink(_options: DialOptions & { readonly signal?: AbortSignal }): Promise<Link> {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
