import { CausewayError, type ErrorCode, errorTable, isCausewayError, isErrorCode, refuse } from "@causeway/core-base";
import { common, fromErrorDetail, statusNumber, toErrorDetail } from "@causeway/core-wire";
import {
  Code,
  ConnectError,
  type ContextValues,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";

/** How an error of the table travels on gRPC, Connect and JSON: status, message and one ErrorDetail (AGP-61). */
export function toConnectError(thrown: unknown): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  const error = CausewayError.from(thrown);
  const detail = { desc: common.ErrorDetailSchema, value: toErrorDetail(error) };
  // gRPC's numbers are Connect's codes.
  const made = new ConnectError(error.message, statusNumber(error) as Code, undefined, [detail]);
  made.cause = error;
  return made;
}

/** The error of the table behind whatever a call failed with. */
export function fromConnectError(thrown: unknown): CausewayError {
  if (isCausewayError(thrown)) return thrown;
  if (!(thrown instanceof ConnectError)) return CausewayError.from(thrown);
  const cause = causeOf(thrown);
  if (cause !== undefined) return cause;
  const [detail] = thrown.findDetails(common.ErrorDetailSchema);
  if (detail !== undefined) return fromErrorDetail(detail);
  return refuse(
    withoutDetail.get(thrown.code) ?? "CAUSEWAY_INTERNAL",
    thrown.rawMessage || "the call failed without a message",
    { cause: thrown },
  );
}

/** One of our errors among the causes: libraries wrap more than once. */
function causeOf(thrown: Error): CausewayError | undefined {
  let cause = thrown.cause;
  for (let depth = 0; depth < causeDepthMax && cause !== undefined; depth++) {
    if (isCausewayError(cause)) return cause;
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return undefined;
}

/** Renders what handlers throw. `report` gets it as it was thrown; callers see what is not ours as CAUSEWAY_INTERNAL. */
export function renderErrors(report: (thrown: unknown, call: FailedCall) => void): Interceptor {
  return mapErrors((thrown, call) => {
    report(thrown, call);
    return toConnectError(thrown);
  });
}

/** Gives every failed call the CausewayError as cause of its ConnectError, which is all that Connect lets through. */
export const readErrors: Interceptor = mapErrors((thrown) => toConnectError(fromConnectError(thrown)));

/** A call that has failed. */
export interface FailedCall {
  /** `package.Service/Method`. */
  readonly procedure: string;
  readonly values: ContextValues;
}

/** Applies `map` to errors of the call and of a streamed response. */
function mapErrors(map: (thrown: unknown, call: FailedCall) => Error): Interceptor {
  return (next) => async (request) => {
    const call = { procedure: `${request.service.typeName}/${request.method.name}`, values: request.contextValues };
    let response: UnaryResponse | StreamResponse;
    try {
      response = await next(request);
    } catch (thrown) {
      throw map(thrown, call);
    }
    if (!response.stream) return response;
    const messages = response.message;
    return {
      ...response,
      message: (async function* () {
        try {
          yield* messages;
        } catch (thrown) {
          throw map(thrown, call);
        }
      })(),
    };
  };
}

/** For answers of servers that are not ours, and of proxies. */
const withoutDetail: ReadonlyMap<Code, ErrorCode> = new Map<Code, ErrorCode>([
  [Code.Unavailable, "CAUSEWAY_UNREACHABLE"],
  [Code.DeadlineExceeded, "CAUSEWAY_TIMEOUT"],
  [Code.Canceled, "CAUSEWAY_CANCELLED"],
  [Code.Unimplemented, "CAUSEWAY_UNSUPPORTED"],
  [Code.ResourceExhausted, "CAUSEWAY_LIMIT_COUNT"],
  [Code.InvalidArgument, "CAUSEWAY_FRAME_MALFORMED"],
  [Code.Unauthenticated, "CAUSEWAY_IDENTITY_CERTIFICATE_UNTRUSTED"],
  [Code.PermissionDenied, "CAUSEWAY_IDENTITY_ROLE_WRONG"],
]);

/** A refusal as GOAWAY carries it: code, blank, message. */
export function encodeRefusal(error: CausewayError): Buffer {
  return Buffer.from(`${error.code} ${error.message}`.slice(0, refusalBytesMax), "utf8");
}

/** The refusal in a GOAWAY of one of our ports; undefined for any other. */
export function decodeRefusal(bytes: Uint8Array | undefined): CausewayError | undefined {
  if (bytes === undefined) return undefined;
  const text = Buffer.from(bytes.subarray(0, refusalBytesMax)).toString("utf8");
  const blank = text.indexOf(" ");
  const code = text.slice(0, Math.max(blank, 0));
  return isErrorCode(code) && errorTable[code].family !== "misuse" ? refuse(code, text.slice(blank + 1)) : undefined;
}

const causeDepthMax = 4;
const refusalBytesMax = 1_024;
