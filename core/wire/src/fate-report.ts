/** Reports on many messages at once, written without an object for each of their ids. */
import { create, toBinary } from "@bufbuild/protobuf";
import { type HeaderInit, wrapFrame } from "./frame.ts";
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
  const further = Math.max(0, ids.length / idBytes - 1);
  const report = new Uint8Array(known.length + further * (idBytes + 2));
  report.set(known);
  let at = known.length;
  for (let from = idBytes; from < ids.length; from += idBytes) {
    report[at++] = furtherIdTag;
    report[at++] = idBytes;
    for (let i = 0; i < idBytes; i++) report[at++] = ids[from + i] ?? 0;
  }
  const body = wrapFrame(ControlSchema.field.deliveryReport.number, report);
  const control = new Uint8Array(head.length + body.length);
  control.set(head);
  control.set(body, head.length);
  return wrapFrame(FrameSchema.field.control.number, control);
}

const idBytes = 16;
const furtherIdTag = (DeliveryReportSchema.field.furtherMessageIds.number << 3) | 2;
