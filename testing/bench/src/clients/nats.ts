/** NATS by its protocol over a TLS socket: as cheap a client as the one for our own gateway. */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { OpenEnd, RelayEnd } from "../system.ts";

export const openEnd: OpenEnd = (settings, role) =>
  openConnection(settings, role, role === "sender" ? "receiver" : "sender");

/** A connection that subscribes to `own` and publishes to `other`. */
export async function openConnection(
  settings: Readonly<Record<string, unknown>>,
  own: string,
  other: string,
): Promise<RelayEnd & { readonly socket: TLSSocket }> {
  const { port, ca, cert, key } = settings as { port: number; ca: string; cert: string; key: string };
  const tcp = connectTcp(port, "127.0.0.1");
  tcp.setNoDelay(true);
  // INFO comes in clear before the handshake.
  await once(tcp, "data");
  tcp.pause();
  const socket = connectTls({
    socket: tcp,
    host: "127.0.0.1",
    ca: readFileSync(ca),
    cert: readFileSync(cert),
    key: readFileSync(key),
    minVersion: "TLSv1.3",
  });
  await once(socket, "secureConnect");
  socket.write('CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"lang":"raw","version":"0"}\r\n');
  socket.write(`SUB ${own} 1\r\nPING\r\n`);
  const reader = new Reader();
  await ready(socket, reader);

  let block = Buffer.alloc(0);
  let messageBytes = 0;
  let waiting = 0;
  let isScheduled = false;
  let writable: () => void = () => undefined;
  const flush = () => {
    isScheduled = false;
    while (waiting > 0) {
      const count = Math.min(waiting, Math.floor(block.length / messageBytes));
      socket.write(block.subarray(0, count * messageBytes));
      waiting -= count;
    }
  };
  socket.on("drain", () => writable());
  return {
    socket,
    facts: { "TLS nats": `${socket.getProtocol()} ${socket.getCipher().name}` },
    prepareSize(bytes) {
      const message = Buffer.concat([
        Buffer.from(`PUB ${other} ${bytes}\r\n`),
        Buffer.alloc(bytes, 0x61),
        Buffer.from("\r\n"),
      ]);
      messageBytes = message.length;
      block = Buffer.concat(
        Array.from({ length: Math.max(1, Math.floor(blockBytes / message.length)) }, () => message),
      );
    },
    send() {
      waiting += 1;
      if (!isScheduled) {
        isScheduled = true;
        setImmediate(flush);
      }
      return !socket.writableNeedDrain;
    },
    onWritable(run) {
      writable = run;
    },
    onReceive(run) {
      reader.deliver = run;
    },
  };
}

/** Waits for the answer to the first PING, then hands all data to the reader. */
async function ready(socket: TLSSocket, reader: Reader): Promise<void> {
  const pong = new Promise<void>((resolve, reject) => {
    reader.onPong = resolve;
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("nats-server closed the connection")));
  });
  reader.answerPing = () => void socket.write("PONG\r\n");
  socket.on("data", (chunk: Buffer) => reader.push(chunk));
  await pong;
}

/** Counts messages without looking at their content. */
class Reader {
  deliver: (count: number) => void = () => undefined;
  onPong: () => void = () => undefined;
  answerPing: () => void = () => undefined;
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of a payload that are still to come and need not be looked at. */
  #skip = 0;

  push(chunk: Buffer): void {
    let count = 0;
    let at = 0;
    if (this.#skip > 0) {
      at = Math.min(this.#skip, chunk.length);
      this.#skip -= at;
      if (this.#skip === 0) count += 1;
    }
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = nothing;
    for (;;) {
      const lineEnd = bytes.indexOf(0x0a, at);
      if (lineEnd < 0) break;
      const first = bytes[at];
      if (first === 0x4d /* MSG */) {
        const payload = lengthBefore(bytes, lineEnd - 1) + 2;
        at = lineEnd + 1 + payload;
        if (at > bytes.length) {
          this.#skip = at - bytes.length;
          at = bytes.length;
          break;
        }
        count += 1;
      } else {
        const line = bytes.toString("latin1", at, lineEnd);
        if (line.startsWith("PONG")) this.onPong();
        else if (line.startsWith("PING")) this.answerPing();
        else if (line.startsWith("-ERR")) throw new Error(`nats-server: ${line}`);
        at = lineEnd + 1;
      }
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at);
    if (count > 0) this.deliver(count);
  }
}

/** The decimal number that ends at `end` (exclusive). */
function lengthBefore(bytes: Buffer, end: number): number {
  let value = 0;
  let unit = 1;
  for (let i = end - 1; ; i--) {
    const digit = (bytes[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return value;
    value += digit * unit;
    unit *= 10;
  }
}

const nothing = Buffer.alloc(0);
const blockBytes = 262_144;
