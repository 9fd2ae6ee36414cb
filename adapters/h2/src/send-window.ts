import type { ControlAllowance } from "./control-allowance.ts";
import {
  defaultWindow,
  FrameType,
  frameHeaderBytes,
  H2Error,
  Setting,
  windowMax,
  writeFrameHeader,
} from "./h2-frames.ts";
import type { PortSocket } from "./port-socket.ts";

/**
 * DATA frames of the one stream, as far as the client's windows allow. A write has room for a frame header in front. One
 * that does not fit is cut: the header of its next part goes over bytes that have left already.
 */
export class SendWindow {
  readonly #socket: PortSocket;
  readonly #allowance: ControlAllowance;
  readonly #waiting: { readonly bytes: Uint8Array; at: number; readonly done: () => void }[] = [];
  /** A part of the first write is on its way, and the bytes in front of the next are not free for its header. */
  #isSplitting = false;
  #connection = defaultWindow;
  #stream = defaultWindow;
  #initial = defaultWindow;
  #frameBytesMax = 16_384;

  constructor(socket: PortSocket, allowance: ControlAllowance) {
    this.#socket = socket;
    this.#allowance = allowance;
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#waiting.push({ bytes, at: frameHeaderBytes, done });
    this.#flush();
  }

  /** Forgets what waits. */
  discard(): void {
    this.#waiting.length = 0;
  }

  /** A setting of the client; the code of a connection error when it may not be. */
  set(id: number, value: number): number | undefined {
    if (id === Setting.initialWindowSize) {
      if (value > windowMax || this.#stream + value - this.#initial > windowMax) return H2Error.flowControl;
      // RFC 9113 section 6.9.2: what was sent already counts against the new window, which may become negative.
      this.#stream += value - this.#initial;
      this.#initial = value;
      this.#flush();
    } else if (id === Setting.maxFrameSize) {
      if (value < 16_384 || value > 16_777_215) return H2Error.protocol;
      this.#frameBytesMax = value;
    }
    return undefined;
  }

  /** A WINDOW_UPDATE; the code of a connection error when it may not be. */
  widen(isStream: boolean, increment: number): number | undefined {
    if (increment === 0) return H2Error.protocol;
    if (isStream) this.#stream += increment;
    else this.#connection += increment;
    if (this.#stream > windowMax || this.#connection > windowMax) return H2Error.flowControl;
    this.#flush();
    return undefined;
  }

  #flush(): void {
    while (!this.#isSplitting) {
      const next = this.#waiting[0];
      const room = Math.min(this.#connection, this.#stream, this.#frameBytesMax);
      if (next === undefined || room <= 0 || !this.#socket.writable) return;
      const left = next.bytes.length - next.at;
      const length = Math.min(left, room);
      this.#connection -= length;
      this.#stream -= length;
      this.#allowance.earn(length);
      const from = next.at - frameHeaderBytes;
      writeFrameHeader(next.bytes, from, length, FrameType.data, 0);
      const frame = next.bytes.subarray(from, next.at + length);
      next.at += length;
      if (length === left) {
        this.#waiting.shift();
        this.#socket.write(frame, (error) => {
          if (error === null || error === undefined) next.done();
        });
      } else if (this.#socket.copiesWrites === true) {
        this.#socket.write(frame);
      } else {
        this.#isSplitting = true;
        this.#socket.write(frame, () => {
          this.#isSplitting = false;
          this.#flush();
        });
      }
    }
  }
}
