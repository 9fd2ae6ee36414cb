import type { Socket } from "node:net";
import { createServer, type Server, type TlsOptions } from "node:tls";
import { Handshakes } from "./handshakes.ts";
import type { Listener, ListenerEvents } from "./listener.ts";
import { listenError } from "./node-errors.ts";

/** What a listener is made from. */
export interface TlsListenerOptions {
  readonly tls: () => TlsOptions;
  readonly host: string;
  readonly port: number;
  readonly sessionsMax: number;
  readonly handshakesPerSourceMax: number;
}

/** Listens in this thread. */
export class TlsListener implements Listener {
  readonly workerConnections: readonly number[] = [];
  readonly #options: TlsListenerOptions;
  readonly #events: ListenerEvents;
  /** `server.close` waits for all of them. */
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(options: TlsListenerOptions, events: ListenerEvents) {
    this.#options = options;
    this.#events = events;
  }

  async start(): Promise<number> {
    const { host, port, tls, sessionsMax, handshakesPerSourceMax } = this.#options;
    const handshakes = new Handshakes<Socket>({
      perSourceMax: handshakesPerSourceMax,
      sessionsMax,
      cut: (socket, source) => {
        // Its place is free now, not when the socket says so.
        this.#sockets.delete(socket);
        socket.destroy();
        this.#events.onHandshakeCut(source);
      },
    });
    const server = createServer(tls(), (socket) => {
      handshakes.finished(socket);
      socket.setNoDelay(true);
      this.#events.onConnection(socket);
    });
    server.maxConnections = sessionsMax;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        handshakes.closed(socket);
      });
      handshakes.begin(socket, this.#sockets.size);
    });
    server.on("drop", () => this.#events.onDropped());
    server.on("tlsClientError", (error, socket) => this.#events.onHandshakeFailed(socket.remoteAddress, error.message));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(listenError(error, host, port)));
      server.listen({ host, port }, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => this.#events.onFailed("h2.server_failed", {}, error));
    const bound = server.address();
    return bound !== null && typeof bound === "object" ? bound.port : port;
  }

  renewTls(): void {
    this.#server?.setSecureContext(this.#options.tls());
  }

  close(): Promise<void> {
    const server = this.#server;
    if (server?.listening !== true) return Promise.resolve();
    return new Promise((resolve) => {
      server.close(() => resolve());
    });
  }

  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
