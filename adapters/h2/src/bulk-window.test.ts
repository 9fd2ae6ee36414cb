import fc from "fast-check";
import { expect, test } from "vitest";
import { BulkWindow, bulkWindowBytesMax, bulkWindowBytesMin } from "./bulk-window.ts";

/** A way that takes `wayMs` and has `bytesPerMs`; what waits for it delays what comes behind. Answers the last window. */
function saturate(window: BulkWindow, bytesPerMs: number, wayMs: number, writes: number): number {
  const chunk = 16_384;
  const onWay: number[] = [];
  let [now, busyUntil] = [0, 0];
  for (let left = writes; left > 0; ) {
    while (left > 0 && window.admits(chunk)) {
      window.sent(chunk, true, now);
      busyUntil = Math.max(busyUntil, now) + chunk / bytesPerMs;
      onWay.push(busyUntil + wayMs);
      left--;
    }
    now = Math.max(now, onWay.shift() ?? now);
    window.taken(chunk, now);
  }
  return window.bytes ?? 0;
}

test("is open until something was acknowledged, so that a receiver that acknowledges nothing gets bulk as before", () => {
  const window = new BulkWindow();
  for (let i = 0; i < 1_000; i++) {
    expect(window.admits(65_536)).toBe(true);
    window.sent(65_536, true, i);
  }
  window.taken(16_384, 1_000);
  expect(window.admits(65_536)).toBe(false);
});

test("grows on a long and fast way, and shrinks to its least on a short and slow one", () => {
  // 125 MB/s with 50 ms; 2 MB/s with 1 ms.
  const [long, short] = [new BulkWindow(), new BulkWindow()];
  long.taken(0, 0);
  short.taken(0, 0);
  expect(saturate(long, 125_000, 50, 20_000)).toBe(bulkWindowBytesMax);
  expect(saturate(short, 2_000, 1, 2_000)).toBeLessThanOrEqual(2 * bulkWindowBytesMin);
});

test("lets large writes go though a receiver acknowledges in steps and leaves a rest", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 60 }), (writes) => {
      const window = new BulkWindow();
      window.taken(0, 0);
      let [now, unacknowledged, left] = [0, 0, 0];
      for (const bytes of writes) {
        // Everything that was sent has come; the receiver has told of all but less than a step.
        while (!window.admits(bytes)) {
          expect(left).toBeGreaterThan(0);
          unacknowledged += left;
          left = 0;
          if (unacknowledged >= 16_384) {
            window.taken(unacknowledged, ++now);
            unacknowledged = 0;
          }
        }
        window.sent(bytes, true, ++now);
        left += bytes;
      }
    }),
  );
});

test("stays between its bounds and always lets something go again, whatever is acknowledged and when", () => {
  const step = fc.record({ bytes: fc.integer({ min: 0, max: 5_000_000 }), ms: fc.integer({ min: 0, max: 10_000 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const window = new BulkWindow();
      let now = 0;
      let outstanding = 0;
      window.taken(0, now);
      for (const { bytes, ms } of steps) {
        now += ms;
        while (window.admits(20_000)) {
          window.sent(20_000, true, now);
          outstanding += 20_000;
        }
        expect(outstanding).toBeLessThanOrEqual(bulkWindowBytesMax + 20_000);
        window.taken(bytes, now);
        outstanding = Math.max(0, outstanding - bytes);
        expect(window.bytes).toBeGreaterThanOrEqual(bulkWindowBytesMin);
        expect(window.bytes).toBeLessThanOrEqual(bulkWindowBytesMax);
      }
      window.taken(outstanding, now);
      expect(window.admits(4_000_000)).toBe(true);
    }),
  );
});
