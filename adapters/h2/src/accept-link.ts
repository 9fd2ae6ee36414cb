import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { assigned, type CausewayError, refuse } from "@causeway/core-base";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { readableStatus } from "./grpc-message.ts";
import type { LinkSide } from "./stream-link.ts";
import { toConnectError } from "./wire-errors.ts";

/** The path of the one method that is not served by Connect. */
export const linkPath = "/causeway.agp.v1.AgentGatewayService/Link";

/** A Link that was asked for and may be served. */
export interface AcceptedLink {
  readonly side: LinkSide;
  /** The client's deadline, if it set one. */
  readonly timeoutMs: number | undefined;
}

/** Answers the request for a Link on `stream`; the reason when it was refused. */
export function acceptLink(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): { readonly accepted: AcceptedLink } | { readonly refused: CausewayError } {
  const contentType = headers["content-type"];
  if (headers[":method"] !== "POST" || contentType === undefined || !grpcContentType.test(contentType)) {
    // What is not gRPC gets a status of HTTP, as gRPC's own servers answer it.
    const status = headers[":method"] === "POST" ? 415 : 405;
    answerOnly(stream, { ":status": status, ...(status === 405 && { allow: "POST" }) });
    return { refused: refuse("CAUSEWAY_UNSUPPORTED", `expected a gRPC request for a link, answered with ${status}`) };
  }
  const encoding = headers["grpc-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    const refused = refuse(
      "CAUSEWAY_UNSUPPORTED",
      `expected grpc-encoding identity on a link, got ${JSON.stringify(encoding)}; send without compression`,
    );
    refuseStream(stream, refused);
    return { refused };
  }
  const timeout = headers["grpc-timeout"];
  const timeoutMs = timeout === undefined ? undefined : parseTimeout(String(timeout));
  if (timeout !== undefined && timeoutMs === undefined) {
    const refused = refuse(
      "CAUSEWAY_FRAME_MALFORMED",
      `expected grpc-timeout like 10S, got ${JSON.stringify(timeout)}`,
    );
    refuseStream(stream, refused);
    return { refused };
  }
  let status: OutgoingHttpHeaders = { "grpc-status": "0" };
  stream.on("wantTrailers", () => {
    stream.sendTrailers(status);
    stopClient(stream);
  });
  stream.respond(responseHeaders, { waitForTrailers: true });
  const side: LinkSide = {
    finish(error) {
      if (error !== undefined) status = statusHeaders(error);
      if (!stream.writableEnded) stream.end();
    },
    received: () => undefined,
    endedWell: () => stream.readableEnded,
  };
  return { accepted: { side, timeoutMs } };
}

/** Answers a gRPC request with nothing but a status ("trailers-only"). */
export function refuseStream(stream: ServerHttp2Stream, error: CausewayError): void {
  answerOnly(stream, { ...responseHeaders, ...statusHeaders(error) });
}

/** Answers with headers alone, whatever the client still has to send. */
export function answerOnly(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond(headers, { endStream: true });
  stream.resume();
  stopClient(stream);
}

/**
 * gRPC: a client that still sends after our status is told to stop by a reset without error. Not in the same turn,
 * since a reset overtakes headers that have not left.
 */
function stopClient(stream: ServerHttp2Stream): void {
  setImmediate(() => {
    if (!stream.destroyed && !stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  });
}

/** Milliseconds of a grpc-timeout header; undefined when it is none. */
export function parseTimeout(text: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  if (match === null) return undefined;
  const [, amount, unit] = match;
  return Number(amount) * (timeoutUnitsMs[unit ?? ""] ?? 0);
}

/** grpc-status, grpc-message and grpc-status-details-bin of an error. */
export function statusHeaders(error: CausewayError): OutgoingHttpHeaders {
  return readableStatus(Object.fromEntries(setTrailerStatus(new Headers(), toConnectError(error))));
}

/** With or without the name of the encoding. */
const grpcContentType = new RegExp(`^${assigned.linkMediaType.replace(/\+(\w+)$/, "(\\+$1)?")}(;|$)`, "i");

/** Of every link that is taken. */
export const responseHeaders: OutgoingHttpHeaders = {
  ":status": 200,
  "content-type": assigned.linkMediaType,
  "grpc-accept-encoding": "identity",
};

const timeoutUnitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};
