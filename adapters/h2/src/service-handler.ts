import {
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { CausewayError, type Log, refuse } from "@causeway/core-base";
import { Code, ConnectError, type ConnectRouter, createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { answerOnly, refuseStream } from "./accept-link.ts";
import { type Caller, callerKey, callerOf, isApplicant } from "./caller.ts";
import { readableStatus } from "./grpc-message.ts";
import { healthRoutes } from "./health.ts";
import type { H2Limits } from "./limits.ts";
import { renderErrors, toConnectError } from "./wire-errors.ts";

/** Serves one request on a stream. */
export type ServiceHandler = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  caller: Caller,
) => void;

/**
 * Serves Connect's services, as gRPC and as JSON over HTTP, on streams that the port hands over. Not
 * `connectNodeAdapter`: that one reports failed answers to the console and not to a log.
 */
export function createServiceHandler(options: {
  readonly services: (router: ConnectRouter) => void;
  /** Full names of services that the port serves without Connect. */
  readonly otherServices: readonly string[];
  readonly applicantPaths: ReadonlySet<string>;
  readonly shutdown: AbortSignal;
  readonly limits: H2Limits;
  readonly log: Log;
}): ServiceHandler {
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    readMaxBytes: options.limits.messageBytesMax,
    writeMaxBytes: options.limits.messageBytesMax,
    shutdownSignal: options.shutdown,
    interceptors: [renderErrors((thrown, procedure) => options.log.error("h2.handler_failed", { procedure }, thrown))],
    requestGate: (context) => {
      const path = `/${context.service.typeName}/${context.method.name}`;
      if (!isApplicant(callerOf(context)) || options.applicantPaths.has(path)) return;
      throw toConnectError(
        refuse(
          "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
          `expected a certificate of the domain's authority for ${path}, got a self-signed one; enrol first`,
        ),
      );
    },
  });
  options.services(router);
  const names = new Set([...router.handlers.map((handler) => handler.service.typeName), ...options.otherServices]);
  healthRoutes(() => names, options.shutdown)(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler] as const));

  return (stream, headers, rawHeaders, caller) => {
    const handler = handlers.get((headers[":path"] ?? "").split("?", 1)[0] ?? "");
    if (handler === undefined) {
      answerUnknown(stream, headers["content-type"]);
      return;
    }
    const request = new Http2ServerRequest(stream, headers, {}, rawHeaders);
    const response = new ReadableResponse(stream);
    const universal = universalRequestFromNodeRequest(
      request,
      response,
      undefined,
      createContextValues().set(callerKey, caller),
    );
    handler(universal)
      .then((answer) => universalResponseToNodeResponse(answer, response))
      .catch((thrown: unknown) => {
        // The client went away, or the connection broke while it was answered: there is nobody to tell.
        options.log.debug("h2.answer_dropped", {
          procedure: handler.requestPath,
          code: ConnectError.from(thrown, Code.Aborted).message,
        });
        if (!stream.destroyed) stream.close();
      });
  };
}

/** A response whose gRPC status every client can show. */
class ReadableResponse extends Http2ServerResponse {
  override addTrailers(trailers: OutgoingHttpHeaders): void {
    super.addTrailers(readableStatus(trailers));
  }
}

/** gRPC clients expect their own status for an unknown method, others a 404. */
function answerUnknown(stream: ServerHttp2Stream, contentType: string | undefined): void {
  if (contentType?.startsWith("application/grpc") === true)
    refuseStream(stream, refuse("CAUSEWAY_UNSUPPORTED", "expected a method of this service, got an unknown one"));
  else answerOnly(stream, { ":status": 404 });
}

/** The reason that streaming handlers see when the port stops. */
export function drainingError(): ConnectError {
  return toConnectError(
    new CausewayError({
      code: "CAUSEWAY_GATEWAY_DRAINING",
      message: "the service is going out of service; connect again or elsewhere",
    }),
  );
}
