/** A client that speaks HTTP/2 byte by byte, and breaks it as a test wants. */
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import {
  clientPreface,
  encodeH2Frame,
  encodeSettings,
  FrameFlag,
  FrameType,
  frameHeaderBytes,
  Setting,
} from "../h2-frames.ts";
import type { PortAddress } from "../port.ts";
import type { TestDomain } from "./world.ts";

/** A frame as it came. */
export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A TLS connection whose HTTP/2 the test writes. */
export class RawH2 {
  readonly socket: TLSSocket;
  readonly frames: RawFrame[] = [];
  readonly closed: Promise<void>;
  #read = Buffer.alloc(0);
  #waiting: (() => void)[] = [];

  constructor(socket: TLSSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("close", () => this.#wake());
  }

  write(...parts: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(parts));
  }

  /** The next frame that `matches`, also one that came already; undefined when the connection ended without one. */
  async frame(matches: (frame: RawFrame) => boolean): Promise<RawFrame | undefined> {
    for (;;) {
      const found = this.frames.find(matches);
      if (found !== undefined || this.socket.destroyed) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The code of the GOAWAY that ended the connection; undefined when it was cut without. */
  async goawayCode(): Promise<number | undefined> {
    return (await this.frame(({ type }) => type === FrameType.goaway))?.payload.readUInt32BE(4);
  }

  #take(chunk: Buffer): void {
    this.#read = Buffer.concat([this.#read, chunk]);
    while (this.#read.length >= frameHeaderBytes) {
      const end = frameHeaderBytes + this.#read.readUIntBE(0, 3);
      if (this.#read.length < end) break;
      this.frames.push({
        type: this.#read[3] ?? 0,
        flags: this.#read[4] ?? 0,
        stream: this.#read.readUInt32BE(5),
        payload: this.#read.subarray(frameHeaderBytes, end),
      });
      this.#read = this.#read.subarray(end);
    }
    this.#wake();
  }

  #wake(): void {
    for (const run of this.#waiting.splice(0)) run();
  }
}

export async function connectRaw(domain: TestDomain, address: PortAddress, path = "travel/raw"): Promise<RawH2> {
  const socket = connect({
    ...domain.clientTls(path),
    host: address.host,
    port: address.port,
    ALPNProtocols: ["h2"],
  });
  await once(socket, "secureConnect");
  return new RawH2(socket);
}

/** Preface and SETTINGS that promise one link, with `settings` beside. */
export const promise = (...settings: readonly (readonly [number, number])[]): Buffer =>
  Buffer.concat([clientPreface, encodeSettings([[Setting.onlyLink, 1], ...settings])]);

/** Asks for the link. The header block is not looked into. */
export const request: Buffer = encodeH2Frame(FrameType.headers, FrameFlag.endHeaders, Buffer.from([0x83, 0x87]));

/** A frame on any stream. */
export function frameOn(stream: number, type: number, flags: number, payload: Uint8Array): Buffer {
  const frame = encodeH2Frame(type, flags, payload);
  frame.writeUInt32BE(stream, 5);
  return frame;
}
