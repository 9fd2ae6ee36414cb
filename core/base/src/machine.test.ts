import fc from "fast-check";
import { expect, test } from "vitest";
import { Timers } from "./machine.ts";
import { asInstant, earliest, later } from "./time.ts";

const at = asInstant;

test("one deadline, the earliest", () => {
  const timers = new Timers<"a" | "b">();
  expect(timers.deadline()).toBeUndefined();
  timers.set("a", at(20));
  timers.set("b", at(10));
  expect(timers.deadline()).toBe(10);
  timers.set("b", at(30));
  expect([timers.deadline(), timers.at("b")]).toEqual([20, 30]);
  timers.clear("a");
  expect(timers.deadline()).toBe(30);
  timers.clearAll();
  expect(timers.deadline()).toBeUndefined();
});

test("due timers come once, earliest first, the deadline itself included", () => {
  const timers = new Timers<"a" | "b" | "c">();
  timers.set("a", at(20));
  timers.set("b", at(10));
  timers.set("c", at(21));
  expect(timers.takeDue(at(9))).toEqual([]);
  expect(timers.takeDue(at(20))).toEqual(["b", "a"]);
  expect(timers.takeDue(at(20))).toEqual([]);
  expect(timers.deadline()).toBe(21);
});

test("equals a naive model", () => {
  const names = ["a", "b", "c"] as const;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(...names), fc.option(fc.nat(50)))), fc.nat(50), (steps, now) => {
      const timers = new Timers<(typeof names)[number]>();
      const model = new Map<string, number>();
      for (const [name, due] of steps) {
        if (due === null) {
          timers.clear(name);
          model.delete(name);
        } else {
          timers.set(name, at(due));
          model.set(name, due);
        }
      }
      const due = [...model].filter(([, t]) => t <= now).map(([n]) => n);
      expect([...timers.takeDue(at(now))].sort()).toEqual(due.sort());
      expect(timers.deadline()).toBe(earliest(...[...model.values()].filter((t) => t > now).map(at)));
    }),
  );
});

test("later and earliest", () => {
  expect(later(at(5), 3)).toBe(8);
  expect(earliest(undefined, at(4), at(2), undefined)).toBe(2);
  expect(earliest()).toBeUndefined();
});
