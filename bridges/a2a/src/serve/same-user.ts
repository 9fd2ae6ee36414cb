/**
 * Whose process is at the other end of a connection on this machine. Linux lists each end of it with its user in
 * /proc/net; other systems tell it in ways that Node does not reach.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { endianness } from "node:os";

/** One end of a TCP connection. */
export interface End {
  readonly address: string;
  readonly port: number;
}

/** What the kernel lists, as text. */
export interface SocketTables {
  readonly tcp: string;
  readonly tcp6: string;
}

/** True when this system tells whose a connection is. */
export function canTellUsers(): boolean {
  return process.getuid !== undefined && readTables() !== undefined;
}

/** True when the client of this connection runs as the user of this process. Asked when it was accepted, and not later. */
export function isSameUser({ remoteAddress, remotePort, localAddress, localPort }: Socket): boolean {
  if (remoteAddress === undefined || localAddress === undefined || remotePort === undefined || localPort === undefined)
    return false;
  const client = { address: remoteAddress, port: remotePort };
  const server = { address: localAddress, port: localPort };
  const tables = readTables();
  const user = tables && userOf(tables, client, server, endianness() === "LE");
  return user !== undefined && user === process.getuid?.();
}

/**
 * The user of the socket at `client` that is connected to `server`; undefined when there is none. Only established
 * connections count: of what its process has closed, the kernel lists user 0, whoever had it.
 */
export function userOf(tables: SocketTables, client: End, server: End, isLittleEndian = true): number | undefined {
  for (const [table, bytes] of [
    [tables.tcp, 4],
    [tables.tcp6, 16],
  ] as const) {
    const wanted = [client, server].map(({ address, port }) => {
      const hex = hexOf(address, bytes, isLittleEndian);
      return hex && `${hex}:${port.toString(16).toUpperCase().padStart(4, "0")}`;
    });
    for (const line of table.split("\n")) {
      const [, local, remote, state, , , , user] = line.trim().split(/\s+/);
      if (local !== wanted[0] || remote !== wanted[1] || state !== established) continue;
      return user === undefined || !/^\d+$/.test(user) ? undefined : Number(user);
    }
  }
  return undefined;
}

const established = "01";

/** An address as the table of this width has it: 32-bit words in the order of the processor. */
function hexOf(address: string, bytes: 4 | 16, isLittleEndian: boolean): string | undefined {
  const whole = wholeOf(address.replace(/^::ffff:(?=\d+\.)/i, ""));
  if (whole === undefined) return undefined;
  const padded = bytes === 4 ? (whole.length === 4 ? whole : undefined) : whole.length === 16 ? whole : mapped(whole);
  if (padded === undefined) return undefined;
  const words: string[] = [];
  for (let at = 0; at < padded.length; at += 4) {
    const word = padded.slice(at, at + 4);
    words.push(Buffer.from(isLittleEndian ? word.reverse() : word).toString("hex"));
  }
  return words.join("").toUpperCase();
}

const mapped = (v4: readonly number[]): number[] => [...Array<number>(10).fill(0), 0xff, 0xff, ...v4];

/** The bytes of an IPv4 address, or of the IPv6 loopback address: the endpoint listens on no other. */
function wholeOf(address: string): number[] | undefined {
  if (address === "::1") return [...Array<number>(15).fill(0), 1];
  const parts = address.split(".").map(Number);
  return parts.length === 4 && parts.every((part) => Number.isInteger(part) && part >= 0 && part <= 255)
    ? parts
    : undefined;
}

function readTables(): SocketTables | undefined {
  try {
    const tcp = readFileSync("/proc/net/tcp", "utf8");
    // A kernel without IPv6 has no such table.
    let tcp6 = "";
    try {
      tcp6 = readFileSync("/proc/net/tcp6", "utf8");
    } catch {
      // Then no client uses it.
    }
    return { tcp, tcp6 };
  } catch {
    // No Linux, or no /proc.
    return undefined;
  }
}
