import { type ClientHttp2Session, connect as connectHttp2, type Settings } from "node:http2";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { type CausewayError, refuse } from "@causeway/core-base";
import type { VerifiedPeer } from "@causeway/core-identity";
import { channelBindingOf } from "./channel-binding.ts";
import { type H2Limits, limitsWith } from "./limits.ts";
import { connectionError } from "./node-errors.ts";
import { decodeRefusal } from "./wire-errors.ts";

/** What every dialled connection needs. */
export interface DialOptions {
  /** https://host:port */
  readonly url: string;
  /** Client options of node:tls, made by the tls adapter; read for each new connection. */
  readonly tls: () => ConnectionOptions;
  /** Judges the server after the handshake; throws what the caller gets. */
  readonly authenticate: (socket: TLSSocket) => VerifiedPeer;
  /** Names errors of the TLS handshake (the tls adapter knows them). What it leaves alone becomes CAUSEWAY_UNREACHABLE. */
  readonly explain?: (thrown: unknown) => unknown;
  readonly limits?: Partial<H2Limits>;
}

/** One dialled and authenticated connection. */
export interface Connection {
  readonly peer: VerifiedPeer;
  readonly channelBinding: Uint8Array;
  readonly session: ClientHttp2Session;
  /** Why the connection ended, or is about to; undefined while it is usable or after an orderly end. */
  failure(): CausewayError | undefined;
  /** Calls `run` when `failure` knows why a stream ended: at once, or when a connection that is going down is gone. */
  settled(run: () => void): void;
  close(): void;
  destroy(): void;
}

/** Opens a connection, with `settings` of HTTP/2 beside our own. Rejects with what `authenticate` throws, the server's refusal, or CAUSEWAY_UNREACHABLE. */
export async function dial(options: DialOptions, signal?: AbortSignal, settings?: Settings): Promise<Connection> {
  const limits = limitsWith(options.limits);
  const url = parseUrl(options.url);
  const socket = await handshake(options, url, limits, signal);
  let peer: VerifiedPeer;
  try {
    if (socket.alpnProtocol !== "h2")
      throw refuse("CAUSEWAY_UNREACHABLE", `expected ${url.host} to speak HTTP/2, it does not; check the address`);
    peer = options.authenticate(socket);
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
  socket.setNoDelay(true);
  const channelBinding = channelBindingOf(socket);
  const session = connectHttp2(url, {
    createConnection: () => socket,
    maxSessionMemory: limits.sessionMemoryMbMax,
    maxHeaderListPairs: limits.headerFieldsMax,
    maxOutstandingPings: limits.outstandingPingsMax,
    maxSettings: limits.settingsEntriesMax,
    settings: {
      enablePush: false,
      initialWindowSize: limits.streamWindowBytes,
      maxHeaderListSize: limits.headerListBytesMax,
      ...settings,
    },
  });
  return watch({ session, socket, peer, channelBinding, where: url.host, explain: options.explain, limits });
}

/** The TLS handshake, bounded in time. */
function handshake(
  options: DialOptions,
  url: URL,
  limits: H2Limits,
  signal: AbortSignal | undefined,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const cancelled = () => refuse("CAUSEWAY_CANCELLED", `the connection to ${url.host} was cancelled`);
    if (signal?.aborted === true) {
      reject(cancelled());
      return;
    }
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const socket = connectTls({
      ...options.tls(),
      host,
      port: Number(url.port || 443),
      minVersion: "TLSv1.3",
      ALPNProtocols: ["h2"],
    });
    const fail = (error: unknown) => {
      settle();
      // The socket may fail once more while it is destroyed.
      socket.on("error", () => undefined);
      socket.destroy();
      reject(error);
    };
    const onError = (error: unknown) => fail(connectionError(error, url.host, options.explain));
    const onClose = () =>
      fail(refuse("CAUSEWAY_UNREACHABLE", `expected a TLS handshake with ${url.host}, it closed the connection`));
    const onAbort = () => fail(cancelled());
    const timer = setTimeout(
      () =>
        fail(
          refuse(
            "CAUSEWAY_UNREACHABLE",
            `expected a TLS connection to ${url.host} within ${limits.dialMs} ms, got none; check address and network`,
          ),
        ),
      limits.dialMs,
    );
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.off("error", onError);
      socket.off("close", onClose);
    };
    socket.once("error", onError);
    socket.once("close", onClose);
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.once("secureConnect", () => {
      settle();
      resolve(socket);
    });
  });
}

/** Keeps the connection alive with PINGs and remembers why it ended. */
function watch(parts: {
  readonly session: ClientHttp2Session;
  readonly socket: TLSSocket;
  readonly peer: VerifiedPeer;
  readonly channelBinding: Uint8Array;
  readonly where: string;
  readonly explain: DialOptions["explain"];
  readonly limits: H2Limits;
}): Connection {
  const { session, socket, where, limits } = parts;
  let failure: CausewayError | undefined;
  session.setLocalWindowSize(limits.sessionWindowBytes);
  session.on("goaway", (_code, _last, opaque) => {
    failure ??= decodeRefusal(opaque);
  });
  session.on("error", (error) => {
    failure ??= connectionError(error, where);
  });
  // A TLS alert that comes after the handshake (a refused certificate, in TLS 1.3) may show here alone, and leaves the
  // session and the socket without a "close" of their own.
  socket.on("error", (error) => {
    failure ??= connectionError(error, where, parts.explain);
    session.destroy();
    socket.destroy();
  });
  let bytesSeen = socket.bytesRead;
  const lost = () => {
    failure ??= refuse(
      "CAUSEWAY_UNREACHABLE",
      `expected ${where} to answer a PING within ${limits.pingTimeoutMs} ms, it did not`,
    );
    session.destroy();
  };
  const pinging = setInterval(() => {
    if (socket.bytesRead !== bytesSeen) {
      bytesSeen = socket.bytesRead;
      return;
    }
    if (session.destroyed) return;
    const timer = setTimeout(lost, limits.pingTimeoutMs).unref();
    const isSent = session.ping((error) => {
      clearTimeout(timer);
      if (error === null) bytesSeen = socket.bytesRead;
    });
    if (!isSent) clearTimeout(timer);
  }, limits.pingEveryMs).unref();
  let isGone = false;
  const gone: (() => void)[] = [];
  const onGone = () => {
    isGone = true;
    clearInterval(pinging);
    for (const run of gone.splice(0)) run();
  };
  session.on("close", onGone);
  socket.on("close", onGone);
  return {
    peer: parts.peer,
    channelBinding: parts.channelBinding,
    session,
    failure: () => failure,
    settled(run) {
      if (session.destroyed && !isGone) gone.push(run);
      else run();
    },
    close: () => session.close(),
    destroy: () => session.destroy(),
  };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:") {
    throw refuse(
      "CAUSEWAY_CONFIG_INVALID",
      `expected a URL like https://127.0.0.1:4500, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return url;
}
