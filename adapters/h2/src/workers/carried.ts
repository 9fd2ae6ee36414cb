import type { PeerCertificate, TLSSocket } from "node:tls";
import { certificateOf, channelBindingOf } from "../channel-binding.ts";
import { readShared } from "../read-memory.ts";
import { recordBytesMax } from "./protocol.ts";
import { encodeFacts, RecordKind, type SocketFacts } from "./records.ts";
import { copyOf } from "./ring.ts";
import type { RingOutput } from "./ring-output.ts";

/** What a carried connection asks of its worker. */
export interface CarriedEvents {
  /** There is something to say of it at the end of the turn. */
  touch(carried: Carried): void;
  /** It is not read until the ring has room. */
  onBlocked(carried: Carried): void;
  onGone(carried: Carried): void;
}

/** A TLS connection in the worker that terminates it. */
export class Carried {
  readonly #socket: TLSSocket;
  readonly #id: number;
  readonly #output: RingOutput;
  readonly #events: CarriedEvents;
  /** Written and not told yet. */
  #written = 0;
  #isCorked = false;
  #isPaused = false;
  #isBlocked = false;
  #failure: Error | undefined;

  constructor(socket: TLSSocket, id: number, output: RingOutput, events: CarriedEvents) {
    this.#socket = socket;
    this.#id = id;
    this.#output = output;
    this.#events = events;
  }

  /** Tells the main thread who it is, and from then on what it says. */
  open(): void {
    const socket = this.#socket;
    socket.on("error", (error) => {
      this.#failure = error;
    });
    socket.on("end", () => {
      this.#output.tell(RecordKind.end, this.#id);
      this.#events.touch(this);
    });
    socket.on("close", () => this.#onGone());
    const facts = encodeFacts(factsOf(socket));
    if (facts.length > recordBytesMax) {
      const message = `expected certificates of at most ${recordBytesMax} bytes, got more`;
      this.#output.send(
        RecordKind.failed,
        0,
        encodeFacts({ message, code: undefined, remoteAddress: socket.remoteAddress }),
      );
      this.#events.touch(this);
      socket.destroy();
      return;
    }
    this.#output.send(RecordKind.opened, this.#id, facts);
    this.#events.touch(this);
    readShared(socket, (memory, start, end) => this.#onBytes(memory, start, end));
  }

  /** Bytes to send. The memory is used until `letGo`. */
  write(memory: Buffer, start: number, end: number): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    const isIdle = this.#isCorked || socket.writableLength === 0;
    if (isIdle && !this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      this.#events.touch(this);
    }
    // Behind a write that is on its way the bytes wait longer than the ring may keep them.
    const bytes = isIdle ? memory.subarray(start, end) : copyOf(memory, start, end);
    socket.write(bytes, (error) => {
      if (error !== null && error !== undefined) return;
      this.#written += end - start;
      this.#events.touch(this);
    });
  }

  /** Hands TLS what was written in this turn. */
  letGo(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#socket.uncork();
  }

  obey(kind: number): void {
    if (kind === RecordKind.end) {
      this.letGo();
      this.#socket.end();
    } else if (kind === RecordKind.destroy) {
      this.letGo();
      this.#socket.destroy();
    } else if (kind === RecordKind.pause) {
      this.#isPaused = true;
      this.#socket.pause();
    } else if (kind === RecordKind.resume) {
      this.#isPaused = false;
      if (!this.#isBlocked) this.#socket.resume();
    }
  }

  /** Ends behind what was written. */
  finish(): void {
    this.letGo();
    this.#socket.destroySoon();
  }

  /** The ring has room again. */
  unblock(): void {
    this.#isBlocked = false;
    if (!this.#isPaused) this.#socket.resume();
  }

  tellWritten(): void {
    if (this.#written === 0) return;
    this.#output.tell(RecordKind.written, this.#id, this.#written);
    this.#written = 0;
  }

  #onBytes(memory: Uint8Array, start: number, end: number): void {
    this.#output.send(RecordKind.bytes, this.#id, memory, start, end);
    this.#events.touch(this);
    if (!this.#output.isFull || this.#isBlocked) return;
    this.#isBlocked = true;
    this.#socket.pause();
    this.#events.onBlocked(this);
  }

  #onGone(): void {
    const { message, code } = (this.#failure ?? {}) as { message?: string; code?: string };
    if (message === undefined) this.#output.tell(RecordKind.closed, this.#id);
    else this.#output.send(RecordKind.closed, this.#id, encodeFacts({ message, code }));
    this.#events.touch(this);
    this.#events.onGone(this);
  }
}

function factsOf(socket: TLSSocket): SocketFacts {
  return {
    remoteAddress: socket.remoteAddress,
    protocol: socket.getProtocol(),
    isSessionReused: socket.isSessionReused(),
    alpnProtocol: socket.alpnProtocol,
    chain: chainOf(socket.getPeerCertificate(true)),
    channelBinding: channelBindingOf(socket),
    certificate: certificateOf(socket),
  };
}

/** DER of the certificates as the client sent them, as far as each is issued by the next one. */
function chainOf(leaf: PeerCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: { readonly raw?: Uint8Array; readonly issuerCertificate?: object } | undefined = leaf;
  while (certificate?.raw !== undefined && chain.length < certificatesMax) {
    const { raw } = certificate;
    if (chain.some((other) => Buffer.compare(other, raw) === 0)) break;
    chain.push(new Uint8Array(raw));
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** More than a verifier accepts, so that it is the one to refuse. */
const certificatesMax = 8;
