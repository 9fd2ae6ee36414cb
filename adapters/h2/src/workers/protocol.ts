/** What the main thread and an IO worker agree on beside their rings. */
import type { TlsOptions } from "node:tls";
import { payloadBytesMax, type RingMemory } from "./ring.ts";

/** What a worker starts with. */
export interface WorkerStart {
  /** From the worker. */
  readonly up: RingMemory;
  /** To the worker. */
  readonly down: RingMemory;
  /** Connections of each worker, one cell each, and behind them the number of the latest TLS options. */
  readonly shared: SharedArrayBuffer;
  readonly index: number;
  readonly tls: TlsOptions;
  /** The number of these TLS options. */
  readonly renewal: number;
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Of all workers together. */
  readonly sessionsMax: number;
  /** Of this worker. */
  readonly handshakesPerSourceMax: number;
}

/** Beside `wakeUp`, what the main thread posts. */
export type ToWorker =
  | { readonly kind: "renew"; readonly number: number; readonly tls: TlsOptions }
  /** No new connections. */
  | { readonly kind: "close" }
  /** Do what was said, cut all connections, and be gone. */
  | { readonly kind: "exit" };

/** Beside `wakeUp`, what a worker posts. */
export type FromWorker =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "failed"; readonly message: string; readonly code: string | undefined };

/** There is something in a ring, or room. */
export const wakeUp = 0;

/**
 * Bytes of one ring. More would be memory that no cache of a processor holds; less would make the worker wait for the end
 * of the main thread's turn.
 */
export const ringBytes = 1_048_576;
export const recordBytesMax: number = payloadBytesMax(ringBytes);
/** What one turn takes out of a ring, so that what is behind it gets its turn, too. */
export const turnBytesMax: number = ringBytes / 4;
