import { createServer } from "node:net";
import type { TlsOptions } from "node:tls";
import type { Listener, ListenerEvents } from "../listener.ts";
import { listenError } from "../node-errors.ts";
import { IoThread } from "./io-thread.ts";

/** What a listener with workers is made from. */
export interface WorkerListenerOptions {
  readonly tls: () => TlsOptions;
  readonly host: string;
  readonly port: number;
  readonly sessionsMax: number;
  readonly handshakesPerSourceMax: number;
  readonly workers: number;
}

/** Listens in IO workers, among which the kernel spreads the connections. */
export class WorkerListener implements Listener {
  readonly #options: WorkerListenerOptions;
  readonly #events: ListenerEvents;
  readonly #threads: (IoThread | undefined)[] = [];
  readonly #restarts = new Set<NodeJS.Timeout>();
  readonly #cells: Int32Array<SharedArrayBuffer>;
  readonly #gone = Promise.withResolvers<void>();
  #port: number;
  #renewal = 0;
  #isListening = false;
  #isStarted = false;
  #isClosing = false;

  constructor(options: WorkerListenerOptions, events: ListenerEvents) {
    this.#options = options;
    this.#events = events;
    this.#port = options.port;
    this.#cells = new Int32Array(new SharedArrayBuffer(4 * (options.workers + 1)));
  }

  get workerConnections(): readonly number[] {
    return [...this.#cells.subarray(0, this.#options.workers)];
  }

  async start(): Promise<number> {
    const { host, port, workers } = this.#options;
    try {
      // Workers share the port, with those of any other process of this user, too: that it is free has to be asked.
      if (port !== 0) await expectFree(host, port);
      this.#expectOpen();
      this.#port = await this.#startThread(0, 0).listening;
      this.#expectOpen();
      await Promise.all(Array.from({ length: workers - 1 }, (_, i) => this.#startThread(i + 1, 0).listening));
      this.#expectOpen();
    } catch (thrown) {
      this.#isClosing = true;
      this.destroyConnections();
      throw listenError(thrown, host, port);
    }
    this.#isStarted = true;
    this.#isListening = true;
    return this.#port;
  }

  renewTls(): void {
    const tls = this.#options.tls();
    this.#renewal += 1;
    for (const thread of this.#threads) thread?.post({ kind: "renew", number: this.#renewal, tls });
    // After the messages: a worker that sees the number finds its message.
    Atomics.store(this.#cells, this.#options.workers, this.#renewal);
  }

  close(): Promise<void> {
    this.#isClosing = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    for (const thread of this.#threads) thread?.post({ kind: "close" });
    this.#tellWhenGone();
    return this.#gone.promise;
  }

  destroyConnections(): void {
    for (const thread of this.#threads) thread?.exit();
  }

  /** Throws when it was closed while it started. */
  #expectOpen(): void {
    if (this.#isClosing) throw new Error("closed while it started");
  }

  #startThread(index: number, failures: number): IoThread {
    const { tls, host, sessionsMax, workers } = this.#options;
    // The kernel spreads the connections of an address evenly.
    const handshakesPerSourceMax = Math.ceil(this.#options.handshakesPerSourceMax / workers);
    const bounds = { sessionsMax, handshakesPerSourceMax };
    const startedAt = performance.now();
    const thread = new IoThread(
      { shared: this.#cells.buffer, index, tls: tls(), renewal: this.#renewal, host, port: this.#port, ...bounds },
      {
        onConnection: (socket) => this.#events.onConnection(socket),
        onHandshakeFailed: ({ remoteAddress, message }) => this.#events.onHandshakeFailed(remoteAddress, message),
        onDropped: () => this.#events.onDropped(),
        onHandshakeCut: (source) => this.#events.onHandshakeCut(source),
        onListenFailed: (thrown) => {
          if (this.#isListening) this.#events.onFailed("h2.server_failed", { worker: index }, thrown);
        },
        onExit: (thrown) => {
          this.#threads[index] = undefined;
          Atomics.store(this.#cells, index, 0);
          if (this.#isClosing) this.#tellWhenGone();
          // Before that `start` fails, and nothing may come back after it.
          else if (this.#isStarted)
            this.#restart(index, performance.now() - startedAt > steadyMs ? 0 : failures, thrown);
        },
      },
    );
    this.#threads[index] = thread;
    return thread;
  }

  #restart(index: number, failures: number, thrown: unknown): void {
    const delayMs = Math.min(restartMsMax, restartMsMin * 2 ** failures);
    this.#events.onFailed("h2.worker_failed", { worker: index, restartMs: delayMs }, thrown);
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      if (this.#isClosing) return;
      // A failure to listen ends the thread, and with it comes the next attempt.
      const thread = this.#startThread(index, failures + 1);
      thread.listening.catch(() => thread.exit());
    }, delayMs);
    this.#restarts.add(timer);
  }

  #tellWhenGone(): void {
    if (this.#threads.every((thread) => thread === undefined)) this.#gone.resolve();
  }
}

/** Throws what Node says when somebody listens there already. */
function expectFree(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen({ host, port }, () => probe.close(() => resolve()));
  });
}

/** Wait before a worker that ended is started again, doubled with each end that comes soon. */
const restartMsMin = 100;
const restartMsMax = 10_000;
/** A worker that lived so long starts anew without a history. */
const steadyMs = 60_000;
