import type { CausewayError } from "@causeway/core-base";
import type { Caller } from "./caller.ts";
import { clientPreface, FrameType, frameHeaderBytes, Setting } from "./h2-frames.ts";
import type { PortSocket } from "./port-socket.ts";
import type { Session } from "./session.ts";

/** What a connection is for: one link and nothing else, or any streams. */
export type ConnectionUse = "only-link" | "any";

/**
 * A connection whose client has not said what it is for: preface and SETTINGS, which every client of HTTP/2 sends first,
 * are read to see whether it promises to carry one link only. Anything unusual is left to node:http2.
 */
export class Opening implements Session {
  readonly caller: Caller;
  readonly #socket: PortSocket;
  readonly #decide: (use: ConnectionUse, read: Buffer) => void;
  #timer: NodeJS.Timeout | undefined;
  #read: Buffer = nothing;
  readonly #onData = (chunk: Buffer): void => this.#take(chunk);

  /** `decide` is called at most once, with everything that was read; `waitMs`: how long the client may take. */
  constructor(socket: PortSocket, caller: Caller, waitMs: number, decide: (use: ConnectionUse, read: Buffer) => void) {
    this.caller = caller;
    this.#socket = socket;
    this.#decide = decide;
    this.#timer = setTimeout(() => socket.destroy(), waitMs);
    this.#timer.unref();
    socket.on("close", this.#onClose);
    socket.on("data", this.#onData);
    // No end of a connection that says nothing but that it ends.
    socket.on("end", this.#onEnd);
  }

  drain(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  end(_reason: CausewayError): void {
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  watch(): void {}

  readonly #onEnd = (): void => void this.#socket.destroy();
  readonly #onClose = (): void => clearTimeout(this.#timer);

  #take(chunk: Buffer): void {
    this.#read = this.#read.length === 0 ? chunk : Buffer.concat([this.#read, chunk]);
    const use = useOf(this.#read);
    if (use === undefined) return;
    clearTimeout(this.#timer);
    // Nothing of this stays with the connection, of which there may be ten thousand.
    this.#timer = undefined;
    this.#socket.off("close", this.#onClose);
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onEnd);
    const read = this.#read;
    this.#read = nothing;
    this.#decide(use, read);
  }
}

/** What the first bytes say; undefined while they are too few. */
function useOf(bytes: Buffer): ConnectionUse | undefined {
  const common = Math.min(bytes.length, clientPreface.length);
  if (!bytes.subarray(0, common).equals(clientPreface.subarray(0, common))) return "any";
  const start = clientPreface.length;
  if (bytes.length < start + frameHeaderBytes) return undefined;
  const length = bytes.readUIntBE(start, 3);
  const isPlain =
    bytes[start + 3] === FrameType.settings && bytes[start + 4] === 0 && bytes.readUInt32BE(start + 5) === 0;
  if (!isPlain || length > settingsBytesMax || length % 6 !== 0) return "any";
  const from = start + frameHeaderBytes;
  if (bytes.length < from + length) return undefined;
  for (let at = from; at < from + length; at += 6) {
    if (bytes.readUInt16BE(at) === Setting.onlyLink && bytes.readUInt32BE(at + 2) === 1) return "only-link";
  }
  return "any";
}

const settingsBytesMax = 192;
const nothing = Buffer.alloc(0);
