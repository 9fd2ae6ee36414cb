import type { Duplex } from "node:stream";

/** A certificate and who issued it; without properties when there is none, as Node has it. */
export interface ShownCertificate {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: ShownCertificate;
}

/** What the judge of a TLS connection has to see of it; node:tls's own sockets have it. */
export interface JudgedSocket {
  getProtocol(): string | null;
  isSessionReused(): boolean;
  getPeerCertificate(detailed: true): ShownCertificate;
}

/** A TLS connection of a port: a socket of node:tls in this thread, or one that an IO worker terminates. */
export interface PortSocket extends JudgedSocket {
  readonly remoteAddress?: string | undefined;
  readonly alpnProtocol: string | false | null;
  readonly destroyed: boolean;
  readonly writable: boolean;
  readonly bytesRead: number;
  /** True when `write` has copied the bytes when it returns, so that they may be changed. */
  readonly copiesWrites?: boolean;
  on(event: "data", run: (chunk: Buffer) => void): unknown;
  on(event: "end" | "close", run: () => void): unknown;
  on(event: "error", run: (error: Error) => void): unknown;
  once(event: "close", run: () => void): unknown;
  off(event: "data", run: (chunk: Buffer) => void): unknown;
  off(event: "end" | "close", run: () => void): unknown;
  write(bytes: Uint8Array, done?: (error?: Error | null) => void): unknown;
  /** Ends our direction behind what was written. */
  end(): unknown;
  destroy(): unknown;
  resume(): unknown;
  exportKeyingMaterial(length: number, label: string, context: Buffer): Uint8Array;
  getCertificate(): ShownCertificate | object | null;
  /** In place of `data` events: bytes are handed over where they lie, valid for the call. */
  onBytes?(receive: (memory: Uint8Array, start: number, end: number) => void): void;
  /** As a stream for node:http2, of which the bytes `read` come first. */
  asStream?(read: Buffer): Duplex;
}
