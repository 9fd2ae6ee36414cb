import {
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { DescService } from "@bufbuild/protobuf";
import { CausewayError, type Log, refuse } from "@causeway/core-base";
import { Code, ConnectError, type ConnectRouter, createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { answerOnly, refuseStream } from "./accept-link.ts";
import { type Caller, callerKey, callerOf, isApplicant, nameOf } from "./caller.ts";
import { completeAnswer, completeTrailers, FailedCalls } from "./failed-calls.ts";
import { readableStatus } from "./grpc-message.ts";
import { healthRoutes } from "./health.ts";
import type { H2Limits } from "./limits.ts";
import { type PageMaker, servePage } from "./pages.ts";
import { reflectionRoutes } from "./reflection.ts";
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
  /** Pages by path. */
  readonly pages: ReadonlyMap<string, PageMaker>;
  /** Services that the port serves without Connect. */
  readonly otherServices: readonly DescService[];
  readonly applicantPaths: ReadonlySet<string>;
  readonly monitorPaths: ReadonlySet<string>;
  readonly shutdown: AbortSignal;
  readonly limits: H2Limits;
  readonly log: Log;
}): ServiceHandler {
  const failed = new FailedCalls(options.log);
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    readMaxBytes: options.limits.messageBytesMax,
    writeMaxBytes: options.limits.messageBytesMax,
    shutdownSignal: options.shutdown,
    interceptors: [renderErrors((thrown, call) => failed.report(call.procedure, call.values.get(callerKey), thrown))],
    requestGate: (context) => {
      const procedure = `${context.service.typeName}/${context.method.name}`;
      const caller = callerOf(context);
      const error = gateRefusal(`/${procedure}`, caller, options);
      if (error === undefined) return;
      failed.report(procedure, caller, error);
      throw toConnectError(error);
    },
  });
  options.services(router);
  const served = [...new Set(router.handlers.map(({ service }) => service)), ...options.otherServices];
  const names = new Set(served.map(({ typeName }) => typeName));
  healthRoutes(() => names, options.shutdown)(router);
  reflectionRoutes(() => served)(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler] as const));

  return (stream, headers, rawHeaders, caller) => {
    const path = (headers[":path"] ?? "").split("?", 1)[0] ?? "";
    const page = options.pages.get(path);
    if (page !== undefined) {
      servePage(stream, headers, caller, page);
      return;
    }
    const handler = handlers.get(path);
    if (handler === undefined) {
      options.log.warn("h2.request_refused", { peer: nameOf(caller), path: path.slice(0, loggedPathMax) });
      answerUnknown(stream, headers["content-type"]);
      return;
    }
    const report = (error: CausewayError): void => failed.report(path.slice(1), caller, error);
    const request = new Http2ServerRequest(stream, headers, {}, rawHeaders);
    const response = new CompleteResponse(stream, report);
    const universal = universalRequestFromNodeRequest(
      request,
      response,
      undefined,
      createContextValues().set(callerKey, caller),
    );
    handler(universal)
      .then(async (answer) => universalResponseToNodeResponse(await completeAnswer(answer, report), response))
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

/** Why a caller may not even ask: services judge those that may. */
function gateRefusal(
  path: string,
  caller: Caller,
  open: { readonly applicantPaths: ReadonlySet<string>; readonly monitorPaths: ReadonlySet<string> },
): CausewayError | undefined {
  if (isApplicant(caller)) {
    if (open.applicantPaths.has(path)) return undefined;
    return refuse(
      "CAUSEWAY_IDENTITY_CERTIFICATE_SELF_SIGNED",
      `expected a certificate of the domain's authority for ${path}, got a self-signed one; enrol first`,
    );
  }
  if (caller.role !== "monitor" || open.monitorPaths.has(path)) return undefined;
  return refuse(
    "CAUSEWAY_IDENTITY_ROLE_WRONG",
    `expected another role than monitor for ${path}, got ${caller.spiffeId}; a monitor reads /metrics and nothing else`,
  );
}

/** A response whose gRPC status has a code of our table and can be shown by every client. */
class CompleteResponse extends Http2ServerResponse {
  readonly #report: (error: CausewayError) => void;

  constructor(stream: ServerHttp2Stream, report: (error: CausewayError) => void) {
    super(stream);
    this.#report = report;
  }

  override addTrailers(trailers: OutgoingHttpHeaders): void {
    super.addTrailers(readableStatus(completeTrailers(trailers, this.#report)));
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

/** Characters of a strange path in the log. */
const loggedPathMax = 200;
