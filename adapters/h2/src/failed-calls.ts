/**
 * Calls that fail: what the log says of them, and the code of our table for those that Connect answers by itself (a
 * body that does not decode, a message over the limit), of which no handler and no interceptor hears.
 */
import type { OutgoingHttpHeaders } from "node:http2";
import { CausewayError, isCausewayError, type Log, refuse } from "@causeway/core-base";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { codeToString, errorFromJsonBytes, errorToJson } from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { type Caller, nameOf } from "./caller.ts";
import { fromConnectError, toConnectError } from "./wire-errors.ts";

/** Writes about failed calls of one port. */
export class FailedCalls {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  /** A handler threw, or Connect refused the call. */
  report(procedure: string, caller: Caller | undefined, thrown: unknown): void {
    const error = fromConnectError(thrown);
    const facts = {
      procedure,
      peer: caller && nameOf(caller),
      code: error.code,
      reason: error.message,
    };
    if (quiet.has(error.code) || error.status === "NOT_FOUND") this.#log.debug("h2.call_refused", facts);
    else if (error.family === "internal") this.#log.error("h2.handler_failed", facts, thrown);
    else if (error.family === "environment") this.#log.error("h2.call_failed", facts, error.cause);
    else this.#log.warn("h2.call_refused", facts);
  }
}

/** Trailers of a failed gRPC call with a code of our table; `onOwn` hears of those that had none. */
export function completeTrailers(
  trailers: OutgoingHttpHeaders,
  onOwn: (error: CausewayError) => void,
): OutgoingHttpHeaders {
  const status = trailers["grpc-status"];
  if (status === undefined || status === "0" || trailers[grpcDetails] !== undefined) return trailers;
  const headers = new Headers();
  for (const name of ["grpc-status", "grpc-message"]) headers.set(name, String(trailers[name] ?? ""));
  const found = findTrailerError(headers);
  if (found === undefined) return trailers;
  const error = named(found);
  onOwn(error);
  const complete = new Headers();
  setTrailerStatus(complete, toConnectError(error));
  return { ...trailers, ...Object.fromEntries(complete) };
}

/** The same for the body of a failed unary call of Connect or JSON over HTTP. */
export async function completeAnswer(
  answer: UniversalServerResponse,
  onOwn: (error: CausewayError) => void,
): Promise<UniversalServerResponse> {
  const { body, header, status } = answer;
  const isPlainJson = header?.get("content-type") === "application/json" && !header.has("content-encoding");
  if (status < 400 || body === undefined || !isPlainJson) return answer;
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  let bytes: Uint8Array = Buffer.concat(chunks);
  const found = errorFromJsonBytes(bytes, undefined, new ConnectError("the call failed", Code.Unknown));
  if (found.details.length === 0) {
    const error = named(found);
    onOwn(error);
    const complete = toConnectError(error);
    bytes = Buffer.from(
      JSON.stringify({ ...(errorToJson(complete, undefined) as object), code: codeToString(found.code) }),
    );
    header.delete("content-length");
  }
  return { ...answer, body: oneChunk(bytes) };
}

/** Connect calls a binary body that does not decode an internal error; it is the sender's. */
function named(error: ConnectError): CausewayError {
  if (error.code === Code.Internal && error.rawMessage.startsWith("parse binary")) {
    return refuse(
      "CAUSEWAY_FRAME_MALFORMED",
      "expected a message of this method, got bytes that do not decode; check the version of the .proto files",
    );
  }
  return isCausewayError(error.cause) ? error.cause : fromConnectError(error);
}

// biome-ignore lint/suspicious/useAwait: an async generator is what Connect takes as body
async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const grpcDetails = "grpc-status-details-bin";

/** What happens in normal operation. */
const quiet: ReadonlySet<string> = new Set([
  "CAUSEWAY_CANCELLED",
  "CAUSEWAY_TIMEOUT",
  "CAUSEWAY_GATEWAY_DRAINING",
  "CAUSEWAY_IDENTITY_APPLICATION_PENDING",
]);
