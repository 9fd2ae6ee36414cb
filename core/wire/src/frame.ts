/**
 * Whole frames as objects: for everything that is not the hot path. Decoding accepts only what the scanner accepts, so
 * that both readings of a frame agree.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { CausewayError, refuse } from "@causeway/core-base";
import { FrameScan, scanFrame } from "./frame-scan.ts";
import { EnvelopeSchema, type Frame, FrameSchema, RoutingHeaderSchema } from "./gen/causeway/agp/v1/agp_pb.js";

/** The set member of a frame's body. */
export type FrameBody = Exclude<Frame["body"], { case: undefined }>;
/** What `encodeFrame` takes: a body with plain or built values. */
export type FrameInit = Exclude<NonNullable<MessageInitShape<typeof FrameSchema>["body"]>, { case: undefined }>;

/** Serialises a frame with the given body, for example `{ case: "heartbeat", value: { sequence: 1n } }`. */
export function encodeFrame(body: FrameInit): Uint8Array {
  return toBinary(FrameSchema, create(FrameSchema, { body }));
}

/**
 * Decodes one frame. Throws `CAUSEWAY_FRAME_MALFORMED`, `CAUSEWAY_FRAME_UNKNOWN`, `CAUSEWAY_FRAME_TOO_LARGE`,
 * `CAUSEWAY_FORWARDING_TOO_LARGE` or `CAUSEWAY_HEADER_INVALID`.
 */
export function decodeFrame(buf: Uint8Array, start = 0, end: number = buf.length): FrameBody {
  const refusal = scanFrame(buf, start, end, new FrameScan());
  if (refusal !== undefined) throw new CausewayError(refusal);
  let body: Frame["body"];
  try {
    body = fromBinary(FrameSchema, buf.subarray(start, end)).body;
  } catch (cause) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", "expected a Frame of causeway.agp.v1, got bytes that do not decode", {
      cause,
    });
  }
  if (body.case === undefined) throw refuse("CAUSEWAY_FRAME_UNKNOWN", "expected a body that version 1 knows, got none");
  return body;
}

/** Wraps an already serialised body, byte for byte: what a transcript was made of is what is sent. */
export function wrapFrame(kind: number, body: Uint8Array): Uint8Array {
  const prefix = lengthPrefix(kind, body.length);
  const frame = new Uint8Array(prefix.length + body.length);
  frame.set(prefix);
  frame.set(body, prefix.length);
  return frame;
}

/** What stands in front of a field of that many bytes. */
export const lengthPrefix = (field: number, bytes: number): readonly number[] => [
  ...varint((field << 3) | 2),
  ...varint(bytes),
];

/** Header fields that a sender chooses; the rest has defaults (version 1, hop TTL 16). */
export type HeaderInit = Omit<MessageInitShape<typeof RoutingHeaderSchema>, "$typeName" | "$unknown">;

/** Serialises a header with the defaults filled in. Reuse the bytes while the header stays the same. */
export function encodeHeader(header: HeaderInit): Uint8Array {
  return toBinary(RoutingHeaderSchema, create(RoutingHeaderSchema, { version: 1, hopTtl: 16, ...header }));
}

/** Serialises a message frame. The payload is copied once and not looked into. */
export function encodeMessageFrame(header: HeaderInit, payload: Uint8Array): Uint8Array {
  const head = wrapFrame(EnvelopeSchema.field.header.number, encodeHeader(header));
  const tail = wrapFrame(EnvelopeSchema.field.payload.number, payload);
  const envelope = new Uint8Array(head.length + tail.length);
  envelope.set(head);
  envelope.set(tail, head.length);
  return wrapFrame(FrameSchema.field.message.number, envelope);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}
