import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type ErrorCode, errorTable, refuse } from "@causeway/core-base";
import { describe, expect, test } from "vitest";
import {
  fromErrorDetail,
  httpStatus,
  httpStatuses,
  statusNumber,
  statusNumbers,
  toErrorDetail,
  toProblem,
} from "./error-detail.ts";
import { ErrorDetailSchema } from "./gen/causeway/common/v1/common_pb.js";

const codes = Object.keys(errorTable) as ErrorCode[];

describe("one error model for every rendering [AGP-61]", () => {
  test("every code of the table survives a frame with reason, retry hint and facts", () => {
    for (const code of codes) {
      const error = refuse(code, "expected x, got y", { retryAfterMs: 12, details: { limit: "frames" } });
      const detail = fromBinary(ErrorDetailSchema, toBinary(ErrorDetailSchema, toErrorDetail(error)));
      expect(detail.retryable).toBe(errorTable[code].retryable);
      expect(fromErrorDetail(detail)).toMatchObject({
        code,
        message: "expected x, got y",
        retryAfterMs: 12,
        details: { limit: "frames" },
      });
    }
  });

  test("every code of the table has a gRPC number and an HTTP problem", () => {
    for (const code of codes) {
      const error = refuse(code, "why");
      expect(statusNumber(error)).toBe(statusNumbers[error.status]);
      expect(httpStatus(error)).toBe(httpStatuses[error.status]);
      expect(toProblem(error)).toEqual({
        type: `urn:causeway:error:${code}`,
        title: errorTable[code].text,
        status: httpStatuses[error.status],
        detail: "why",
        code,
        retryable: errorTable[code].retryable,
      });
    }
  });

  test("pins", () => {
    expect(statusNumber(refuse("CAUSEWAY_FORWARDING_NO_ROUTE", ""))).toBe(5);
    expect(httpStatus(refuse("CAUSEWAY_FORWARDING_NO_ROUTE", ""))).toBe(404);
    expect(statusNumber(refuse("CAUSEWAY_IDENTITY_CERTIFICATE_MISSING", ""))).toBe(16);
    expect(httpStatus(refuse("CAUSEWAY_LIMIT_RATE", ""))).toBe(429);
    expect(toProblem(refuse("CAUSEWAY_LIMIT_RATE", "", { retryAfterMs: 9, details: { limit: "l" } }))).toMatchObject({
      retryAfterMs: 9,
      details: { limit: "l" },
    });
  });
});

test("neither cause nor stack crosses", () => {
  const error = refuse("CAUSEWAY_STORE_FAILED", "m", { cause: new Error("secret path") });
  expect(JSON.stringify([toErrorDetail(error), toProblem(error)])).not.toContain("secret");
});

test("a code of a newer version is kept as a fact", () => {
  const detail = create(ErrorDetailSchema, { code: "CAUSEWAY_NEWER_THING", message: "m", details: { a: "b" } });
  expect(fromErrorDetail(detail)).toMatchObject({
    code: "CAUSEWAY_INTERNAL",
    details: { a: "b", code: "CAUSEWAY_NEWER_THING" },
  });
});

test("a retry hint outside 32 bits is brought into them", () => {
  expect(toErrorDetail(refuse("CAUSEWAY_LIMIT_RATE", "", { retryAfterMs: 2 ** 40 })).retryAfterMs).toBe(0xffffffff);
  expect(toErrorDetail(refuse("CAUSEWAY_LIMIT_RATE", "", { retryAfterMs: -1 })).retryAfterMs).toBe(0);
});
