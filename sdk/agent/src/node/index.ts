/** The SDK on Node: identity on disk, links over HTTP/2 and TLS 1.3. */
import { type Log, refuse } from "@causeway/core-base";
import type { Agent } from "../api.ts";

/** How to take an agent onto the network. */
export interface ConnectOptions {
  /** Name of the agent: `domain/namespace/name` or the full SPIFFE ID. */
  readonly name: string;
  /** Directory of keys and state of this agent; made with mode 0700. */
  readonly dataDir: string;
  /** Join token of the domain's authority. Needed until the identity is in `dataDir`. */
  readonly token?: string;
  /** URLs of gateways, `https://host:port`, in order of preference. Default: the ones of the last run. */
  readonly gateway?: string | readonly string[];
  /** URL of the registry, for `register` and `discover`. Default: the one of the last run. */
  readonly registry?: string;
  /** File with the key that wraps `dataDir`. Default: beside it, `<dataDir>.key`, mode 0600. */
  readonly masterKeyFile?: string;
  /** Names this attachment among several of the same agent. Default `main`. */
  readonly instance?: string;
  /** False keeps the agent unknown outside of its gateway. Default true. */
  readonly advertise?: boolean;
  readonly log?: Log;
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
  /** Milliseconds for enrolment and first attachment. Default 30,000. */
  readonly timeoutMs?: number;
}

/**
 * Enrols the agent when `dataDir` has no identity yet, attaches it to a gateway and keeps it attached. Resolves when it
 * is attached.
 */
export async function connect(_options: ConnectOptions): Promise<Agent> {
  throw refuse("CAUSEWAY_UNSUPPORTED", "not yet");
}

export * from "../index.ts";
