import type { TLSSocket, TlsOptions } from "node:tls";
import { type CausewayError, type Counters, type Log, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Caller } from "./caller.ts";
import type { H2Limits } from "./limits.ts";
import type { Link } from "./link.ts";

/** Options of `createPort`. */
export interface PortOptions {
  /** Server options of node:tls, made by the tls adapter. Read at start and again by `renewTls`. */
  readonly tls: () => TlsOptions;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Judges the client once for each TLS connection. What it throws closes the connection and reaches the client. */
  readonly authenticate: (socket: TLSSocket) => Caller;
  /** Paths open to applicants (`/package.Service/Method`). Without any, applicants are refused. */
  readonly applicantPaths?: readonly string[];
  /** Services other than Link. */
  readonly services?: (router: ConnectRouter) => void;
  /** Takes each Link. Without it Link is unimplemented. */
  readonly onLink?: (link: Link) => void;
  readonly log?: Log;
  readonly counters?: Counters;
  readonly limits?: Partial<H2Limits>;
}

/** Where a port listens. */
export interface PortAddress {
  readonly host: string;
  readonly port: number;
  /** https://host:port */
  readonly url: string;
}

/** The one port of a service: Link and every Connect service over TLS 1.3 and HTTP/2. */
export interface Port extends AsyncDisposable {
  /** Resolves when it listens. Rejects with CAUSEWAY_PORT_IN_USE. */
  start(): Promise<PortAddress>;
  /**
   * Refuses new connections and streams, ends streaming handlers, waits for the rest until the deadline, then closes
   * what is left with CAUSEWAY_GATEWAY_DRAINING.
   */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  /** Ends every connection of the peers that `matches` picks, with `reason` as status; answers how many. */
  disconnect(matches: (peer: VerifiedPeer) => boolean, reason?: CausewayError): number;
  /** Takes a renewed certificate for new connections. */
  renewTls(): void;
  /** Open connections. */
  readonly sessionCount: number;
}

/** Makes a port; does no IO before `start`. */
export function createPort(_options: PortOptions): Port {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}
