import { Worker } from "node:worker_threads";
import { turn } from "../stream-link.ts";
import {
  type FromWorker,
  recordBytesMax,
  ringBytes,
  type ToWorker,
  turnBytesMax,
  type WorkerStart,
  wakeUp,
} from "./protocol.ts";
import { decodeFacts, decodeFailure, type Failure, RecordKind } from "./records.ts";
import { copyOf, createRing, RingReader } from "./ring.ts";
import { RingOutput } from "./ring-output.ts";
import { type SocketOwner, WorkerSocket } from "./worker-socket.ts";

/** What the owner of an IO worker hears. */
export interface IoThreadEvents {
  onConnection(socket: WorkerSocket): void;
  onHandshakeFailed(failure: Failure): void;
  onDropped(): void;
  onHandshakeCut(source: string): void;
  /** It does not listen any more, or not for now. */
  onListenFailed(thrown: unknown): void;
  /** It is gone, and its connections with it. */
  onExit(thrown: unknown): void;
}

/** An IO worker as the main thread sees it. */
export class IoThread implements SocketOwner {
  readonly output: RingOutput;
  /** Resolves with the port when it listens; rejects with what Node says. */
  readonly listening: Promise<number>;
  readonly #worker: Worker;
  readonly #input: RingReader;
  readonly #events: IoThreadEvents;
  readonly #sockets = new Map<number, WorkerSocket>();
  #isTouched = false;
  /** The worker does not wake this side while it is awake. */
  #isAwake = false;
  #isGone = false;
  #exit: "no" | "wanted" | "told" = "no";
  #thrown: unknown;

  constructor(start: Omit<WorkerStart, "up" | "down">, events: IoThreadEvents) {
    const up = createRing(ringBytes);
    const down = createRing(ringBytes);
    this.#events = events;
    this.#input = new RingReader(up);
    this.output = new RingOutput(down, recordBytesMax, { wake: () => this.#worker.postMessage(wakeUp) });
    const workerData: WorkerStart = { ...start, up, down };
    this.#worker = new Worker(entry, { workerData, name: `causeway-io-${start.index}` });
    const listening = Promise.withResolvers<number>();
    this.listening = listening.promise;
    this.#worker.on("message", (message: FromWorker | typeof wakeUp) => {
      if (message === wakeUp) this.#pump();
      else if (message.kind === "listening") listening.resolve(message.port);
      else {
        const thrown = Object.assign(new Error(message.message), { code: message.code });
        // Of no effect once it has listened.
        listening.reject(thrown);
        this.#events.onListenFailed(thrown);
      }
    });
    this.#worker.on("error", (thrown) => {
      this.#thrown = thrown;
    });
    this.#worker.on("exit", (code) => {
      const thrown = this.#thrown ?? new Error(`the worker ended with code ${code}`);
      listening.reject(thrown);
      this.#onExit(thrown);
    });
    this.#sleep();
  }

  post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  /** Ends the worker once it has done what was said, or after a second. */
  exit(): void {
    if (this.#isGone || this.#exit !== "no") return;
    this.#exit = "wanted";
    this.output.flush();
    this.#tellExit();
    const timer = setTimeout(() => void this.#worker.terminate(), exitMsMax);
    timer.unref();
    this.#worker.once("exit", () => clearTimeout(timer));
  }

  /** Not before everything else is in the ring. */
  #tellExit(): void {
    if (this.#exit !== "wanted" || this.output.isFull) return;
    this.#exit = "told";
    this.post({ kind: "exit" });
  }

  touch(): void {
    if (this.#isTouched || this.#isGone) return;
    this.#isTouched = true;
    turn.addLast(this);
  }

  forget(id: number): void {
    this.#sockets.delete(id);
  }

  /** The turn is over, and what was written is all there is. */
  flush(): void {
    this.#isTouched = false;
    if (this.#isGone) return;
    this.output.flush();
    this.#tellExit();
    if (this.#isAwake) this.#sleep();
  }

  #sleep(): void {
    this.#isAwake = !this.#input.sleep();
    if (this.#isAwake) setImmediate(() => this.#pump());
  }

  #pump(): void {
    if (this.#isGone) return;
    this.#isAwake = true;
    this.#input.read(this.#visit, turnBytesMax);
    if (this.#input.free()) this.#worker.postMessage(wakeUp);
    this.touch();
  }

  readonly #visit = (kind: number, id: number, value: number, memory: Buffer, start: number, end: number): void => {
    const socket = this.#sockets.get(id);
    if (kind === RecordKind.bytes) socket?.takeBytes(memory, start, end);
    else if (kind === RecordKind.written) socket?.takeWritten(value);
    else if (kind === RecordKind.end) socket?.takeEnd();
    else if (kind === RecordKind.closed)
      socket?.takeClosed(end > start ? decodeFailure(memory, start, end) : undefined);
    else if (kind === RecordKind.opened) this.#open(id, memory, start, end);
    else if (kind === RecordKind.failed) this.#events.onHandshakeFailed(decodeFailure(memory, start, end));
    else if (kind === RecordKind.dropped) this.#events.onDropped();
    else if (kind === RecordKind.handshakeCut) this.#events.onHandshakeCut(copyOf(memory, start, end).toString());
  };

  #open(id: number, memory: Buffer, start: number, end: number): void {
    const socket = new WorkerSocket(id, decodeFacts(memory, start, end), this);
    this.#sockets.set(id, socket);
    this.#events.onConnection(socket);
  }

  #onExit(thrown: unknown): void {
    this.#isGone = true;
    const failure = { message: "the IO worker of the connection ended; connect again", code: undefined };
    for (const socket of [...this.#sockets.values()]) socket.takeClosed(failure);
    this.#events.onExit(thrown);
  }
}

/** A worker that does not end by itself is ended. */
const exitMsMax = 1_000;
/** From the sources as from what is built of them. */
const entry = new URL(import.meta.url.endsWith(".ts") ? "./io-worker.ts" : "./io-worker.js", import.meta.url);
