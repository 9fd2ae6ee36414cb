/** The kinds of messages between endpoints, and what is common to them. */
import { create } from "@bufbuild/protobuf";
import { type CausewayError, type ErrorCode, refuse } from "@causeway/core-base";
import { type Refusal, refusalCharsMax } from "@causeway/core-session";
import { common, fromErrorDetail, session, toErrorDetail } from "@causeway/core-wire";
import { Content } from "../content.ts";

/** The kinds of SessionMessage, as the generated code names them. */
export type SessionBody = Exclude<session.SessionMessage["body"], { case: undefined }>;

/** Bytes that the application decides: what counts against bounds before a message is encoded. */
export function bytesOf(body: SessionBody): number {
  switch (body.case) {
    case "message":
      return body.value.content.length;
    case "request": {
      const { data, method, metadata } = body.value;
      let bytes = (data?.content.length ?? 0) + utf8Length(method);
      for (const [key, value] of Object.entries(metadata)) bytes += utf8Length(key) + utf8Length(value) + entryBytes;
      return bytes;
    }
    case "streamData":
      return body.value.content.length;
    case "streamOpen":
    case "streamHeader":
    case "streamEnd":
      return body.value.metadata.reduce((sum, each) => sum + utf8Length(each.name) + utf8Length(each.value) + 16, 0);
    case "responseChunk":
    case "responseEnd":
    case "topicData":
      return body.value.data?.content.length ?? 0;
    default:
      return 0;
  }
}

export function dataOf(content: Content): session.Data {
  return { $typeName: "causeway.session.v1.Data", contentType: content.contentType, content: content.bytes };
}

export function contentOf(data: session.Data | undefined): Content {
  return new Content(data?.contentType ?? "application/octet-stream", data?.content ?? new Uint8Array());
}

/** An error as it crosses the wire: code and sentence, never a cause. */
export function detailOf(error: CausewayError): common.ErrorDetail {
  const detail = toErrorDetail(error);
  detail.message = detail.message.slice(0, refusalCharsMax);
  return detail;
}

/** The other way round; `fallback` when the other side gave no detail. */
export function errorOf(detail: common.ErrorDetail | undefined, fallback: ErrorCode): CausewayError {
  return detail?.code ? fromErrorDetail(detail) : refuse(fallback, "the other side reported an error without a code");
}

const encoder = new TextEncoder();
const utf8Length = (text: string): number => encoder.encode(text).length;
/** Tags and lengths of one entry of a map. */
const entryBytes = 16;

/** A refusal of the inbox as an error detail. */
export function detailOfRefusal(refusal: Refusal): common.ErrorDetail {
  return create(common.ErrorDetailSchema, { code: refusal.code, message: refusal.message });
}
