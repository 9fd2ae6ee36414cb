/** Bounds of requests and answers. */
import { refuse } from "@causeway/core-base";
import type { CallOptions } from "../api.ts";

/** Bounds of the exchanges of one agent. */
export const exchangeLimits = {
  /** Requests that wait for their end; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  outgoingMax: 4_096,
  /** Requests being handled; more are refused with `CAUSEWAY_FORWARDING_OVERLOADED`. */
  incomingMax: 1_024,
  /** Of these, requests of one agent. */
  incomingPerPeerMax: 256,
  /** Bytes of all parts of an answer that `request` collects. */
  answerBytesMax: 67_108_864,
  /** Parts of a stream that are sent and not yet consumed; then the handler waits. */
  partsAheadMax: 16,
  /** Silence of the requester after which its handler is aborted. */
  requesterSilentMs: 90_000,
  /** Default and longest time-out of a call. */
  timeoutMs: 30_000,
  timeoutMsMax: 86_400_000,
  metadataMax: 64,
} as const;

/** The time-out of a call. Throws `CAUSEWAY_MISUSE` outside of its range. */
export function timeoutOf(options: CallOptions): number {
  const timeoutMs = options.timeoutMs ?? exchangeLimits.timeoutMs;
  if (!(timeoutMs > 0 && timeoutMs <= exchangeLimits.timeoutMsMax)) {
    throw refuse("CAUSEWAY_MISUSE", `expected timeoutMs from 1 to ${exchangeLimits.timeoutMsMax}, got ${timeoutMs}`);
  }
  return Math.ceil(timeoutMs);
}
