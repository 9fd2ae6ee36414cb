import { Duplex } from "node:stream";
import { copyOf } from "./ring.ts";
import type { WorkerSocket } from "./worker-socket.ts";

/** A connection of a worker as a stream of Node, for node:http2. Costs a copy of what is received. */
export class WorkerStream extends Duplex {
  readonly #socket: WorkerSocket;

  /** `read`: what was read of the connection before. */
  constructor(socket: WorkerSocket, read: Buffer) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    if (read.length > 0) this.push(read);
    socket.onBytes((memory, start, end) => {
      if (!this.push(copyOf(memory, start, end))) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error: Error) => this.destroy(error));
    socket.on("close", () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#socket.write(bytes, done)) done(new Error("the connection is gone"));
  }

  override _final(done: () => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
