/** One stream as the application holds it: an async iterable of what comes, and `write` for what goes. */
import { type AgentId, CausewayError, refuse } from "@causeway/core-base";
import type { Metadata } from "@causeway/core-session";
import type { AgentStream } from "../api.ts";

/** What an `AgentStream` asks of the machine behind it. */
export interface StreamPort {
  header(metadata: Metadata): void;
  /** False when the writer has to wait. */
  write(bytes: Uint8Array): boolean;
  end(metadata: Metadata): void;
  reset(error: CausewayError): void;
  consume(bytes: number): void;
}

export class OpenStream implements AgentStream {
  readonly peer: AgentId;
  readonly name: string;
  readonly metadata: Metadata;
  readonly header: Promise<Metadata>;
  readonly trailer: Promise<Metadata>;
  readonly closed: Promise<void>;
  readonly #port: StreamPort;
  readonly #abort = new AbortController();
  readonly #settle: {
    readonly header: Settle<Metadata>;
    readonly trailer: Settle<Metadata>;
    readonly closed: Settle<void>;
  };
  #chunks: Uint8Array[] = [];
  #isEnded = false;
  #error: CausewayError | undefined;
  #isFull = false;
  /** Readers and writers that wait for the next change. */
  #waiting: (() => void)[] = [];

  constructor(peer: AgentId, name: string, metadata: Metadata, port: StreamPort) {
    this.peer = peer;
    this.name = name;
    this.metadata = metadata;
    this.#port = port;
    const [header, trailer, closed] = [settling<Metadata>(), settling<Metadata>(), settling<void>()];
    this.#settle = { header, trailer, closed };
    this.header = header.promise;
    this.trailer = trailer.promise;
    this.closed = closed.promise;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  sendHeader(metadata: Metadata): void {
    this.#check();
    this.#port.header(metadata);
  }

  async write(bytes: Uint8Array): Promise<void> {
    while (this.#isFull && !this.#error) await this.#change();
    this.#check();
    if (!this.#port.write(bytes)) this.#isFull = true;
    while (this.#isFull && !this.#error) await this.#change();
    if (this.#error) throw this.#error;
  }

  async end(metadata: Metadata = []): Promise<void> {
    while (this.#isFull && !this.#error) await this.#change();
    this.#check();
    this.#port.end(metadata);
  }

  reset(error: CausewayError = refuse("CAUSEWAY_CANCELLED", "the other side gave the stream up")): void {
    this.#port.reset(error);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    let isDone = false;
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk) {
          this.#port.consume(chunk.length);
          yield chunk;
        } else if (this.#error) throw this.#error;
        else if (this.#isEnded) {
          isDone = true;
          return;
        } else await this.#change();
      }
    } finally {
      // Who leaves the loop wants nothing more.
      if (!isDone) this.reset();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset();
  }

  /** From the other side. */
  handleHeader(metadata: Metadata): void {
    this.#settle.header.resolve(metadata);
  }

  handleData(bytes: Uint8Array): void {
    this.#settle.header.resolve([]);
    this.#chunks.push(bytes);
    this.#wake();
  }

  handleEnded(metadata: Metadata): void {
    this.#settle.header.resolve([]);
    this.#settle.trailer.resolve(metadata);
    this.#isEnded = true;
    this.#wake();
  }

  handleWritable(): void {
    this.#isFull = false;
    this.#wake();
  }

  handleClosed(error: CausewayError | undefined): void {
    if (error) {
      this.#error = error;
      // What came before was not all; nobody should take it for the whole.
      this.#chunks = [];
      for (const each of [this.#settle.header, this.#settle.trailer, this.#settle.closed]) each.reject(error);
      this.#abort.abort(error);
    } else this.#settle.closed.resolve(undefined);
    this.#wake();
  }

  #check(): void {
    if (this.#error) throw this.#error;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}

interface Settle<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: CausewayError) => void;
}

/** A promise to be settled from outside; nobody has to look at its failure. */
function settling<T>(): Settle<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: CausewayError) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
