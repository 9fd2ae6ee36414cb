import type { LinkCarrier } from "./carrier.ts";
import { ControlAllowance } from "./control-allowance.ts";
import {
  defaultWindow,
  encodeGoaway,
  encodeH2Frame,
  encodeHeaders,
  encodeReset,
  encodeSettings,
  encodeWindowUpdate,
  FrameFlag,
  FrameType,
  frameHeaderBytes,
  H2Error,
  Setting,
} from "./h2-frames.ts";
import { H2Reader, type H2Receiver } from "./h2-reader.ts";
import type { H2Limits } from "./limits.ts";
import type { PortSocket } from "./port-socket.ts";
import { readShared } from "./read-memory.ts";
import { SendWindow } from "./send-window.ts";
import { readMemory } from "./stream-link.ts";

/** What the owner of a connection with one link hears. */
export interface LinkConnectionEvents {
  /** The client asks for the link. */
  onRequest(): void;
  /** The client broke HTTP/2 or its promise, or floods; it is cut off. */
  onFault(code: number): void;
  /** The socket is gone. */
  onGone(): void;
}

/**
 * The server's side of HTTP/2 on a TLS connection that carries one link and nothing else (docs/adr/0040). There are no
 * header tables and no other streams, so that of HTTP/2 there is left: DATA in both directions, windows, PING, and the
 * end. What a client sends beside DATA is counted against an allowance.
 */
export class LinkConnection implements LinkCarrier, H2Receiver {
  readonly headroom = frameHeaderBytes;
  readonly isReadMemoryReused = true;
  readonly #socket: PortSocket;
  readonly #limits: H2Limits;
  readonly #events: LinkConnectionEvents;
  readonly #allowance: ControlAllowance;
  readonly #out: SendWindow;
  readonly #reader: H2Reader;
  /** What the client may send on its stream. The window of the connection is wider and moves with it. */
  #receiveWindow: number;
  /** What the client is to have in all. Smaller while it is held back, so that little piles up here. */
  #windowWanted: number;
  #receive: ((chunk: Uint8Array, start: number, end: number) => void) | undefined;
  #isPaused = true;
  /** Received while paused, bounded by the window. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #isRequested = false;
  #isRemoteEnded = false;
  #isLocalEnded = false;
  #isStreamClosed = false;
  #isDraining = false;
  #isFailed = false;
  #isPingOpen = false;
  #onError: (error: Error) => void = () => undefined;
  #onEnd: (() => void) | undefined;
  #onClose: (rstCode: number) => void = () => undefined;

  constructor(socket: PortSocket, limits: H2Limits, events: LinkConnectionEvents) {
    this.#socket = socket;
    this.#limits = limits;
    this.#events = events;
    this.#receiveWindow = this.#windowWanted = limits.streamWindowBytes;
    this.#allowance = new ControlAllowance(limits);
    this.#out = new SendWindow(socket, this.#allowance);
    this.#reader = new H2Reader(this);
  }

  /** Answers the client's opening, of which `opening` is what came behind the preface, and reads on. */
  open(opening: Uint8Array): void {
    const socket = this.#socket;
    socket.on("error", (error) => this.#onError(error));
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      this.#closeStream(H2Error.cancel);
      this.#events.onGone();
    });
    const { streamWindowBytes, sessionWindowBytes, headerListBytesMax } = this.#limits;
    this.#say(
      encodeSettings([
        [Setting.enablePush, 0],
        [Setting.maxConcurrentStreams, 1],
        [Setting.initialWindowSize, streamWindowBytes],
        [Setting.maxHeaderListSize, headerListBytesMax],
      ]),
    );
    this.#say(encodeWindowUpdate(sessionWindowBytes - defaultWindow, 0));
    this.#read(opening, 0, opening.length);
    const read = (memory: Uint8Array, start: number, end: number): void => {
      const at = readMemory.keep(memory, start, end);
      this.#read(readMemory.kept, at, at + end - start);
    };
    if (socket.onBytes !== undefined) socket.onBytes(read);
    else readShared(socket, read);
  }

  /** Sends the response headers. */
  respond(headers: Readonly<Record<string, string>>): void {
    this.#say(encodeHeaders(headers, false));
  }

  /** Ends our direction, and with it the stream: a client that still sends is told to stop by a reset without error. */
  endWith(trailers: Readonly<Record<string, string>>): void {
    if (this.#isLocalEnded || this.#isStreamClosed) return;
    this.#isLocalEnded = true;
    this.#out.discard();
    this.#say(encodeHeaders(trailers, true));
    setImmediate(() => {
      if (!this.#isRemoteEnded) this.#say(encodeReset(H2Error.none));
      this.#closeStream(H2Error.none);
    });
  }

  get isRemoteEnded(): boolean {
    return this.#isRemoteEnded;
  }

  get isGone(): boolean {
    return this.#socket.destroyed;
  }

  /** Tells the client that this is the last of the connection, and ends it when the link is over. */
  drain(text: Uint8Array): void {
    if (this.isGone) return;
    this.#isDraining = true;
    this.#say(encodeGoaway(H2Error.none, text));
    if (!this.#isRequested || this.#isStreamClosed) this.#socket.end();
  }

  /** Asks for a sign of life; false when the last one is still open. */
  ping(): boolean {
    if (this.#isPingOpen) return false;
    this.#isPingOpen = true;
    this.#say(encodeH2Frame(FrameType.ping, 0, new Uint8Array(8)));
    return true;
  }

  start(receive: (chunk: Uint8Array, start: number, end: number) => void): void {
    this.#receive = receive;
    this.resume();
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#out.write(bytes, done);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    let next = 0;
    for (; next < held.length && !this.#isPaused; next++) {
      const piece = held[next];
      if (piece === undefined) continue;
      this.#heldBytes -= piece.length;
      this.#receive?.(piece, 0, piece.length);
    }
    // Paused again on the way: what is left keeps its place.
    if (next < held.length) this.#held = held.slice(next);
    this.#giveBack();
    this.#tellEnd();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  onError(run: (error: Error) => void): void {
    this.#onError = run;
  }

  onEnd(run: () => void): void {
    this.#onEnd = run;
  }

  onClose(run: (rstCode: number | undefined) => void): void {
    this.#onClose = run;
  }

  #read(chunk: Uint8Array, start: number, end: number): void {
    if (this.#isFailed) return;
    const fault = this.#reader.push(chunk, start, end);
    if (fault !== undefined) this.#fail(fault);
    else this.#giveBack();
  }

  dataFrame(length: number): number | undefined {
    if (!this.#isRequested || this.#isRemoteEnded) return H2Error.protocol;
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) return H2Error.flowControl;
    return length === 0 ? this.#allowance.spend() : undefined;
  }

  data(chunk: Uint8Array, start: number, end: number): void {
    if (!this.#isPaused) this.#receive?.(chunk, start, end);
    else if (!this.#isStreamClosed) {
      if (this.#held.length === 0)
        this.#windowWanted = Math.min(this.#windowWanted, Math.max(windowWantedMin, this.#windowWanted >> 1));
      // The memory is used again in the next turn.
      this.#held.push(new Uint8Array(chunk.subarray(start, end)));
      this.#heldBytes += end - start;
    }
  }

  ended(): number | undefined {
    if (this.#isRemoteEnded) return H2Error.protocol;
    this.#isRemoteEnded = true;
    this.#tellEnd();
    return undefined;
  }

  headers(): number | undefined {
    // A second one would be trailers, which no client of gRPC has.
    if (this.#isRequested) return H2Error.protocol;
    this.#isRequested = true;
    if (this.#isDraining) return H2Error.refusedStream;
    this.#events.onRequest();
    return undefined;
  }

  control(type: number, flags: number, stream: number, payload: Uint8Array): number | undefined {
    const flood = this.#allowance.spend();
    if (flood !== undefined) return flood;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    switch (type) {
      case FrameType.settings:
        return this.#takeSettings(flags, stream, view);
      case FrameType.ping:
        if (stream !== 0) return H2Error.protocol;
        if (payload.length !== 8) return H2Error.frameSize;
        if ((flags & FrameFlag.ack) !== 0) this.#isPingOpen = false;
        else this.#say(encodeH2Frame(FrameType.ping, FrameFlag.ack, payload));
        return undefined;
      case FrameType.windowUpdate:
        if (payload.length !== 4) return H2Error.frameSize;
        return stream > 1 ? H2Error.protocol : this.#out.widen(stream === 1, view.getUint32(0) & 0x7fffffff);
      case FrameType.rstStream:
        if (payload.length !== 4) return H2Error.frameSize;
        if (stream !== 1 || !this.#isRequested) return H2Error.protocol;
        this.#closeStream(view.getUint32(0));
        return undefined;
      default:
        return undefined;
    }
  }

  #takeSettings(flags: number, stream: number, view: DataView): number | undefined {
    if (stream !== 0) return H2Error.protocol;
    if ((flags & FrameFlag.ack) !== 0) return view.byteLength === 0 ? undefined : H2Error.frameSize;
    if (view.byteLength % 6 !== 0) return H2Error.frameSize;
    for (let at = 0; at < view.byteLength; at += 6) {
      const fault = this.#out.set(view.getUint16(at), view.getUint32(at + 2));
      if (fault !== undefined) return fault;
    }
    this.#say(encodeH2Frame(FrameType.settings, FrameFlag.ack, new Uint8Array(0)));
    return undefined;
  }

  /** Lets the client send again, in large steps; more and more while it is not held back. */
  #giveBack(): void {
    const free = this.#windowWanted - this.#receiveWindow - this.#heldBytes;
    if (free < this.#windowWanted / 2 || this.#isRemoteEnded || this.#isStreamClosed) return;
    this.#receiveWindow += free;
    this.#windowWanted = Math.min(this.#limits.streamWindowBytes, this.#windowWanted + Math.floor(free / 8));
    this.#say(encodeWindowUpdate(free, 0));
    this.#say(encodeWindowUpdate(free, 1));
  }

  /** After everything that came before it. */
  #tellEnd(): void {
    if (!this.#isRemoteEnded || this.#isPaused || this.#held.length > 0) return;
    const run = this.#onEnd;
    this.#onEnd = undefined;
    run?.();
  }

  #closeStream(code: number): void {
    if (this.#isStreamClosed) return;
    this.#isStreamClosed = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.#out.discard();
    if (this.#isRequested) this.#onClose(code);
    if (this.isGone) return;
    if (this.#isDraining) this.#socket.end();
    // The client has no use for the connection any more. It closes it, or is helped.
    const timer = setTimeout(() => this.#socket.destroy(), this.#limits.closeMs);
    timer.unref();
    this.#socket.once("close", () => clearTimeout(timer));
  }

  #fail(code: number): void {
    this.#isFailed = true;
    this.#events.onFault(code);
    this.#say(encodeGoaway(code, new Uint8Array(0)));
    this.#closeStream(code);
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), faultGraceMs).unref();
  }

  /** Sends a small frame, which no window holds back. A client that does not read the answers that it causes is cut off. */
  #say(frame: Uint8Array): void {
    if (!this.#socket.writable) return;
    if (!this.#allowance.open()) {
      this.#socket.destroy();
      return;
    }
    this.#socket.write(frame, () => this.#allowance.close());
  }
}

/** Of the stream, however often the client is held back. */
const windowWantedMin = 262_144;
/** For a GOAWAY to leave before the connection is cut. */
const faultGraceMs = 250;
