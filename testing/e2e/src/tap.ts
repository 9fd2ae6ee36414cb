/** A TCP proxy that keeps every byte of every connection, for looking at what crosses a wire. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

export interface Stream {
  readonly to: number;
  readonly direction: "client" | "server";
  bytes: Buffer[];
}

export class Tap implements AsyncDisposable {
  readonly streams: Stream[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Listens in front of `port`; answers where. */
  async before(port: number): Promise<number> {
    const server = createServer((client) => {
      const upstream = connect(port, "127.0.0.1");
      this.#record(client, upstream, { to: port, direction: "client", bytes: [] });
      this.#record(upstream, client, { to: port, direction: "server", bytes: [] });
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  #record(from: Socket, to: Socket, stream: Stream): void {
    this.streams.push(stream);
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on("data", (chunk: Buffer) => {
      stream.bytes.push(chunk);
      to.write(chunk);
    });
    from.on("end", () => to.end());
    from.on("error", () => to.destroy());
    from.on("close", () => this.#sockets.delete(from));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** Content types of TLS records. */
const contentTypes = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;

/** The content types of the TLS records of a stream, in order. Throws when a byte is not part of a TLS record. */
export function tlsRecords(stream: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at < stream.length; ) {
    const type = stream[at] ?? 0;
    const version = stream.length > at + 2 ? stream.readUInt16BE(at + 1) : 0x0303;
    if (!Object.values(contentTypes).includes(type as 20) || version < 0x0301 || version > 0x0303) {
      throw new Error(`byte ${at} of the stream starts no TLS record: ${stream.subarray(at, at + 16).toString("hex")}`);
    }
    if (stream.length < at + 5) break;
    types.push(type);
    at += 5 + stream.readUInt16BE(at + 3);
  }
  return types;
}
