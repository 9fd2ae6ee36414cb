/** Reliable messages, streams and calls between two endpoints, as synchronous machines. */
export {
  type Arrival,
  type ArrivalOutcome,
  type ChannelState,
  type DropReason,
  Inbox,
  type InboxEffect,
  type Refusal,
  refusalCharsMax,
} from "./inbox.ts";
export { decodeInboxState, encodeInboxState, type InboxState } from "./inbox-state.ts";
export { type SessionLimits, sessionLimits } from "./limits.ts";
export {
  type ChannelReport,
  Outbox,
  type OutboxEffect,
  type OutEntry,
  type OutMessage,
  type OutPosition,
  type Progress,
} from "./outbox.ts";
export type { NumberRange } from "./ranges.ts";
export {
  initialCreditBytes,
  type Metadata,
  type StreamFrame,
  type StreamLimits,
  streamLimits,
} from "./stream-frames.ts";
export { type StreamState, streamEvents, streamStates, streamTransitions } from "./stream-transitions.ts";
export { type StreamEffect, type StreamOpening, Streams } from "./streams.ts";
