import { describe, expect, test } from "vitest";
import { CausewayError, errorTable, isCausewayError, isErrorCode, refuse } from "./errors.ts";

test("codes follow CAUSEWAY_AREA_MEANING and have a sentence", () => {
  for (const [code, entry] of Object.entries(errorTable)) {
    expect(code).toMatch(/^CAUSEWAY_[A-Z0-9]+(_[A-Z0-9]+)*$/);
    expect(entry.text, code).toMatch(/^[A-Z].*\.$/s);
  }
});

describe("errors", () => {
  test("carry code, family, status, retry hint and facts", () => {
    const cause = new Error("inner");
    const error = refuse("CAUSEWAY_LIMIT_RATE", "expected 1, got 2", {
      details: { limit: "x" },
      retryAfterMs: 7,
      cause,
    });
    expect(error).toMatchObject({
      code: "CAUSEWAY_LIMIT_RATE",
      family: "refused",
      status: "RESOURCE_EXHAUSTED",
      retryable: true,
      retryAfterMs: 7,
    });
    expect(error.details).toEqual({ limit: "x" });
    expect(error.cause).toBe(cause);
    const plain = refuse("CAUSEWAY_MISUSE", "m");
    expect([plain.retryAfterMs, plain.details]).toEqual([0, {}]);
  });

  test("from keeps ours and wraps the rest without its text", () => {
    const ours = refuse("CAUSEWAY_TIMEOUT", "m");
    expect(CausewayError.from(ours)).toBe(ours);
    const wrapped = CausewayError.from(new Error("password"));
    expect(wrapped.code).toBe("CAUSEWAY_INTERNAL");
    expect(wrapped.message).not.toContain("password");
    expect(CausewayError.from(undefined).code).toBe("CAUSEWAY_INTERNAL");
  });

  test("are recognised by brand, not by class", () => {
    expect(isCausewayError({ [Symbol.for("causeway.error")]: true })).toBe(true);
    for (const other of [new Error("x"), null, "x", undefined, {}]) expect(isCausewayError(other)).toBe(false);
  });

  test("codes are own keys of the table", () => {
    expect(isErrorCode("CAUSEWAY_TIMEOUT")).toBe(true);
    for (const other of ["toString", "__proto__", ""]) expect(isErrorCode(other)).toBe(false);
  });
});
