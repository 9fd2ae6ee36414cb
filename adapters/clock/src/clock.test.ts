import { asInstant } from "@causeway/core-base";
import { expect, test } from "vitest";
import { createScheduler, systemRandom } from "./index.ts";

test("a wake-up comes at or after its instant and never synchronously", async () => {
  const scheduler = createScheduler();
  const when = asInstant(scheduler.now().instant + 5);
  const woken = await new Promise<number>((resolve) => scheduler.at(when, () => resolve(scheduler.now().instant)));
  expect(woken).toBeGreaterThanOrEqual(when);
  let ran = false;
  scheduler.at(scheduler.now().instant, () => (ran = true));
  expect(ran).toBe(false);
});

test("a cancelled wake-up does not come", async () => {
  const scheduler = createScheduler();
  let ran = false;
  scheduler.at(scheduler.now().instant, () => (ran = true))();
  await new Promise<void>((resolve) => scheduler.at(asInstant(scheduler.now().instant + 5), resolve));
  expect(ran).toBe(false);
});

test("random bytes have their length and fractions lie in [0, 1)", () => {
  expect(systemRandom.bytes(16)).toHaveLength(16);
  for (let i = 0; i < 100; i += 1) {
    const fraction = systemRandom.fraction();
    expect(fraction >= 0 && fraction < 1).toBe(true);
  }
});
