import { encodeGrpcMessage, FrameSplitter } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Outbox } from "./outbox.ts";
import { SlabPool } from "./slab.ts";
import { Turn } from "./turn.ts";

/** An outbox whose connection takes writes when it is told to, and copies them only then. */
function world(slabBytes: number) {
  const open: { readonly bytes: Uint8Array; readonly done: () => void }[] = [];
  const taken: Uint8Array[] = [];
  let progress = 0;
  const outbox = new Outbox({
    sink: (bytes, done) => open.push({ bytes, done }),
    turn: new Turn(),
    slabs: new SlabPool(slabBytes, 2),
    onProgress: () => {
      progress += 1;
    },
  });
  const take = () => {
    const next = open.shift();
    if (next === undefined) return false;
    taken.push(Buffer.from(next.bytes));
    next.done();
    return true;
  };
  const frames = (): string[] => {
    const out: string[] = [];
    const splitter = new FrameSplitter();
    for (const bytes of taken)
      splitter.push(bytes, (buffer, start, end) =>
        out.push(Buffer.from(buffer.subarray(start, end)).toString("latin1")),
      );
    expect(splitter.end()).toBeUndefined();
    return out;
  };
  return { outbox, open, take, frames, progress: () => progress };
}

test("frames leave once, whole and in order, whatever the connection takes and when", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("add" as const), length: fc.integer({ min: 0, max: 700 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("take" as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const { outbox, open, take, frames } = world(512);
      const expected: string[] = [];
      for (const each of steps) {
        if (each.do === "add") {
          const text = `${expected.length}:`.padEnd(each.length, String.fromCharCode(97 + (expected.length % 26)));
          expected.push(text);
          const surrounded = Buffer.from(`<<${text}>>`, "latin1");
          outbox.add(surrounded, 2, surrounded.length - 2);
        } else if (each.do === "flush") outbox.flush();
        else take();
        expect(open.length).toBeLessThanOrEqual(2);
      }
      outbox.flush();
      while (take());
      expect(frames()).toEqual(expected);
      expect(outbox.bytes).toBe(0);
    }),
  );
});

test("frames that leave as they came in are one copy, those of elsewhere are framed anew", () => {
  const frame = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(fc.array(fc.tuple(frame, fc.boolean()), { maxLength: 60 }), (sent) => {
      const { outbox, take, frames } = world(512);
      // What was received: every frame behind its prefix, in one buffer.
      const received = Buffer.concat(sent.map(([bytes]) => encodeGrpcMessage(bytes)));
      let at = 0;
      for (const [bytes, isOwn] of sent) {
        const end = at + 5 + bytes.length;
        if (isOwn) outbox.add(bytes, 0, bytes.length);
        else outbox.add(received, at + 5, end);
        at = end;
      }
      outbox.flush();
      while (take());
      expect(frames()).toEqual(sent.map(([bytes]) => Buffer.from(bytes).toString("latin1")));
    }),
  );
});

test("much to one link is written before the turn is over", () => {
  const { outbox, open } = world(262_144);
  for (let i = 0; i < 70; i++) outbox.add(Buffer.alloc(995), 0, 995);
  expect(open.map(({ bytes }) => bytes.length)).toEqual([66_000]);
});

test("everything of a turn is one write, and bytes count until the connection has taken them", () => {
  const { outbox, open, take, progress } = world(4_096);
  for (let i = 0; i < 10; i++) outbox.add(Buffer.alloc(95), 0, 95);
  expect(outbox.bytes).toBe(1_000);
  outbox.flush();
  expect(open.map(({ bytes }) => bytes.length)).toEqual([1_000]);
  expect(outbox.bytes).toBe(1_000);
  take();
  expect([outbox.bytes, progress()]).toEqual([0, 1]);
});

test("a blocked outbox lets go of received buffers and slabs", () => {
  const { outbox, take, frames } = world(4_096);
  const frame = Buffer.alloc(100, 1);
  for (let i = 0; i < 20; i++) {
    outbox.add(frame, 0, frame.length);
    outbox.flush();
  }
  // What waits was copied: changing the buffer afterwards changes nothing of it.
  frame.fill(2);
  while (take());
  expect(new Set(frames().map((text) => text.charCodeAt(0)))).toEqual(new Set([1]));
});

test("a discarded outbox writes nothing more", () => {
  const { outbox, open, take } = world(4_096);
  for (let i = 0; i < 5; i++) {
    outbox.add(Buffer.alloc(10), 0, 10);
    outbox.flush();
  }
  outbox.discard();
  outbox.add(Buffer.alloc(10), 0, 10);
  outbox.flush();
  const before = open.length;
  while (take());
  expect([before, open.length, outbox.bytes]).toEqual([2, 0, 0]);
});

test("slabs are used again once what was in them has left", () => {
  const slabs = new SlabPool(1_024, 4);
  const memory = new Set<ArrayBufferLike>();
  for (let i = 0; i < 100; i++) {
    const regions = [slabs.take(700), slabs.take(700), slabs.take(700)];
    for (const region of regions) {
      memory.add(region.bytes.buffer);
      region.release();
    }
  }
  expect(memory.size).toBeLessThanOrEqual(5);
});
