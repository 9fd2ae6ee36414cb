/** Reports on many messages at once, written without an object for each of their ids. */
import { create, toBinary } from "@bufbuild/protobuf";
import { type HeaderInit, lengthPrefix } from "./frame.ts";
import { ControlSchema, DeliveryReportSchema, type Fate, FrameSchema } from "./gen/causeway/agp/v1/agp_pb.js";

/** What a report says of all its messages. */
export interface FateInit {
  readonly reporter: string;
  readonly target: string;
  readonly fate: Fate;
}

/**
 * Serialises a control frame with a DeliveryReport on the messages whose ids, 16 bytes each, stand behind each other in
 * `ids`: the bytes that `encodeFrame` would make of it.
 */
export function encodeFateReport(header: HeaderInit, said: FateInit, ids: Uint8Array): Uint8Array {
  const head = toBinary(ControlSchema, create(ControlSchema, { header }));
  const messageId = ids.subarray(0, idBytes);
  const known = toBinary(DeliveryReportSchema, create(DeliveryReportSchema, { ...said, messageId }));
  const further = Math.max(0, ids.length / idBytes - 1) * (idBytes + 2);
  const reportTag = lengthPrefix(ControlSchema.field.deliveryReport.number, known.length + further);
  const control = head.length + reportTag.length + known.length + further;
  const controlTag = lengthPrefix(FrameSchema.field.control.number, control);
  // A report has kilobytes: one piece of memory for it, and no copy of what has most of them.
  const frame = new Uint8Array(controlTag.length + control);
  let at = 0;
  for (const part of [controlTag, head, reportTag, known]) {
    frame.set(part, at);
    at += part.length;
  }
  for (let from = idBytes; from < ids.length; from += idBytes) {
    frame[at++] = furtherIdTag;
    frame[at++] = idBytes;
    for (let i = 0; i < idBytes; i++) frame[at++] = ids[from + i] ?? 0;
  }
  return frame;
}

const idBytes = 16;
const furtherIdTag = (DeliveryReportSchema.field.furtherMessageIds.number << 3) | 2;
