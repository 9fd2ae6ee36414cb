import { expect, test } from "vitest";
import { wantedOf } from "./agents.ts";

const plain = { ack: "processed", priority: "interactive", timeout: "30000" };

test("what send is told is what the SDK is asked for", () => {
  expect(wantedOf({ ...plain, ack: "stored", expires: "604800000", priority: "bulk", trace: true })).toEqual({
    ack: "stored",
    expiresMs: 604_800_000,
    priority: "bulk",
    timeoutMs: 30_000,
    trace: true,
  });
});

test("without --expires the SDK says until when", () => {
  expect(wantedOf(plain)).toEqual({ ack: "processed", priority: "interactive", timeoutMs: 30_000, trace: false });
});

test.each([{ ack: "sent" }, { priority: "high" }, { expires: "0" }, { expires: "1h" }, { timeout: "soon" }])(
  "%j is refused with what was expected",
  (wrong) => {
    expect(() => wantedOf({ ...plain, ...wrong })).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_CONFIG_INVALID", message: expect.stringContaining("expected ") }),
    );
  },
);
