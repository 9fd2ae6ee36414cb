/** Frames of streams as kinds of messages, and the other way round. */
import { create } from "@bufbuild/protobuf";
import type { ErrorFacts } from "@causeway/core-base";
import { CausewayError } from "@causeway/core-base";
import type { Metadata, StreamFrame } from "@causeway/core-session";
import { session } from "@causeway/core-wire";
import { detailOf, errorOf, type SessionBody } from "../session/messages.ts";

export function bodyOf(frame: StreamFrame): SessionBody {
  switch (frame.type) {
    case "open": {
      const { method, metadata, timeoutMs, credit } = frame;
      const facts = { method, metadata: entriesOf(metadata), timeoutMs: BigInt(timeoutMs), credit: BigInt(credit) };
      return { case: "streamOpen", value: create(session.StreamOpenSchema, facts) };
    }
    case "header":
      return {
        case: "streamHeader",
        value: create(session.StreamHeaderSchema, { metadata: entriesOf(frame.metadata) }),
      };
    case "data":
      return { case: "streamData", value: create(session.StreamDataSchema, { content: frame.bytes }) };
    case "end":
      return { case: "streamEnd", value: create(session.StreamEndSchema, { metadata: entriesOf(frame.metadata) }) };
    case "reset": {
      const error = detailOf(new CausewayError(frame.error));
      return { case: "streamReset", value: create(session.StreamResetSchema, { error }) };
    }
    case "credit":
      return { case: "streamCredit", value: create(session.StreamCreditSchema, { limit: BigInt(frame.limit) }) };
  }
}

/** Undefined for what is no frame of a stream. */
export function frameOf(body: SessionBody): StreamFrame | undefined {
  switch (body.case) {
    case "streamOpen": {
      const { method, metadata, timeoutMs, credit } = body.value;
      return {
        type: "open",
        method,
        metadata: metadataOf(metadata),
        timeoutMs: Number(timeoutMs),
        credit: Number(credit),
      };
    }
    case "streamHeader":
      return { type: "header", metadata: metadataOf(body.value.metadata) };
    case "streamData":
      return { type: "data", bytes: body.value.content };
    case "streamEnd":
      return { type: "end", metadata: metadataOf(body.value.metadata) };
    case "streamReset":
      return { type: "reset", error: factsOf(errorOf(body.value.error, "CAUSEWAY_CANCELLED")) };
    case "streamCredit":
      return { type: "credit", limit: Number(body.value.limit) };
    default:
      return undefined;
  }
}

export function factsOf({ code, message, retryAfterMs, details }: CausewayError): ErrorFacts {
  return { code, message, retryAfterMs, details };
}

function entriesOf(metadata: Metadata): { name: string; value: string }[] {
  return metadata.map(([name, value]) => ({ name, value }));
}

function metadataOf(entries: readonly session.Metadatum[]): Metadata {
  return entries.map(({ name, value }) => [name, value]);
}
