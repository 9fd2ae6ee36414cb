import { asInstant } from "@causeway/core-base";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Due, DueQueue } from "./due-queue.ts";

test("comes up like a naive list, in order of time", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9), fc.option(fc.nat(100))), { maxLength: 80 }), fc.nat(100), (steps, now) => {
      const queue = new DueQueue<Due & { readonly name: number }>();
      const items = Array.from({ length: 10 }, (_, name): Due & { readonly name: number } => ({
        name,
        queuedAt: undefined,
      }));
      const model = new Map<number, number>();
      for (const [name, at] of steps) {
        const item = items[name];
        if (item === undefined) continue;
        if (at === null) {
          queue.disarm(item);
          model.delete(name);
        } else {
          queue.arm(item, asInstant(at));
          model.set(name, Math.min(at, model.get(name) ?? at));
        }
      }
      const times = [...model.values()].sort((a, b) => a - b);
      expect(queue.deadline()).toBe(times[0]);
      const taken: number[] = [];
      for (let item = queue.take(asInstant(now)); item !== undefined; item = queue.take(asInstant(now)))
        taken.push(model.get(item.name) ?? -1);
      expect(taken).toEqual(times.filter((t) => t <= now));
    }),
  );
});
