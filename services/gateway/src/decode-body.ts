import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";

/** Decodes the body of a scanned frame. Bytes in it are copies: what is kept holds on to no read buffer. Throws CAUSEWAY_FRAME_MALFORMED. */
export function decodeBody<Desc extends DescMessage>(schema: Desc, scan: FrameScan): MessageShape<Desc> {
  try {
    return fromBinary(schema, new Uint8Array(scan.body()));
  } catch (cause) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a ${schema.typeName}, got bytes that do not decode`, { cause });
  }
}
