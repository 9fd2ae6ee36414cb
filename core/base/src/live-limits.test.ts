import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type LimitChange, LiveLimits } from "./live-limits.ts";

const defaults = { waitMs: 10, waitMsMax: 100, queueMax: 5, portsMax: 3 };
type Limits = typeof defaults;
const made = (configured: Partial<Limits> = {}): LiveLimits<Limits> =>
  new LiveLimits<Limits>({
    defaults,
    rules: {
      waitMs: { min: 1, max: 1_000, effect: "for new" },
      waitMsMax: { min: 1, max: 1_000, effect: "at once" },
      queueMax: { min: 0, max: 50, effect: "at once" },
      portsMax: { min: 1, max: 9, effect: "after a restart" },
    },
    configured,
    contradiction: (values) => (values.waitMs > values.waitMsMax ? "expected waitMs of at most waitMsMax" : undefined),
  });

describe("limits that change while a service runs", () => {
  test("are one object that follows, and say who set what", () => {
    const limits = made({ queueMax: 7 });
    const told: (readonly LimitChange[])[] = [];
    limits.onChange = (changes) => told.push(changes);
    const { values } = limits;
    expect(limits.set("waitMs", 50, "olga")).toEqual({ name: "waitMs", from: 10, to: 50 });
    expect(values).toEqual({ waitMs: 50, waitMsMax: 100, queueMax: 7, portsMax: 3 });
    expect(told).toEqual([[{ name: "waitMs", from: 10, to: 50 }]]);
    expect(limits.list().map(({ name, unit, value, setBy }) => [name, unit, value, setBy])).toEqual([
      ["portsMax", "", 3, "default"],
      ["queueMax", "", 7, "configuration"],
      ["waitMs", "ms", 50, "olga"],
      ["waitMsMax", "ms", 100, "default"],
    ]);
  });

  test("what counts after a restart only cannot be set, and a reload says what waits for it", () => {
    const limits = made();
    expect(() => limits.set("portsMax", 4, "olga")).toThrow(/portsMax cannot be changed while the service runs/);
    expect(limits.reload({ portsMax: 4, queueMax: 9 })).toEqual({
      changed: [{ name: "queueMax", from: 5, to: 9 }],
      pending: [{ name: "portsMax", from: 3, to: 4 }],
    });
    expect(limits.values).toEqual({ ...defaults, queueMax: 9 });
  });

  test("a configuration that is wrong or has an unknown name makes no limits", () => {
    expect(() => made({ queueMax: 51 })).toThrow(/expected queueMax as a whole number from 0 to 50, got 51/);
    expect(() => made({ waitMs: 200 })).toThrow(/expected waitMs of at most waitMsMax/);
    expect(() => made({ other: 1 } as Partial<Limits>)).toThrow(/there is no limit "other"/);
  });

  test("whatever is tried, values keep their bounds and go together, and what is refused changes nothing", () => {
    const name = fc.constantFrom("waitMs", "waitMsMax", "queueMax", "portsMax", "other");
    const value = fc.oneof(fc.integer({ min: -2, max: 1_100 }), fc.constantFrom(1.5, Number.NaN));
    const step = fc.oneof(
      fc.record({ set: fc.tuple(name, value) }),
      fc.record({ reload: fc.dictionary(name, value, { maxKeys: 3 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const limits = made();
        let follower: Record<string, number> = { ...limits.values };
        limits.onChange = (changes) => {
          for (const { name: each, from, to } of changes) {
            expect(follower[each]).toBe(from);
            follower = { ...follower, [each]: to };
          }
        };
        for (const each of steps) {
          const before = { ...limits.values };
          try {
            if ("set" in each) limits.set(...each.set, "olga");
            else limits.reload(each.reload as Partial<Limits>);
          } catch {
            expect(limits.values).toEqual(before);
          }
          expect(follower).toEqual(limits.values);
          for (const row of limits.list()) {
            expect(Number.isSafeInteger(row.value) && row.value >= row.min && row.value <= row.max).toBe(true);
          }
          expect(limits.values.waitMs).toBeLessThanOrEqual(limits.values.waitMsMax);
          expect(limits.values.portsMax).toBe(3);
        }
      }),
    );
  });
});
