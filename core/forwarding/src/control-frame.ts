/** What the header and the kind of a frame say of questions and answers. Bodies of control frames are not read. */
import { agp, FrameKind, type FrameScan } from "@causeway/core-wire";

/** True for every message and for control frames that ask for something; false for answers and delivery reports. */
export function asksForAnswer(scan: FrameScan): boolean {
  return scan.kind !== FrameKind.control || requests.has(scan.controlBody);
}

/** True when the source is named as a gateway. Authorities certify nobody else under `gateway/`. */
export function isFromGateway(scan: FrameScan): boolean {
  const { buf, sourceStart, sourceEnd } = scan;
  let at = sourceStart + "spiffe://".length;
  while (at < sourceEnd && buf[at] !== 0x2f) at++;
  if (sourceEnd - at < segment.length) return false;
  for (let i = 0; i < segment.length; i++) if (buf[at + i] !== segment.charCodeAt(i)) return false;
  return true;
}

const segment = "/gateway/";

const requests: ReadonlySet<number> = new Set([
  agp.ControlSchema.field.keyPackageFetch.number,
  agp.ControlSchema.field.commitSubmit.number,
  agp.ControlSchema.field.handshakeFetch.number,
  agp.ControlSchema.field.topicCommand.number,
  agp.ControlSchema.field.mailboxTransfer.number,
]);
