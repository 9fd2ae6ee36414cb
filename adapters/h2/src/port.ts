import { constants, performServerHandshake, type ServerHttp2Session, type ServerSessionOptions } from "node:http2";
import { Duplex } from "node:stream";
import type { TlsOptions } from "node:tls";
import {
  asInstant,
  boundLog,
  CausewayError,
  type Counter,
  type Counters,
  type Log,
  refuse,
  silentCounters,
  silentLog,
} from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { agp } from "@causeway/core-wire";
import type { ConnectRouter } from "@connectrpc/connect";
import { type Caller, isApplicant, nameOf } from "./caller.ts";
import { clientPreface } from "./h2-frames.ts";
import { type H2Limits, limitsWith } from "./limits.ts";
import type { Link } from "./link.ts";
import { LinkSession } from "./link-session.ts";
import type { Listener, ListenerEvents } from "./listener.ts";
import { type ConnectionUse, Opening } from "./opening.ts";
import type { PageMaker } from "./pages.ts";
import { PortSession, type SessionServices } from "./port-session.ts";
import type { JudgedSocket, PortSocket } from "./port-socket.ts";
import { createServiceHandler, drainingError } from "./service-handler.ts";
import type { Session } from "./session.ts";
import { TlsListener } from "./tls-listener.ts";
import { encodeRefusal } from "./wire-errors.ts";
import { WorkerListener } from "./workers/worker-listener.ts";

/** Options of `createPort`. */
export interface PortOptions {
  /** Server options of node:tls, made by the tls adapter. Read at start and again by `renewTls`. */
  readonly tls: () => TlsOptions;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Judges the client once for each TLS connection. What it throws closes the connection and reaches the client. */
  readonly authenticate: (socket: JudgedSocket) => Caller;
  /** Paths open to applicants (`/package.Service/Method`). Without any, applicants are refused. */
  readonly applicantPaths?: readonly string[];
  /** Paths open to monitors, who have pages and nothing else otherwise. */
  readonly monitorPaths?: readonly string[];
  /** Services other than Link. gRPC's health service is always there. */
  readonly services?: (router: ConnectRouter) => void;
  /** What a GET of a path answers; other paths are 404. */
  readonly pages?: ReadonlyMap<string, PageMaker>;
  /** Takes each Link. Without it Link is unimplemented. */
  readonly onLink?: (link: Link) => void;
  readonly log?: Log;
  readonly counters?: Counters;
  readonly limits?: Partial<H2Limits>;
  /**
   * Threads that do TCP and TLS of the connections, which the kernel spreads among them; 0, the default, for none: then
   * this thread does it. Only on systems that spread the connections of a port that several sockets share, as Linux does,
   * and with TLS options that are data: they are sent to the threads.
   */
  readonly workers?: number;
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
   * Refuses new connections and streams, ends streaming handlers, waits for the rest until the deadline (default
   * 5,000 ms), then closes what is left with CAUSEWAY_GATEWAY_DRAINING.
   */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  /** Ends every connection of the peers that `matches` picks, with `reason` as status; answers how many. */
  disconnect(matches: (peer: VerifiedPeer) => boolean, reason?: CausewayError): number;
  /** Takes a renewed certificate for new connections. */
  renewTls(): void;
  /** Open connections. */
  readonly sessionCount: number;
  /** Of each worker, how many TCP connections it has. */
  readonly workerConnections: readonly number[];
}

/** Makes a port; does no IO before `start`. */
export function createPort(options: PortOptions): Port {
  return new H2Port(options);
}

class H2Port implements Port {
  readonly #options: PortOptions;
  readonly #limits: H2Limits;
  readonly #log: Log;
  /** For what strangers can cause. */
  readonly #security: Log;
  readonly #services: SessionServices;
  readonly #shutdown = new AbortController();
  readonly #sessions = new Set<Session>();
  readonly #sessionsOfPeer = new Map<string, number>();
  /** Refused connections whose client may still be reading why. */
  readonly #refusals = new Set<PortSocket>();
  readonly #accepted;
  readonly #refused;
  readonly #listener: Listener;
  #isStarted = false;
  #watch: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: PortOptions) {
    this.#options = options;
    this.#limits = limitsWith(options.limits);
    this.#log = options.log ?? silentLog;
    this.#security = boundLog(this.#log, () => asInstant(performance.now()));
    const counters = options.counters ?? silentCounters;
    this.#accepted = counters.counter("causeway_h2_sessions_accepted_total");
    this.#refused = counters.counter("causeway_h2_sessions_refused_total");
    const { host = "127.0.0.1", port, workers = 0 } = options;
    const listen = {
      tls: () => withFloor(options.tls(), this.#limits),
      host,
      port,
      sessionsMax: this.#limits.sessionsMax,
      handshakesPerSourceMax: this.#limits.handshakesPerSourceMax,
    };
    const events = this.#listenerEvents(counters.counter("causeway_h2_workers_failed_total"));
    this.#listener = workers > 0 ? new WorkerListener({ ...listen, workers }, events) : new TlsListener(listen, events);
    this.#services = {
      limits: this.#limits,
      serve: createServiceHandler({
        services: options.services ?? (() => undefined),
        pages: options.pages ?? new Map(),
        otherServices: options.onLink === undefined ? [] : [linkService],
        applicantPaths: new Set(options.applicantPaths),
        monitorPaths: new Set(options.monitorPaths),
        shutdown: this.#shutdown.signal,
        limits: this.#limits,
        log: this.#security,
      }),
      onLink: options.onLink,
      onDefect: (thrown) => this.#log.error("h2.link_receiver_failed", {}, thrown),
      onLinkRefused: (caller, { code, message }) =>
        this.#security.warn("h2.link_refused", { peer: nameOf(caller), code, reason: message }),
      onLinkFault: (caller, { code, message }) =>
        this.#security.warn("h2.link_failed", { peer: nameOf(caller), code, reason: message }),
    };
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  get workerConnections(): readonly number[] {
    return this.#listener.workerConnections;
  }

  async start(): Promise<PortAddress> {
    if (this.#isStarted)
      throw refuse("CAUSEWAY_MISUSE", "expected one start of a port, got a second one; make a new port");
    this.#isStarted = true;
    const { host = "127.0.0.1" } = this.#options;
    const port = await this.#listener.start();
    this.#watch = setInterval(() => {
      for (const session of this.#sessions) session.watch();
    }, this.#limits.pingEveryMs).unref();
    return { host, port, url: `https://${host.includes(":") ? `[${host}]` : host}:${port}` };
  }

  stop(options?: { readonly deadlineMs?: number }): Promise<void> {
    this.#stopping ??= this.#stop(options?.deadlineMs ?? stopMs);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  disconnect(matches: (peer: VerifiedPeer) => boolean, reason?: CausewayError): number {
    const error =
      reason ?? refuse("CAUSEWAY_ATTACHMENT_DETACHED", "the connection was ended by an operator or a revocation");
    let count = 0;
    for (const session of this.#sessions) {
      if (isApplicant(session.caller) || !matches(session.caller)) continue;
      count += 1;
      this.#log.info("h2.peer_disconnected", { peer: session.caller.spiffeId, code: error.code });
      session.end(error);
    }
    return count;
  }

  renewTls(): void {
    this.#listener.renewTls();
  }

  async #stop(deadlineMs: number): Promise<void> {
    clearInterval(this.#watch);
    const closed = this.#listener.close();
    for (const socket of this.#refusals) socket.destroy();
    this.#shutdown.abort(drainingError());
    const drained = Promise.all([...this.#sessions].map((session) => session.drain()));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([drained, deadline]);
    clearTimeout(timer);
    const error = CausewayError.from(
      refuse("CAUSEWAY_GATEWAY_DRAINING", "the service went out of service; connect again or elsewhere"),
    );
    for (const session of this.#sessions) session.end(error);
    await drained;
    for (const session of this.#sessions) session.destroy();
    this.#listener.destroyConnections();
    await closed;
  }

  #listenerEvents(workersFailed: Counter): ListenerEvents {
    return {
      onConnection: (socket) => this.#onConnection(socket),
      onHandshakeFailed: (remote, reason) => {
        this.#refused.add();
        this.#security.warn("h2.handshake_failed", { remote, reason });
      },
      onDropped: () =>
        this.#security.warn("h2.connection_dropped", { limit: "sessionsMax", value: this.#limits.sessionsMax }),
      onHandshakeCut: (source) => {
        const { handshakesPerSourceMax } = this.#limits;
        this.#security.warn("h2.handshake_cut", {
          source,
          limit: "handshakesPerSourceMax",
          value: handshakesPerSourceMax,
        });
      },
      onFailed: (event, facts, thrown) => {
        if (event === "h2.worker_failed") workersFailed.add();
        this.#log.error(event, facts, thrown);
      },
    };
  }

  #onConnection(socket: PortSocket): void {
    // Errors of the socket end the HTTP/2 session, which is where they are seen.
    socket.on("error", ignore);
    let caller: Caller;
    try {
      caller = this.#judge(socket);
    } catch (thrown) {
      this.#refuse(socket, CausewayError.from(thrown), thrown);
      return;
    }
    forgetAlpn(socket);
    this.#accepted.add();
    this.#countPeer(caller, 1);
    this.#log.debug("h2.session_opened", { peer: nameOf(caller), remote: socket.remoteAddress });
    let session: Session;
    let isGone = false;
    const onGone = (): void => {
      if (isGone) return;
      isGone = true;
      this.#sessions.delete(session);
      this.#countPeer(caller, -1);
      this.#log.debug("h2.session_closed", { peer: nameOf(caller) });
    };
    session = new Opening(socket, caller, this.#limits.handshakeMs, (use, read) => {
      this.#sessions.delete(session);
      session = this.#serve(socket, caller, use, read, onGone);
      this.#sessions.add(session);
    });
    this.#sessions.add(session);
    socket.on("close", onGone);
  }

  /** A connection for one link is served by ourselves, at less cost; what carries more by node:http2. */
  #serve(socket: PortSocket, caller: Caller, use: ConnectionUse, read: Buffer, onGone: () => void): Session {
    const onFault = (reason: string): void =>
      this.#security.warn("h2.session_failed", { peer: nameOf(caller), reason });
    if (use === "only-link" && !isApplicant(caller) && this.#options.onLink !== undefined)
      return new LinkSession(socket, caller, this.#services, onFault, read.subarray(clientPreface.length));
    const session = performServerHandshake(streamOf(socket, read), sessionOptions(this.#limits));
    session.on("error", (error) => onFault(error.message));
    session.on("close", onGone);
    return new PortSession(socket, session, caller, this.#services);
  }

  /** Who it is, or a refusal. */
  #judge(socket: PortSocket): Caller {
    if (socket.alpnProtocol !== "h2") {
      throw refuse(
        "CAUSEWAY_UNSUPPORTED",
        `expected HTTP/2 (ALPN h2), got ${socket.alpnProtocol || "none"}; use a client that speaks HTTP/2`,
      );
    }
    if (this.#stopping !== undefined)
      throw refuse("CAUSEWAY_GATEWAY_DRAINING", "the service is going out of service; connect elsewhere");
    const caller = this.#options.authenticate(socket);
    if (isApplicant(caller)) {
      if ((this.#options.applicantPaths?.length ?? 0) > 0) return caller;
      throw refuse(
        "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
        "expected a certificate of the domain's authority, got a self-signed one; enrol first",
      );
    }
    const { sessionsPerPeerMax } = this.#limits;
    if ((this.#sessionsOfPeer.get(caller.spiffeId) ?? 0) >= sessionsPerPeerMax) {
      throw refuse(
        "CAUSEWAY_LIMIT_COUNT",
        `expected at most ${sessionsPerPeerMax} connections of ${caller.spiffeId}; close one`,
        {
          details: { limit: "sessionsPerPeerMax", value: String(sessionsPerPeerMax) },
        },
      );
    }
    return caller;
  }

  #countPeer(caller: Caller, change: 1 | -1): void {
    if (isApplicant(caller)) return;
    const count = (this.#sessionsOfPeer.get(caller.spiffeId) ?? 0) + change;
    if (count > 0) this.#sessionsOfPeer.set(caller.spiffeId, count);
    else this.#sessionsOfPeer.delete(caller.spiffeId);
  }

  /** Tells an HTTP/2 client why in a GOAWAY, then cuts; anything else is cut at once. */
  #refuse(socket: PortSocket, error: CausewayError, thrown: unknown): void {
    this.#refused.add();
    const facts = { code: error.code, reason: error.message, remote: socket.remoteAddress };
    if (error.family === "internal") this.#log.error("h2.session_refused", facts, thrown);
    else this.#security.warn("h2.session_refused", facts);
    if (socket.alpnProtocol !== "h2" || socket.destroyed) {
      socket.destroy();
      return;
    }
    const session: ServerHttp2Session = performServerHandshake(streamOf(socket), {
      ...sessionOptions(this.#limits),
      settings: { maxConcurrentStreams: 0 },
    });
    session.on("error", () => undefined);
    session.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
    });
    session.goaway(constants.NGHTTP2_INADEQUATE_SECURITY, 0, encodeRefusal(error));
    // Cutting at once would reset the connection before the client can read. That the client closes is not seen any
    // more: after a GOAWAY without streams nghttp2 stops reading.
    this.#refusals.add(socket);
    const timer = setTimeout(() => socket.destroy(), refusalGraceMs);
    timer.unref();
    socket.on("close", () => {
      clearTimeout(timer);
      this.#refusals.delete(socket);
    });
  }
}

/**
 * Node has the list of protocols of each socket in three bytes of its pool of small buffers, which keep the pool, with all
 * that handshakes of the time had there, for as long as the connection stands (1.5 KB for each). It is not read again.
 */
function forgetAlpn(socket: PortSocket): void {
  const { _tlsOptions: options } = socket as { readonly _tlsOptions?: { ALPNProtocols?: unknown } };
  if (options?.ALPNProtocols !== undefined) options.ALPNProtocols = undefined;
}

const ignore = (): void => undefined;

/** For node:http2, which reads what is in the stream already. */
function streamOf(socket: PortSocket, read: Buffer = nothing): Duplex {
  if (socket.asStream !== undefined) return socket.asStream(read);
  if (!(socket instanceof Duplex)) throw new TypeError("expected a socket that is a stream or has one");
  if (read.length > 0) {
    socket.pause();
    socket.unshift(read);
  }
  return socket;
}

/** What no option may weaken: TLS 1.3, HTTP/2 and a client certificate (AGP-17, AGP-53). */
function withFloor(tls: TlsOptions, limits: H2Limits): TlsOptions {
  return {
    ...tls,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
    requestCert: true,
    handshakeTimeout: limits.handshakeMs,
  };
}

function sessionOptions(limits: H2Limits): ServerSessionOptions {
  return {
    maxSessionMemory: limits.sessionMemoryMbMax,
    maxHeaderListPairs: limits.headerFieldsMax,
    maxOutstandingPings: limits.outstandingPingsMax,
    maxSettings: limits.settingsEntriesMax,
    maxSessionInvalidFrames: limits.invalidFramesMax,
    maxSessionRejectedStreams: limits.rejectedStreamsMax,
    streamResetBurst: limits.streamResetBurst,
    streamResetRate: limits.streamResetsPerSecond,
    settings: {
      enablePush: false,
      initialWindowSize: limits.streamWindowBytes,
      maxConcurrentStreams: limits.streamsPerSessionMax,
      maxHeaderListSize: limits.headerListBytesMax,
    },
  };
}

const nothing = Buffer.alloc(0);
const linkService = agp.AgentGatewayService;
/** Default deadline of `stop`. */
const stopMs = 5_000;
const refusalGraceMs = 1_000;
