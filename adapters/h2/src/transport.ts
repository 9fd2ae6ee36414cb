import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type Connection, type DialOptions, dial } from "./dial.ts";
import { limitsWith } from "./limits.ts";
import { readErrors, toConnectError } from "./wire-errors.ts";

/** Options of `createTransport`. */
export interface TransportOptions extends DialOptions {
  readonly interceptors?: readonly Interceptor[];
  /** Default time-out of a call. */
  readonly timeoutMs?: number;
}

/**
 * A Connect transport (gRPC) over one connection that is dialled on demand. Calls fail with a ConnectError whose cause
 * is the CausewayError; `CausewayError.from` takes it out.
 */
export interface ClientTransport extends Transport {
  /** Dials when not connected; who answered. */
  connect(signal?: AbortSignal): Promise<VerifiedPeer>;
  /** Ends the connection and open calls. A later call dials anew. */
  close(): void;
}

/** Makes the transport; does no IO before the first call. */
export function createTransport(options: TransportOptions): ClientTransport {
  const sessions = new SessionHolder(options);
  const limits = limitsWith(options.limits);
  const transport = createGrpcTransport({
    baseUrl: options.url,
    sessionManager: sessions,
    interceptors: [readErrors, ...(options.interceptors ?? [])],
    acceptCompression: [],
    readMaxBytes: limits.messageBytesMax,
    writeMaxBytes: limits.messageBytesMax,
    ...(options.timeoutMs !== undefined && { defaultTimeoutMs: options.timeoutMs }),
  });
  return {
    unary: (...call) => transport.unary(...call),
    stream: (...call) => transport.stream(...call),
    connect: async (signal) => (await unlessAborted(sessions.connection(), signal)).peer,
    close: () => sessions.close(),
  };
}

/** Holds the one connection of a transport and dials anew when it is gone. The interface is connect-node's. */
class SessionHolder {
  readonly authority: string;
  readonly #options: DialOptions;
  #state: HolderState = { kind: "idle" };

  constructor(options: DialOptions) {
    this.#options = options;
    if (!URL.canParse(options.url)) {
      throw refuse(
        "CAUSEWAY_CONFIG_INVALID",
        `expected a URL like https://127.0.0.1:4500, got ${JSON.stringify(options.url.slice(0, 100))}`,
      );
    }
    this.authority = new URL(options.url).origin;
  }

  /** The usable connection, dialled if need be; callers that come meanwhile share one dialling. */
  connection(): Promise<Connection> {
    const state = this.#state;
    if (state.kind === "dialling") return state.connection;
    if (state.kind === "open" && isUsable(state.connection)) return Promise.resolve(state.connection);
    const abort = new AbortController();
    const connection = dial(this.#options, abort.signal).then(
      (opened) => {
        // Closed after the last moment at which the dialling could be stopped.
        if (abort.signal.aborted) {
          opened.destroy();
          throw refuse("CAUSEWAY_CANCELLED", `the connection to ${this.authority} was cancelled`);
        }
        this.#state = { kind: "open", connection: opened };
        // Idle connections do not keep a process alive; open calls do.
        opened.session.unref();
        return opened;
      },
      (thrown: unknown) => {
        if (this.#state.kind === "dialling" && this.#state.abort === abort) this.#state = { kind: "idle" };
        throw thrown;
      },
    );
    this.#state = { kind: "dialling", connection, abort };
    return connection;
  }

  /** Opens one stream. */
  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: object,
  ): Promise<ClientHttp2Stream> {
    let connection: Connection | undefined;
    try {
      connection = await this.connection();
      const stream = connection.session.request({ ...headers, ":method": method, ":path": path }, options);
      this.#hold(connection, stream);
      return stream;
    } catch (thrown) {
      throw toConnectError(connection?.failure() ?? thrown);
    }
  }

  notifyResponseByteRead(): void {
    // Keep-alive looks at the bytes that the socket has read.
  }

  close(): void {
    const state = this.#state;
    this.#state = { kind: "idle" };
    if (state.kind === "open") state.connection.destroy();
    if (state.kind === "dialling") state.abort.abort();
  }

  #hold(connection: Connection, stream: ClientHttp2Stream): void {
    connection.session.ref();
    this.#streams += 1;
    stream.once("close", () => {
      this.#streams -= 1;
      if (this.#streams === 0 && !connection.session.destroyed) connection.session.unref();
    });
    // A connection that was refused, or broke, resets its streams; the reason is more telling than the reset.
    stream.prependListener("error", (error: Error & { cause?: unknown }) => {
      error.cause ??= connection.failure();
    });
  }

  #streams = 0;
}

type HolderState =
  | { readonly kind: "idle" }
  | { readonly kind: "dialling"; readonly connection: Promise<Connection>; readonly abort: AbortController }
  | { readonly kind: "open"; readonly connection: Connection };

/** What `pending` gives, or CAUSEWAY_CANCELLED as soon as `signal` is aborted. Others may still wait for `pending`. */
async function unlessAborted<T>(pending: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return pending;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(refuse("CAUSEWAY_CANCELLED", "waiting for the connection was cancelled"));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([pending, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

const isUsable = (connection: Connection): boolean =>
  !connection.session.closed && !connection.session.destroyed && connection.failure() === undefined;
