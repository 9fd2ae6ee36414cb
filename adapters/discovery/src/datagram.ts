/** GW-DISCOVER in datagrams: sockets, and nothing of what is in them. */
import { createSocket, type RemoteInfo, type SocketType } from "node:dgram";
import { isIPv6 } from "node:net";
import { CausewayError, refuse } from "@causeway/core-base";

/**
 * Sends a request to udp://host:port, some times, and hands over what comes back. `read` answers a cookie when the request
 * is to be sent again with it, to where the cookie came from. Resolves after the time in which answers are expected.
 */
export function askByDatagram(
  endpoint: string,
  request: (cookie: Uint8Array | undefined) => Uint8Array,
  read: (answer: Uint8Array) => Uint8Array | undefined,
  signal: AbortSignal,
): Promise<void> {
  const url = new URL(endpoint);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port);
  return new Promise((resolve, reject) => {
    const socket = createSocket(familyOf(host));
    let answers = 0;
    const finish = (end: () => void): void => {
      clearInterval(again);
      clearTimeout(over);
      signal.removeEventListener("abort", onAbort);
      socket.removeAllListeners();
      socket.on("error", () => undefined);
      socket.close();
      end();
    };
    const onAbort = (): void =>
      finish(() =>
        reject(refuse("CAUSEWAY_CANCELLED", "looking for a gateway was given up", { cause: signal.reason })),
      );
    const ask = (): void => socket.send(request(undefined), port, host);
    const again = setInterval(ask, repeatMs);
    const over = setTimeout(() => finish(resolve), waitMs);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", (error) =>
      finish(() => reject(refuse("CAUSEWAY_UNREACHABLE", `cannot ask ${endpoint}: ${error.message}`))),
    );
    socket.on("message", (bytes: Buffer, from: RemoteInfo) => {
      if (++answers > answersMax) return;
      try {
        const cookie = read(bytes);
        if (cookie !== undefined) socket.send(request(cookie), from.port, from.address);
      } catch (thrown) {
        finish(() => reject(CausewayError.from(thrown)));
      }
    });
    ask();
    if (signal.aborted) onAbort();
  });
}

/** A socket that answers datagrams. */
export interface DatagramPort {
  readonly port: number;
  stop(): Promise<void>;
}

/** Hands each datagram to `handle` and sends back what it answers. Rejects with `CAUSEWAY_PORT_IN_USE`. */
export async function serveDatagrams(options: {
  readonly host: string;
  readonly port: number;
  /** `source` is address and port. */
  readonly handle: (source: string, bytes: Uint8Array) => Uint8Array | undefined;
}): Promise<DatagramPort> {
  const { host, port, handle } = options;
  const socket = createSocket({ type: familyOf(host), recvBufferSize: bufferBytes });
  await new Promise<void>((resolve, reject) => {
    socket.once("error", (cause) =>
      reject(
        refuse("CAUSEWAY_PORT_IN_USE", `cannot listen for datagrams on ${host}:${port}: ${cause.message}`, { cause }),
      ),
    );
    socket.bind(port, host, resolve);
  });
  socket.removeAllListeners("error");
  // What cannot be sent back is lost, as datagrams may be: whoever asked asks again.
  socket.on("error", () => undefined);
  socket.on("message", (bytes: Buffer, from: RemoteInfo) => {
    const answer = handle(`${from.address}:${from.port}`, bytes);
    if (answer !== undefined) socket.send(answer, from.port, from.address, () => undefined);
  });
  return {
    port: socket.address().port,
    stop: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

const familyOf = (host: string): SocketType => (isIPv6(host) ? "udp6" : "udp4");

/** A request that got lost is sent again. */
const repeatMs = 300;
/** Longer than offers are collected: the agent decides when it has enough. */
const waitMs = 2_000;
const answersMax = 64;
const bufferBytes = 1_048_576;
