import fc from "fast-check";
import { expect, test } from "vitest";
import { Duplicates } from "./duplicates.ts";

const id = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(400)).map(([a, b, c]) => {
  const bytes = new Uint8Array(20);
  bytes[2] = a;
  bytes[9] = b;
  bytes[16] = c >> 8;
  bytes[17] = c & 0xff;
  return bytes;
});
const step = fc.record({
  source: fc.constantFrom("spiffe://a.example/x", "spiffe://a.example/y", "spiffe://b.example/x"),
  id,
  peer: fc.option(fc.constantFrom("p", "q")),
  isDelivered: fc.boolean(),
});

test("what is remembered of a message is its own, and the last messages are remembered [AAP-70]", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: "max" }), fc.constantFrom(4, 30, 100_000), (steps, max) => {
      const duplicates = new Duplicates(max);
      const known = new Map<string, { sentTo: Set<string>; isDelivered: boolean }>();
      const order: string[] = [];
      for (const { source, id: bytes, peer, isDelivered } of steps) {
        const key = `${source} ${bytes.join(",")}`;
        const isFirst = duplicates.note(source, bytes, 2);
        const held = known.get(key);
        // Never taken for a duplicate unless it came before; never forgotten while fewer than `max` others came since.
        if (held === undefined) expect(isFirst).toBe(true);
        const since = order.lastIndexOf(key);
        if (since >= 0 && new Set(order.slice(since)).size <= max) expect(isFirst).toBe(false);
        const now = isFirst || held === undefined ? { sentTo: new Set<string>(), isDelivered: false } : held;
        known.set(key, now);
        order.push(key);
        for (const each of ["p", "q"]) expect(duplicates.wasSentTo(each)).toBe(now.sentTo.has(each));
        if (peer !== null) {
          duplicates.noteSentTo(peer);
          now.sentTo.add(peer);
        }
        if (isDelivered) {
          expect(duplicates.deliverHere()).toBe(now.isDelivered);
          now.isDelivered = true;
        }
      }
    }),
    { numRuns: 100 },
  );
});

test("a table that has grown through thousands of messages knows each of them", () => {
  const duplicates = new Duplicates(65_536);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 20_000; i++) {
    view.setUint32(12, i);
    expect(duplicates.note("spiffe://a.example/x", bytes, 0)).toBe(true);
    if (i % 3 === 0) duplicates.noteSentTo("p");
  }
  for (let i = 0; i < 20_000; i++) {
    view.setUint32(12, i);
    expect(duplicates.note("spiffe://a.example/x", bytes, 0)).toBe(false);
    expect(duplicates.wasSentTo("p")).toBe(i % 3 === 0);
  }
});
