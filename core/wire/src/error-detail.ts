/**
 * One error, three renderings (AGP-61): `ErrorDetail` inside frames, the gRPC status (Connect's code numbers), and the
 * problem document of HTTP (RFC 9457). All come from the one table of core/base; causes and stacks never cross a wire.
 */
import { create } from "@bufbuild/protobuf";
import { CausewayError, type ErrorFacts, errorTable, isErrorCode, type StatusName } from "@causeway/core-base";
import { type ErrorDetail, ErrorDetailSchema } from "./gen/causeway/common/v1/common_pb.js";

/** gRPC's numbers, which Connect's `Code` shares. */
export const statusNumbers = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const satisfies Record<StatusName, number>;

/** HTTP status of each gRPC status, as in google.rpc.Code. */
export const httpStatuses = {
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  UNAUTHENTICATED: 401,
} as const satisfies Record<StatusName, number>;

/** Problem document of HTTP (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly details?: Readonly<Record<string, string>>;
}

/** What of an error crosses a wire. */
export function toErrorDetail(error: CausewayError | ErrorFacts): ErrorDetail {
  return create(ErrorDetailSchema, {
    code: error.code,
    message: error.message,
    retryable: errorTable[error.code].retryable,
    retryAfterMs: Math.min(Math.max(0, Math.ceil(error.retryAfterMs ?? 0)), 0xffffffff),
    details: { ...error.details },
  });
}

/**
 * The error that another process reported. A code that this version doesn't know becomes `CAUSEWAY_INTERNAL` with the
 * code under `details.code`.
 */
export function fromErrorDetail(detail: ErrorDetail): CausewayError {
  const { code, message, retryAfterMs, details } = detail;
  if (isErrorCode(code)) return new CausewayError({ code, message, retryAfterMs, details: { ...details } });
  return new CausewayError({ code: "CAUSEWAY_INTERNAL", message, retryAfterMs, details: { ...details, code } });
}

/** gRPC and Connect status number of an error. */
export function statusNumber(error: CausewayError | ErrorFacts): number {
  return statusNumbers[errorTable[error.code].status];
}

/** HTTP status of an error. */
export function httpStatus(error: CausewayError | ErrorFacts): number {
  return httpStatuses[errorTable[error.code].status];
}

/** Problem document of an error. */
export function toProblem(error: CausewayError | ErrorFacts): Problem {
  const entry = errorTable[error.code];
  return {
    type: `urn:causeway:error:${error.code}`,
    title: entry.text,
    status: httpStatuses[entry.status],
    detail: error.message,
    code: error.code,
    retryable: entry.retryable,
    ...(error.retryAfterMs ? { retryAfterMs: error.retryAfterMs } : {}),
    ...(error.details && Object.keys(error.details).length > 0 ? { details: error.details } : {}),
  };
}
