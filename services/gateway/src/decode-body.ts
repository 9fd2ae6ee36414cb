import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import { refuse } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";

/** Decodes the body of a scanned frame. Throws CAUSEWAY_FRAME_MALFORMED. */
export function decodeBody<Desc extends DescMessage>(schema: Desc, scan: FrameScan): MessageShape<Desc> {
  try {
    return fromBinary(schema, scan.body());
  } catch (cause) {
    throw refuse("CAUSEWAY_FRAME_MALFORMED", `expected a ${schema.typeName}, got bytes that do not decode`, { cause });
  }
}
