import { asInstant, isCausewayError } from "@causeway/core-base";
import { expect, test } from "vitest";
import { CallerRates, TokenBucket } from "./token-bucket.ts";

const at = (ms: number) => asInstant(ms);

function isRefused(rates: CallerRates, caller: string, ms: number): boolean {
  try {
    rates.check(caller, at(ms));
    return false;
  } catch (error) {
    if (!isCausewayError(error)) throw error;
    expect(error).toMatchObject({ code: "CAUSEWAY_LIMIT_RATE", details: { limit: "x" } });
    expect(error.retryAfterMs).toBeGreaterThan(0);
    return true;
  }
}

test("each caller has its own allowance, which grows again with time; the refusal says which limit and when", () => {
  const rates = new CallerRates("x", () => 2, 1_000);
  expect([0, 0, 0].map((ms) => isRefused(rates, "a", ms))).toEqual([false, false, true]);
  expect(isRefused(rates, "b", 0)).toBe(false);
  expect(isRefused(rates, "a", 500)).toBe(false);
  expect(isRefused(rates, "a", 500)).toBe(true);
});

test("a crowd of callers does not set everybody's allowance back: only the one not heard of for longest is forgotten", () => {
  const rates = new CallerRates(
    "x",
    () => 1,
    60_000,
    () => 3,
  );
  for (const caller of ["a", "b", "c"]) expect(isRefused(rates, caller, 0)).toBe(false);
  expect(isRefused(rates, "a", 1)).toBe(true);
  // `b` is now the one that was heard of longest ago.
  expect(isRefused(rates, "d", 2)).toBe(false);
  expect(["a", "c", "d"].map((caller) => isRefused(rates, caller, 3))).toEqual([true, true, true]);
  expect(isRefused(rates, "b", 4)).toBe(false);
});

test("what is larger than the burst passes whole when the bucket is full, and the rate holds on average", () => {
  const bucket = new TokenBucket(100, 50, at(0));
  expect(bucket.take(200, at(0))).toBe(false);
  expect(bucket.take(200, at(0), true)).toBe(true);
  // 150 are owed, and the bucket has to be full again for the next one.
  expect([bucket.take(1, at(1_500), true), bucket.waitMs(200)]).toEqual([false, 500]);
  expect([bucket.take(200, at(1_999), true), bucket.take(200, at(2_000), true)]).toEqual([false, true]);
  let passed = 0;
  for (let ms = 2_001; ms <= 22_000; ms++) if (bucket.take(200, at(ms), true)) passed += 200;
  expect(passed).toBeLessThanOrEqual(2_000);
  expect(passed).toBeGreaterThanOrEqual(1_800);
});
