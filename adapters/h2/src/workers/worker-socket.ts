import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import type { PortSocket, ShownCertificate } from "../port-socket.ts";
import { type Failure, RecordKind, type SocketFacts } from "./records.ts";
import { copyOf } from "./ring.ts";
import type { RingOutput } from "./ring-output.ts";
import { WorkerStream } from "./worker-stream.ts";

/** What a socket needs of the thread that has its connection. */
export interface SocketOwner {
  readonly output: RingOutput;
  /** Something was said: it is to be shown at the end of the turn. */
  touch(): void;
  forget(id: number): void;
}

/** In the main thread, a TLS connection that an IO worker terminates. */
export class WorkerSocket extends EventEmitter implements PortSocket {
  readonly copiesWrites = true;
  readonly remoteAddress: string | undefined;
  readonly alpnProtocol: string | false | null;
  bytesRead = 0;
  destroyed = false;
  readonly #id: number;
  readonly #facts: SocketFacts;
  readonly #owner: SocketOwner;
  #isEnded = false;
  #isPaused = false;
  #receive: ((memory: Buffer, start: number, end: number) => void) | undefined;
  /** Writes that the worker has not written: how much of each is left. */
  #open: { left: number; readonly done: ((error?: Error | null) => void) | undefined }[] = [];

  constructor(id: number, facts: SocketFacts, owner: SocketOwner) {
    super();
    this.#id = id;
    this.#facts = facts;
    this.#owner = owner;
    this.remoteAddress = facts.remoteAddress;
    this.alpnProtocol = facts.alpnProtocol;
  }

  get writable(): boolean {
    return !this.#isEnded && !this.destroyed;
  }

  getProtocol(): string | null {
    return this.#facts.protocol;
  }

  isSessionReused(): boolean {
    return this.#facts.isSessionReused;
  }

  getPeerCertificate(): ShownCertificate {
    return this.#facts.chain.reduceRight<ShownCertificate>(
      (issuerCertificate, raw) => ({ raw, issuerCertificate }),
      {},
    );
  }

  getCertificate(): ShownCertificate | null {
    const { certificate } = this.#facts;
    return certificate === undefined ? null : { raw: certificate };
  }

  /** The channel binding: nothing else is exported by the worker. */
  exportKeyingMaterial(): Uint8Array {
    return this.#facts.channelBinding;
  }

  onBytes(receive: (memory: Buffer, start: number, end: number) => void): void {
    this.#receive = receive;
  }

  asStream(read: Buffer): Duplex {
    return new WorkerStream(this, read);
  }

  /** `done` is called when the connection has taken the bytes, never after it is gone. */
  write(bytes: Uint8Array, done?: (error?: Error | null) => void): boolean {
    if (!this.writable) return false;
    if (bytes.length === 0) {
      if (done !== undefined) process.nextTick(done);
      return true;
    }
    this.#open.push({ left: bytes.length, done });
    this.#owner.output.send(RecordKind.bytes, this.#id, bytes);
    this.#owner.touch();
    return true;
  }

  end(): void {
    if (!this.writable) return;
    this.#isEnded = true;
    this.#tell(RecordKind.end);
  }

  destroy(): void {
    if (this.destroyed) return;
    this.#tell(RecordKind.destroy);
    this.#finish(undefined);
  }

  pause(): void {
    if (this.#isPaused || this.destroyed) return;
    this.#isPaused = true;
    this.#tell(RecordKind.pause);
  }

  resume(): void {
    if (!this.#isPaused || this.destroyed) return;
    this.#isPaused = false;
    this.#tell(RecordKind.resume);
  }

  /** Bytes came. */
  takeBytes(memory: Buffer, start: number, end: number): void {
    this.bytesRead += end - start;
    if (this.#receive !== undefined) this.#receive(memory, start, end);
    else this.emit("data", copyOf(memory, start, end));
  }

  /** The worker has written so many bytes. */
  takeWritten(bytes: number): void {
    let left = bytes;
    let finished = 0;
    for (const write of this.#open) {
      const taken = Math.min(write.left, left);
      write.left -= taken;
      left -= taken;
      if (write.left > 0) break;
      finished += 1;
    }
    for (const { done } of this.#open.splice(0, finished)) done?.();
  }

  /** The other side has ended its direction. */
  takeEnd(): void {
    this.emit("end");
  }

  /** The connection is gone, or its worker is. */
  takeClosed(failure: Failure | undefined): void {
    if (this.destroyed) return;
    this.#finish(failure && Object.assign(new Error(failure.message), failure.code && { code: failure.code }));
  }

  #finish(error: Error | undefined): void {
    this.destroyed = true;
    this.#open = [];
    this.#owner.forget(this.#id);
    process.nextTick(() => {
      if (error !== undefined && this.listenerCount("error") > 0) this.emit("error", error);
      this.emit("close");
    });
  }

  #tell(kind: number): void {
    this.#owner.output.tell(kind, this.#id);
    this.#owner.touch();
  }
}
