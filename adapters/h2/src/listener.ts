import type { PortSocket } from "./port-socket.ts";

/** What a port hears of whoever listens for it. */
export interface ListenerEvents {
  /** A connection has finished its handshake. */
  onConnection(socket: PortSocket): void;
  onHandshakeFailed(remote: string | undefined, reason: string): void;
  /** There are too many connections. */
  onDropped(): void;
  /** A connection of a source with too many unfinished handshakes was closed. */
  onHandshakeCut(source: string): void;
  /** It listens no more, or for a while. */
  onFailed(event: string, facts: Readonly<Record<string, string | number>>, thrown: unknown): void;
}

/** Listens for TLS connections: in this thread, or in IO workers. */
export interface Listener {
  /** Resolves with the port when it listens. */
  start(): Promise<number>;
  /** Takes the TLS options anew, for connections that begin after it. */
  renewTls(): void;
  /** No new connections; resolves when none is left. */
  close(): Promise<void>;
  /** Cuts every TCP connection, also those whose handshake is not finished. */
  destroyConnections(): void;
  /** Of each IO worker, how many TCP connections it has; empty when there are none. */
  readonly workerConnections: readonly number[];
}
