import fc from "fast-check";
import { expect, test } from "vitest";
import { Heap } from "./heap.ts";

type Entry = readonly [key: number, order: number];

test("whatever is added, taken and left out: the first of all that is there comes first", () => {
  const steps = fc.array(
    fc.oneof(
      fc.nat(20).map((key) => ({ key })),
      fc.constant("take" as const),
      fc.nat(20).map((above) => ({ above })),
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(steps, (inputs) => {
      const compare = (a: Entry, b: Entry): number => a[0] - b[0] || a[1] - b[1];
      const heap = new Heap<Entry>((a, b) => compare(a, b) < 0);
      let model: Entry[] = [];
      for (const [order, input] of inputs.entries()) {
        if (input === "take") expect(heap.pop()).toEqual(model.shift());
        else if ("key" in input) {
          heap.push([input.key, order]);
          model = [...model, [input.key, order] as Entry].sort(compare);
        } else {
          heap.retain(([key]) => key <= input.above);
          model = model.filter(([key]) => key <= input.above);
        }
        expect([heap.size, heap.peek()]).toEqual([model.length, model[0]]);
      }
      while (model.length > 0) expect(heap.pop()).toEqual(model.shift());
      expect(heap.pop()).toBeUndefined();
    }),
    { numRuns: 300 },
  );
});
