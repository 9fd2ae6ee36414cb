/** What a scanner finds out about a listening port without being let in. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";

/** An address as services are configured with. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

export const targetOf = (url: string): Target => {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
};

/** Sends bytes over TCP; everything that comes back until the other side closes. */
export function sayInClear(target: Target, bytes: string | Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp(target, () => socket.write(bytes));
    const got: Buffer[] = [];
    socket.on("data", (chunk) => got.push(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(Buffer.concat(got)));
    socket.setTimeout(15_000, () => reject(new Error("the port kept a clear-text connection open")));
  });
}

/** How a TLS connection went: what was agreed, what came over it, and the error that ended it. */
export interface TlsOutcome {
  readonly protocol: string | undefined;
  readonly alpn: string | false | null | undefined;
  readonly received: string;
  readonly error: string | undefined;
}

/** Connects with any options, says `bytes` when connected, and waits for the end of the connection. */
export function sayOverTls(target: Target, options: ConnectionOptions, bytes: string): Promise<TlsOutcome> {
  return new Promise((resolve, reject) => {
    let agreed: Pick<TlsOutcome, "protocol" | "alpn"> = { protocol: undefined, alpn: undefined };
    let received = "";
    let error: string | undefined;
    // The scanner looks at strangers: it hands over nothing, so it need not know them.
    const socket = connectTls({ ...options, ...target, rejectUnauthorized: false }, () => {
      agreed = { protocol: socket.getProtocol() ?? undefined, alpn: socket.alpnProtocol };
      socket.write(bytes);
    });
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
    });
    socket.on("error", (thrown: Error & { readonly code?: string }) => {
      error ??= thrown.code ?? thrown.message;
    });
    socket.on("close", () => resolve({ ...agreed, received, error }));
    socket.setTimeout(15_000, () => reject(new Error("the port kept the connection open")));
  });
}

/**
 * Takes a session from one connection, when the server has given what it needs, and offers it on the next; true when the
 * server resumed it.
 */
export async function isResumed(target: Target, options: ConnectionOptions): Promise<boolean> {
  const first = await firstData(target, options);
  const session = first.getSession();
  first.destroy();
  const second = await firstData(target, { ...options, ...(session && { session }) });
  const resumed = second.isSessionReused();
  second.destroy();
  return resumed;
}

/** A connection over which the server has sent something: tickets come before. */
function firstData(target: Target, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ ...options, ...target }, () => socket.write(h2Preface));
    socket.once("data", () => resolve(socket));
    socket.once("error", reject);
    socket.setTimeout(15_000, () => reject(new Error("the server said nothing")));
  });
}

/** Client preface of HTTP/2 with empty settings (RFC 9113, section 3.4). */
export const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/** Output of `openssl s_client` with these arguments, errors included. */
export function sClient(target: Target, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile(
      "openssl",
      ["s_client", "-connect", `${target.host}:${target.port}`, ...args],
      { timeout: 15_000 },
      (_error, stdout, stderr) => resolve(stdout + stderr),
    );
    child.stdin?.end();
  });
}

/** A socket that takes what anybody sends to it. */
export interface ListeningSocket {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  /** True when nobody but programs of this machine reaches it. */
  readonly isLoopback: boolean;
}

/** Sockets on which these processes listen, from the kernel's own tables. */
export function listeningSockets(pids: readonly number[]): ListeningSocket[] {
  const found = new Map<string, ListeningSocket>();
  for (const pid of pids) {
    const sockets = new Set(
      readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
          return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
        } catch {
          // Closed in between.
          return [];
        }
      }),
    );
    for (const [table, protocol, listens] of tables) {
      for (const line of readFileSync(`/proc/${pid}/net/${table}`, "utf8").split("\n").slice(1)) {
        const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
        if (state !== listens || !sockets.has(inode)) continue;
        const [address = "", port = ""] = local.split(":");
        found.set(inode, { protocol, port: Number.parseInt(port, 16), isLoopback: loopback.test(address) });
      }
    }
  }
  return [...found.values()];
}

/** TCP ports on which these processes listen. */
export function listeningPorts(pids: readonly number[]): number[] {
  return listeningSockets(pids).flatMap(({ protocol, port }) => (protocol === "tcp" ? [port] : []));
}

/** Tables of the kernel with the state of a socket that listens: LISTEN, and for datagrams the one without a peer. */
const tables = [
  ["tcp", "tcp", "0A"],
  ["tcp6", "tcp", "0A"],
  ["udp", "udp", "07"],
  ["udp6", "udp", "07"],
] as const;
/** 127.0.0.0/8, ::1, and the former as an IPv6 address, as the kernel prints them on a little-endian machine. */
const loopback = /^(?:[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F)$/;
