/**
 * The states of one stream and every transition between them (AGP-21), as data: what either side may do when, and what
 * breaks the rules. One side's view; the other side's is its mirror, with a delay.
 */

/**
 * idle: nobody has opened it. open: both directions. local-ended, remote-ended: half-closed by one side. ended: both
 * sides half-closed. reset: given up by either side.
 */
export type StreamState = "idle" | "open" | "local-ended" | "remote-ended" | "ended" | "reset";

export const streamStates: readonly StreamState[] = ["idle", "open", "local-ended", "remote-ended", "ended", "reset"];

/** What the application does (`local-…`) and what the other side's frames do (`remote-…`). */
export type StreamEvent =
  | "local-open"
  | "local-header"
  | "local-data"
  | "local-end"
  | "local-reset"
  | "remote-open"
  | "remote-header"
  | "remote-data"
  | "remote-end"
  | "remote-reset"
  | "remote-credit";

export const streamEvents: readonly StreamEvent[] = [
  "local-open",
  "local-header",
  "local-data",
  "local-end",
  "local-reset",
  "remote-open",
  "remote-header",
  "remote-data",
  "remote-end",
  "remote-reset",
  "remote-credit",
];

/**
 * misuse: the application broke the contract, nothing changes. violation: the other side did, the stream is reset.
 * ignore: it crossed the end of the stream on its way, and means nothing.
 */
export type Transition = StreamState | "misuse" | "violation" | "ignore";

const afterTheEnd = {
  "remote-open": "ignore",
  "remote-header": "ignore",
  "remote-data": "ignore",
  "remote-end": "ignore",
  "remote-reset": "ignore",
  "remote-credit": "ignore",
} as const;

const closedHere = {
  "local-open": "misuse",
  "local-header": "misuse",
  "local-data": "misuse",
  "local-end": "misuse",
  "local-reset": "ignore",
} as const;

export const streamTransitions: Readonly<Record<StreamState, Readonly<Record<StreamEvent, Transition>>>> = {
  idle: {
    "local-open": "open",
    "local-header": "misuse",
    "local-data": "misuse",
    "local-end": "misuse",
    "local-reset": "misuse",
    "remote-open": "open",
    "remote-header": "violation",
    "remote-data": "violation",
    "remote-end": "violation",
    // What says that nobody has it needs no answer.
    "remote-reset": "ignore",
    "remote-credit": "violation",
  },
  open: {
    "local-open": "misuse",
    "local-header": "open",
    "local-data": "open",
    "local-end": "local-ended",
    "local-reset": "reset",
    "remote-open": "violation",
    "remote-header": "open",
    "remote-data": "open",
    "remote-end": "remote-ended",
    "remote-reset": "reset",
    "remote-credit": "open",
  },
  "local-ended": {
    "local-open": "misuse",
    "local-header": "misuse",
    "local-data": "misuse",
    "local-end": "misuse",
    "local-reset": "reset",
    "remote-open": "violation",
    "remote-header": "local-ended",
    "remote-data": "local-ended",
    "remote-end": "ended",
    "remote-reset": "reset",
    "remote-credit": "local-ended",
  },
  "remote-ended": {
    "local-open": "misuse",
    "local-header": "remote-ended",
    "local-data": "remote-ended",
    "local-end": "ended",
    "local-reset": "reset",
    "remote-open": "violation",
    "remote-header": "violation",
    "remote-data": "violation",
    "remote-end": "violation",
    "remote-reset": "reset",
    "remote-credit": "remote-ended",
  },
  // Once the other side has our end, credit of it is no crossing any more: see `Streams`.
  ended: { ...closedHere, ...afterTheEnd },
  // Who asks after it has not heard of it, and is told again.
  reset: { ...closedHere, ...afterTheEnd, "remote-credit": "violation" },
};
