/** What crosses the wire for one stream, as data. */
import type { ErrorFacts } from "@causeway/core-base";

/** Names and values in order; names may repeat. */
export type Metadata = readonly (readonly [name: string, value: string])[];

export type StreamFrame =
  | {
      readonly type: "open";
      readonly method: string;
      readonly metadata: Metadata;
      /** 0 for none. */
      readonly timeoutMs: number;
      readonly credit: number;
    }
  | { readonly type: "header"; readonly metadata: Metadata }
  | { readonly type: "data"; readonly bytes: Uint8Array }
  | { readonly type: "end"; readonly metadata: Metadata }
  | { readonly type: "reset"; readonly error: ErrorFacts }
  | { readonly type: "credit"; readonly limit: number };

/** Bounds of streams, each with what happens there. */
export interface StreamLimits {
  /** Streams at once; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  readonly streamsMax: number;
  /** Of these, streams that one agent opened here. */
  readonly incomingPerPeerMax: number;
  /** Bytes of one stream that are received and not consumed; then the other side waits. */
  readonly windowBytes: number;
  /** Bytes of one stream that are written and not sent; then the writer has to wait. */
  readonly queueBytes: number;
  /** Bytes of all streams that are sent and not confirmed; then all wait their turn. */
  readonly unconfirmedBytesMax: number;
  /** Largest piece that is sent as one frame; longer writes are cut. */
  readonly frameBytesMax: number;
  /** Names and values of one frame's metadata, in characters; more is refused. */
  readonly metadataCharsMax: number;
  readonly metadataMax: number;
  /** Silence of the other side after which it is asked whether the stream still is. */
  readonly probeMs: number;
}

export const streamLimits: StreamLimits = {
  streamsMax: 4_096,
  incomingPerPeerMax: 1_024,
  windowBytes: 262_144,
  queueBytes: 262_144,
  unconfirmedBytesMax: 33_554_432,
  frameBytesMax: 65_536,
  metadataCharsMax: 16_384,
  metadataMax: 128,
  probeMs: 30_000,
};

/** Bytes that either side may send before the first credit comes; part of the protocol. */
export const initialCreditBytes = 65_536;
