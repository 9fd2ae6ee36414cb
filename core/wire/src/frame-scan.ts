/**
 * The hot path's view of a frame (DESIGN section 5, AGP-57, AAP-68 to AAP-72): one pass over the protobuf bytes that
 * finds where things are, without building objects. Strict where two readers could disagree: truncated, duplicate or
 * overlong encodings are refused. Tolerant where the future needs it: fields with unknown numbers are skipped and, as
 * nothing is re-encoded, they travel on. The only byte that a gateway may change is that of the hop TTL.
 *
 * Never throws for what a peer sent, never reads outside `[start, end)`. Knows nothing of payloads (AAP-97).
 */
import type { ErrorFacts } from "@causeway/core-base";
import { ByteCursor } from "./byte-cursor.ts";
import { type KnownFrame, KnownFrames } from "./known-frame.ts";
import { type HeadLayout, KnownHead } from "./known-head.ts";
import { wireLimits } from "./limits.ts";
import { isAgentName, isPrefixName, isTopicName } from "./name-bytes.ts";
import { type SeenName, SeenNames } from "./seen-names.ts";

/** Kind of a frame: the number of the member of `Frame.body` that is set. */
export const FrameKind = {
  none: 0,
  message: 1,
  control: 2,
  attachHello: 3,
  attachChallenge: 4,
  attachProof: 5,
  attachLease: 6,
  heartbeat: 7,
  heartbeatAck: 8,
  sessionEnd: 9,
  advertise: 10,
  advertiseResult: 11,
  subscribe: 12,
  unsubscribe: 13,
  subscriptionResult: 14,
  credit: 15,
  drain: 16,
  error: 17,
  event: 18,
  peerOpen: 19,
  peerAccept: 20,
  topicInterest: 21,
  topicCommand: 22,
  topicResult: 23,
  keyPackageUpload: 24,
  keyPackageUploadResult: 25,
  streamOpen: 26,
  streamData: 27,
  streamHalfClose: 28,
  streamReset: 29,
  mailboxAck: 30,
  eventWatch: 31,
  directHello: 32,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** Target kinds as on the wire (`agp.TargetKind`). */
export const TargetKind = { agent: 1, prefix: 2, topic: 3 } as const;

/** What a header flag means. */
export const HeaderFlag = { trace: 1, accepted: 2, stored: 4, storedNotice: 8 } as const;

/** Delivery modes as on the wire (`agp.DeliveryMode`). */
export const DeliveryMode = { bestEffort: 1, reliable: 2 } as const;

const kindLast = FrameKind.directHello;
/** Number of `Frame.for_gateways`. */
const gatewaysField = 100;
const noBytes = new DataView(new ArrayBuffer(0));

/**
 * Result of one scan. Reused: the next `scanFrame` into it overwrites every field. All offsets are absolute in `buf`;
 * an empty range (start = end) is an absent field.
 */
export class FrameScan {
  buf: Uint8Array = new Uint8Array(0);
  /** The same bytes. */
  view: DataView = noBytes;
  /** Whose bytes `view` shows. */
  viewed: Uint8Array | undefined = undefined;
  start = 0;
  end = 0;
  kind: FrameKind = FrameKind.none;
  /** The bytes of the body message, without its tag and length: what a decoder or a transcript takes. */
  bodyStart = 0;
  bodyEnd = 0;
  /** The message's shape, when one like it came before from the same sender: then its payload is MLS framing. */
  known: KnownFrame | undefined = undefined;
  /** Where `for_gateways` is, tags included; both 0 when there is none. */
  gatewaysStart = 0;
  gatewaysEnd = 0;

  // From here on only for `message` and `control` frames.
  headerStart = 0;
  headerEnd = 0;
  version = 0;
  targetKind = 0;
  targetStart = 0;
  targetEnd = 0;
  sourceStart = 0;
  sourceEnd = 0;
  /** Target and source, when they were seen before. */
  targetName: SeenName | undefined = undefined;
  sourceName: SeenName | undefined = undefined;
  messageIdStart = 0;
  messageIdEnd = 0;
  hopTtl = 0;
  /** Where the one byte of the TTL is. */
  hopTtlAt = 0;
  /** Unix milliseconds; 0 for none. */
  expiresUnixMs = 0;
  /** Where its eight bytes are. */
  expiresAt = 0;
  securityContextStart = 0;
  securityContextEnd = 0;
  trafficClass = 0;
  deliveryMode = 0;
  traceContextStart = 0;
  traceContextEnd = 0;
  flags = 0;
  /** Payload of a message. */
  payloadStart = 0;
  payloadEnd = 0;
  /** Control only: the request id and the number of the body's field. */
  requestIdStart = 0;
  requestIdEnd = 0;
  controlBody = 0;

  /** Target as text: `spiffe://…`, or a topic. Allocates unless it was seen before. */
  target(): string {
    return this.targetName?.text ?? ascii(this.buf, this.targetStart, this.targetEnd);
  }

  /** Source SPIFFE ID as text. Allocates unless it was seen before. */
  source(): string {
    return this.sourceName?.text ?? ascii(this.buf, this.sourceStart, this.sourceEnd);
  }

  /** Message id as 32 hexadecimal digits. Allocates. */
  messageId(): string {
    return hex(this.buf, this.messageIdStart, this.messageIdEnd);
  }

  /** W3C traceparent, empty when absent. Allocates. */
  traceContext(): string {
    return ascii(this.buf, this.traceContextStart, this.traceContextEnd);
  }

  /** The whole frame, without copy. */
  bytes(): Uint8Array {
    return this.buf.subarray(this.start, this.end);
  }

  /** The body message, without copy: input of the decoder of that message. */
  body(): Uint8Array {
    return this.buf.subarray(this.bodyStart, this.bodyEnd);
  }

  get payloadBytes(): number {
    return this.payloadEnd - this.payloadStart;
  }

  /** True when a gateway may store it for a target that is away. */
  get isReliable(): boolean {
    return this.deliveryMode === DeliveryMode.reliable && this.kind === FrameKind.message;
  }

  get isTraced(): boolean {
    return (this.flags & HeaderFlag.trace) !== 0;
  }
}

/**
 * Scans one serialised `Frame` in `[start, end)`. Returns undefined when it is well-formed and, for message and control
 * frames, its header is valid; else why not: `CAUSEWAY_FRAME_MALFORMED`, `CAUSEWAY_FRAME_TOO_LARGE`,
 * `CAUSEWAY_FRAME_UNKNOWN`, `CAUSEWAY_HEADER_INVALID` or `CAUSEWAY_FORWARDING_TOO_LARGE`. `sender`: any number that the
 * frames of one sender share; it decides no outcome, only what is remembered together.
 */
export function scanFrame(
  buf: Uint8Array,
  start: number,
  end: number,
  into: FrameScan,
  sender = 0,
): ErrorFacts | undefined {
  into.known = undefined;
  if (start < 0 || end > buf.length || start > end) return refusals.truncated;
  if (into.viewed !== buf) {
    into.viewed = buf;
    into.view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
  }
  const known = knownFrames.find(into.view, start, end, sender);
  if (known?.describe(into, start) === true) {
    if (into.buf !== buf) into.buf = buf;
    into.start = start;
    into.end = end;
    into.gatewaysStart = into.gatewaysEnd = 0;
    into.known = known;
    return undefined;
  }
  const refusal = readFrame(buf, start, end, into);
  if (refusal === undefined && into.kind === FrameKind.message) knownFrames.note(into, sender, scanAlone);
  return refusal;
}

function scanAlone(bytes: Uint8Array): FrameScan {
  const scan = new FrameScan();
  scan.viewed = bytes;
  scan.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  readFrame(bytes, 0, bytes.length, scan);
  return scan;
}

/** Reads the frame field by field. */
function readFrame(buf: Uint8Array, start: number, end: number, into: FrameScan): ErrorFacts | undefined {
  // Most frames share a buffer with the one before, and storing a reference costs the collector's attention.
  if (into.buf !== buf) into.buf = buf;
  into.start = start;
  into.end = end;
  into.kind = FrameKind.none;
  into.gatewaysStart = into.gatewaysEnd = 0;
  if (end - start > wireLimits.frameBytesMax) return refusals.frameTooLarge;
  const c = cursor.over(buf, start, end);
  let sawUnknown = false;
  while (c.at < end) {
    const tagAt = c.at;
    if (!c.readTag()) return malformed(c);
    if (c.field > kindLast) {
      if (c.field === gatewaysField) {
        if (c.wire !== 2) return refusals.wireType;
        if (into.gatewaysEnd !== 0 && into.gatewaysEnd !== tagAt) return refusals.scattered;
        if (!c.readRange()) return malformed(c);
        if (into.gatewaysEnd === 0) into.gatewaysStart = tagAt;
        into.gatewaysEnd = c.to;
        continue;
      }
      sawUnknown = true;
      if (!c.skip()) return malformed(c);
      continue;
    }
    if (c.wire !== 2) return refusals.wireType;
    if (into.kind !== FrameKind.none) return refusals.twoBodies;
    if (!c.readRange()) return malformed(c);
    into.kind = c.field as FrameKind;
    into.bodyStart = c.from;
    into.bodyEnd = c.to;
  }
  if (into.kind === FrameKind.none) return sawUnknown ? refusals.unknownKind : refusals.empty;
  if (into.kind === FrameKind.message) return scanEnvelope(into);
  if (into.kind === FrameKind.control) return scanControl(into);
  return undefined;
}

/** Takes one hop from the TTL, in place. The caller has checked that it is above 1. */
export function decrementTtl(scan: FrameScan): void {
  scan.hopTtl -= 1;
  scan.buf[scan.hopTtlAt] = scan.hopTtl;
}

function scanEnvelope(into: FrameScan): ErrorFacts | undefined {
  const c = cursor.over(into.buf, into.bodyStart, into.bodyEnd);
  let seen = 0;
  into.controlBody = 0;
  into.payloadStart = into.payloadEnd = into.bodyEnd;
  while (c.at < into.bodyEnd) {
    if (!c.readTag()) return malformed(c);
    const field = c.field;
    if (field > 2) {
      if (!c.skip()) return malformed(c);
      continue;
    }
    if (c.wire !== 2) return refusals.wireType;
    if ((seen & (1 << field)) !== 0) return refusals.duplicate;
    seen |= 1 << field;
    if (!c.readRange()) return malformed(c);
    if (field === 1) {
      into.headerStart = c.from;
      into.headerEnd = c.to;
    } else {
      into.payloadStart = c.from;
      into.payloadEnd = c.to;
    }
  }
  if ((seen & 2) === 0) return refusals.headerMissing;
  if (into.payloadEnd - into.payloadStart > wireLimits.payloadBytesMax) return refusals.payloadTooLarge;
  return scanHeader(into);
}

/** Bodies of Control are fields 3 to 29 of that message; 3 to 13 are known, and exactly one is set. */
function scanControl(into: FrameScan): ErrorFacts | undefined {
  const c = cursor.over(into.buf, into.bodyStart, into.bodyEnd);
  let seen = 0;
  into.controlBody = 0;
  into.requestIdStart = into.requestIdEnd = into.bodyEnd;
  into.payloadStart = into.payloadEnd = into.bodyEnd;
  while (c.at < into.bodyEnd) {
    if (!c.readTag()) return malformed(c);
    const field = c.field;
    if (field > controlBodyLast) {
      if (!c.skip()) return malformed(c);
      continue;
    }
    if (c.wire !== 2) return refusals.wireType;
    if ((seen & (1 << field)) !== 0) return refusals.duplicate;
    seen |= 1 << field;
    if (!c.readRange()) return malformed(c);
    if (field === 1) {
      into.headerStart = c.from;
      into.headerEnd = c.to;
    } else if (field === 2) {
      into.requestIdStart = c.from;
      into.requestIdEnd = c.to;
    } else if (into.controlBody !== 0) {
      return refusals.twoBodies;
    } else {
      into.controlBody = field;
    }
  }
  if ((seen & 2) === 0) return refusals.headerMissing;
  if (into.requestIdEnd - into.requestIdStart > wireLimits.requestIdBytesMax) return refusals.requestId;
  return scanHeader(into);
}

function scanHeader(into: FrameScan): ErrorFacts | undefined {
  const end = into.headerEnd;
  if (end - into.headerStart > wireLimits.headerBytesMax) return refusals.headerTooLarge;
  const c = cursor.over(into.buf, into.headerStart, end);
  into.hopTtl = into.hopTtlAt = into.expiresUnixMs = into.expiresAt = 0;
  into.trafficClass = into.deliveryMode = into.flags = 0;
  into.securityContextStart = into.securityContextEnd = into.traceContextStart = into.traceContextEnd = end;
  const head = knownHead.find(into.view, into.headerStart, end - wireLimits.messageIdBytes);
  if (head !== undefined) {
    takeHead(into, head);
    c.at = into.messageIdEnd;
    return scanHeaderFields(into, c, head.seen) ?? checkHeader(into, true);
  }
  into.version = into.targetKind = 0;
  into.targetStart = into.targetEnd = into.sourceStart = into.sourceEnd = end;
  into.messageIdStart = into.messageIdEnd = end;
  into.targetName = into.sourceName = undefined;
  const refusal = scanHeaderFields(into, c, 0) ?? checkHeader(into, false);
  if (refusal === undefined) noteHead(into);
  return refusal;
}

function takeHead(into: FrameScan, head: HeadLayout): void {
  const start = into.headerStart;
  into.version = head.version;
  into.targetKind = head.targetKind;
  into.targetStart = start + head.targetFrom;
  into.targetEnd = start + head.targetTo;
  into.sourceStart = start + head.sourceFrom;
  into.sourceEnd = start + head.sourceTo;
  if (into.targetName !== head.target) into.targetName = head.target;
  if (into.sourceName !== head.source) into.sourceName = head.source;
  into.messageIdStart = start + knownHead.length;
  into.messageIdEnd = into.messageIdStart + wireLimits.messageIdBytes;
}

/** Keeps the head of a header that passed, when the one before had the same names. */
function noteHead(s: FrameScan): void {
  const { targetName: target, sourceName: source, headerStart: start } = s;
  if (target === undefined || source === undefined || !knownHead.isRepeated(target, source)) return;
  // Nothing but the first five fields may come before the id; what does is in no other order than its own.
  if ((seenBeforeId & ~headFields) !== 0 || s.messageIdStart < s.targetEnd || s.messageIdStart < s.sourceEnd) return;
  knownHead.keep(s.buf, start, s.messageIdStart, {
    seen: seenBeforeId,
    version: s.version,
    targetKind: s.targetKind,
    targetFrom: s.targetStart - start,
    targetTo: s.targetEnd - start,
    sourceFrom: s.sourceStart - start,
    sourceTo: s.sourceEnd - start,
    target,
    source,
  });
}

/** Reads fields from where the cursor is; `before` has the bits of those that were read. */
function scanHeaderFields(into: FrameScan, c: ByteCursor, before: number): ErrorFacts | undefined {
  const end = into.headerEnd;
  let seen = before;
  while (c.at < end) {
    if (!c.readTag()) return malformed(c);
    const field = c.field;
    if (field > headerFieldLast) {
      if (!c.skip()) return malformed(c);
      continue;
    }
    if (c.wire !== headerWireTypes[field]) return refusals.wireType;
    if ((seen & (1 << field)) !== 0) return refusals.duplicate;
    seen |= 1 << field;
    if (c.wire === 2 ? !c.readRange() : c.wire === 0 ? !c.readUint32() : !c.readFixed64()) return malformed(c);
    takeHeaderField(into, field, c);
    if (field === messageIdField) seenBeforeId = seen;
  }
  return undefined;
}

function takeHeaderField(into: FrameScan, field: number, c: ByteCursor): void {
  switch (field) {
    case 1:
      into.version = c.value;
      break;
    case 2:
      into.targetKind = c.value;
      break;
    case 3:
      into.targetStart = c.from;
      into.targetEnd = c.to;
      break;
    case 4:
      into.sourceStart = c.from;
      into.sourceEnd = c.to;
      break;
    case 5:
      into.messageIdStart = c.from;
      into.messageIdEnd = c.to;
      break;
    case 6:
      into.hopTtl = c.value;
      into.hopTtlAt = c.at - 1;
      break;
    case 7:
      into.expiresUnixMs = c.value;
      into.expiresAt = c.at - 8;
      break;
    case 8:
      into.securityContextStart = c.from;
      into.securityContextEnd = c.to;
      break;
    case 9:
      into.trafficClass = c.value;
      break;
    case 10:
      into.deliveryMode = c.value;
      break;
    case 11:
      into.traceContextStart = c.from;
      into.traceContextEnd = c.to;
      break;
    case 12:
      into.flags = c.value;
      break;
  }
}

/** `isKnown`: the head was compared with one that passed. */
function checkHeader(s: FrameScan, isKnown: boolean): ErrorFacts | undefined {
  if (s.version > 1) return refusals.version;
  if (s.hopTtl < 1 || s.hopTtl > wireLimits.hopTtlMax) return refusals.hopTtl;
  if (s.messageIdEnd - s.messageIdStart !== wireLimits.messageIdBytes) return refusals.messageId;
  if (s.expiresUnixMs > Number.MAX_SAFE_INTEGER) return refusals.expiry;
  if (s.securityContextEnd - s.securityContextStart > wireLimits.securityContextBytesMax) return refusals.context;
  if (s.traceContextEnd - s.traceContextStart > wireLimits.traceContextBytesMax) return refusals.trace;
  if (isKnown) return undefined;
  s.sourceName = seenNames.find(s.view, TargetKind.agent, s.sourceStart, s.sourceEnd);
  if (s.sourceName === undefined) {
    if (!isAgentName(s.buf, s.sourceStart, s.sourceEnd)) return refusals.source;
    s.sourceName = seenNames.note(s.view, TargetKind.agent, s.sourceStart, s.sourceEnd);
  }
  if (s.targetKind < TargetKind.agent || s.targetKind > TargetKind.topic) return refusals.targetKind;
  s.targetName = seenNames.find(s.view, s.targetKind, s.targetStart, s.targetEnd);
  if (s.targetName !== undefined) return undefined;
  const refusal = checkTarget(s);
  if (refusal === undefined) s.targetName = seenNames.note(s.view, s.targetKind, s.targetStart, s.targetEnd);
  return refusal;
}

function checkTarget(s: FrameScan): ErrorFacts | undefined {
  switch (s.targetKind) {
    case TargetKind.agent:
      return isAgentName(s.buf, s.targetStart, s.targetEnd) ? undefined : refusals.target;
    case TargetKind.prefix:
      return isPrefixName(s.buf, s.targetStart, s.targetEnd) ? undefined : refusals.target;
    case TargetKind.topic:
      return isTopicName(s.buf, s.targetStart, s.targetEnd) ? undefined : refusals.topic;
    default:
      return refusals.targetKind;
  }
}

function malformed(c: ByteCursor): ErrorFacts {
  return c.fault === "overlong" ? refusals.overlong : c.fault === "wire-type" ? refusals.wireType : refusals.truncated;
}

/** Text of bytes that are known to be ASCII, at most a few thousand. */
export function ascii(buf: Uint8Array, start: number, end: number): string {
  // In one piece: text that is put together keeps all its parts until somebody compares it.
  return fromCodes(buf.subarray(start, end));
}

/** Lower-case hexadecimal digits of a range, of at most a few thousand bytes. */
export function hex(buf: Uint8Array, start = 0, end = buf.length): string {
  const length = end - start;
  const codes = length === idCodes.length / 2 ? idCodes : new Uint8Array(2 * length);
  for (let i = 0; i < length; i++) {
    const byte = buf[start + i] as number;
    codes[2 * i] = hexDigits.charCodeAt(byte >> 4);
    codes[2 * i + 1] = hexDigits.charCodeAt(byte & 15);
  }
  return fromCodes(codes);
}

const fromCodes = (codes: Uint8Array): string => String.fromCharCode.apply(null, codes as unknown as number[]);
const hexDigits = "0123456789abcdef";
/** For ids of 16 bytes, which are most of what is written so. */
const idCodes = new Uint8Array(32);

// One cursor is enough: scanning is synchronous and not re-entrant.
const cursor = new ByteCursor();
const seenNames = new SeenNames();
const knownHead = new KnownHead();
const knownFrames = new KnownFrames();
/** Fields of the header scanned last up to its message id, a bit for each. */
let seenBeforeId = 0;

const controlBodyLast = 13;
const headerFieldLast = 12;
const messageIdField = 5;
/** Fields 1 to 5. */
const headFields = 0b111110;
/** Wire type of each field of RoutingHeader, by number. */
const headerWireTypes = [-1, 0, 0, 2, 2, 2, 0, 1, 2, 0, 0, 2, 0];

const frameFault = (message: string): ErrorFacts => ({ code: "CAUSEWAY_FRAME_MALFORMED", message });
const headerFault = (message: string): ErrorFacts => ({ code: "CAUSEWAY_HEADER_INVALID", message });

/** Every refusal, made once: refusing a flood must not allocate. */
const refusals = {
  truncated: frameFault("expected a whole Frame, got bytes that end inside a field"),
  overlong: frameFault("expected integers in their shortest encoding, got an overlong one"),
  wireType: frameFault("expected the wire types of causeway.agp.v1, got another one"),
  scattered: frameFault("expected the gateways of a copy one after the other, got something in between"),
  duplicate: frameFault("expected each field once, got one twice"),
  twoBodies: frameFault("expected one body in a frame, got two"),
  empty: frameFault("expected a frame with a body, got none"),
  unknownKind: {
    code: "CAUSEWAY_FRAME_UNKNOWN",
    message: "expected a body that version 1 knows, got an unknown one; negotiate features before use",
  },
  frameTooLarge: {
    code: "CAUSEWAY_FRAME_TOO_LARGE",
    message: `expected at most ${wireLimits.frameBytesMax} bytes in a frame; send larger content in chunks`,
  },
  payloadTooLarge: {
    code: "CAUSEWAY_FORWARDING_TOO_LARGE",
    message: `expected at most ${wireLimits.payloadBytesMax} bytes of payload; send larger content in chunks`,
  },
  headerMissing: headerFault("expected a routing header, got none"),
  headerTooLarge: headerFault(`expected a routing header of at most ${wireLimits.headerBytesMax} bytes`),
  version: headerFault("expected header version 1, got a newer one"),
  hopTtl: headerFault(`expected hop_ttl from 1 to ${wireLimits.hopTtlMax}; the default is 16`),
  messageId: headerFault("expected a message_id of 16 bytes"),
  requestId: headerFault("expected a request_id of at most 16 bytes"),
  expiry: headerFault("expected expires_unix_ms below 2^53"),
  context: headerFault("expected a security_context_id of at most 64 bytes"),
  trace: headerFault("expected a trace_context of at most 64 bytes"),
  source: headerFault("expected the sender's SPIFFE ID as source"),
  target: headerFault("expected a SPIFFE ID, or a prefix of whole path segments, as target"),
  topic: headerFault("expected a topic like blue.example/travel/booker/deals as target"),
  targetKind: headerFault("expected target_kind agent, prefix or topic"),
} as const satisfies Record<string, ErrorFacts>;
