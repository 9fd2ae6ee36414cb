/**
 * The gateways that one copy of a topic message is for (`Frame.for_gateways`, AGP-19): read from a scanned frame, and
 * written anew for the next link. The body of the frame stays byte for byte what it was.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type GatewayUri, parseGatewayUri } from "@causeway/core-base";
import type { FrameScan } from "./frame-scan.ts";
import { FrameSchema } from "./gen/causeway/agp/v1/agp_pb.js";

/** More gateways are not listed: the copy is then for all that the receiver reaches. */
export const forGatewaysMax = 64;

/** The listed gateways; undefined when there is no list, or one that is no list of gateways. */
export function gatewaysOf(scan: FrameScan): ReadonlySet<GatewayUri> | undefined {
  if (scan.gatewaysEnd === 0) return undefined;
  try {
    const { forGateways } = fromBinary(FrameSchema, scan.buf.subarray(scan.gatewaysStart, scan.gatewaysEnd));
    return forGateways.length > forGatewaysMax ? undefined : new Set(forGateways.map(parseGatewayUri));
  } catch {
    // Bytes of a neighbour that are no text or no name: no reason to lose the message.
    return undefined;
  }
}

/** The scanned frame with this list instead of its own; without any when it is undefined. Copies the bytes. */
export function addressCopy(scan: FrameScan, gateways: readonly GatewayUri[] | undefined): Uint8Array {
  const list = toBinary(FrameSchema, create(FrameSchema, { forGateways: [...(gateways ?? [])] }));
  const isListed = scan.gatewaysEnd !== 0;
  const head = scan.buf.subarray(scan.start, isListed ? scan.gatewaysStart : scan.end);
  const tail = isListed ? scan.buf.subarray(scan.gatewaysEnd, scan.end) : scan.buf.subarray(0, 0);
  const frame = new Uint8Array(head.length + tail.length + list.length);
  frame.set(head);
  frame.set(tail, head.length);
  frame.set(list, head.length + tail.length);
  return frame;
}
