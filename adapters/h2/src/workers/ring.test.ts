import fc from "fast-check";
import { expect, test } from "vitest";
import { createRing, payloadBytesMax, RingReader, RingWriter } from "./ring.ts";
import { RingOutput } from "./ring-output.ts";

const ringBytes = 4_096;

interface Said {
  readonly kind: number;
  readonly connection: number;
  readonly value: number;
  readonly bytes: string;
}

function collect(reader: RingReader, bytesMax = ringBytes): { readonly got: Said[]; readonly isEmpty: boolean } {
  const got: Said[] = [];
  const isEmpty = reader.read((kind, connection, value, memory, start, end) => {
    got.push({ kind, connection, value, bytes: memory.toString("latin1", start, end) });
  }, bytesMax);
  return { got, isEmpty };
}

const record = fc.record({
  kind: fc.integer({ min: 1, max: 10 }),
  connection: fc.integer({ min: 0, max: 0x7fffffff }),
  value: fc.integer({ min: 0, max: 0x7fffffff }),
  bytes: fc.string({ maxLength: 500 }).map((text) => Buffer.from(text, "utf8").subarray(0, 480).toString("latin1")),
});

const step = fc.oneof(
  fc.record({ do: fc.constant("write" as const), record }),
  fc.record({ do: fc.constant("publish" as const) }),
  fc.record({ do: fc.constant("read" as const), bytesMax: fc.integer({ min: 1, max: ringBytes }) }),
  fc.record({ do: fc.constant("free" as const) }),
);

test("what was written is read once, in order, whole, and only when it was shown; what is not freed stays as it is", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const memory = createRing(ringBytes);
      const writer = new RingWriter(memory);
      const reader = new RingReader(memory);
      const written: Said[] = [];
      let shown = 0;
      let taken = 0;
      const unfreed: { readonly memory: Buffer; readonly start: number; readonly end: number; readonly is: string }[] =
        [];
      for (const s of steps) {
        if (s.do === "write") {
          const { kind, connection, value } = s.record;
          const bytes = Buffer.from(s.record.bytes, "latin1");
          if (writer.write(kind, connection, value, bytes, 0, bytes.length)) written.push(s.record);
        } else if (s.do === "publish") {
          writer.publish();
          shown = written.length;
        } else if (s.do === "free") {
          reader.free();
          unfreed.length = 0;
        } else {
          reader.read((kind, connection, value, data, start, end) => {
            const bytes = data.toString("latin1", start, end);
            expect({ kind, connection, value, bytes }).toEqual(written[taken]);
            taken += 1;
            unfreed.push({ memory: data, start, end, is: bytes });
          }, s.bytesMax);
          expect(taken).toBeLessThanOrEqual(shown);
        }
        for (const { memory: data, start, end, is } of unfreed) expect(data.toString("latin1", start, end)).toBe(is);
      }
      writer.publish();
      while (!reader.read(() => void (taken += 1), ringBytes));
      expect(taken).toBe(written.length);
    }),
    { numRuns: 300 },
  );
});

test("a full ring takes nothing until the reader frees, and then wakes the writer that waits", () => {
  const memory = createRing(ringBytes);
  const writer = new RingWriter(memory);
  const reader = new RingReader(memory);
  const bytes = Buffer.alloc(240);
  let count = 0;
  while (writer.write(1, 1, 0, bytes, 0, bytes.length)) count += 1;
  expect(count).toBe(16);
  expect(writer.waitForRoom()).toBe(true);
  writer.publish();
  expect(collect(reader).got).toHaveLength(16);
  // Read is not freed.
  expect(writer.write(1, 1, 0, bytes, 0, bytes.length)).toBe(false);
  expect(reader.free()).toBe(true);
  expect(reader.free()).toBe(false);
  expect(writer.write(1, 1, 0, bytes, 0, bytes.length)).toBe(true);
});

test("a reader sleeps only when there is nothing, and is woken once", () => {
  const memory = createRing(ringBytes);
  const writer = new RingWriter(memory);
  const reader = new RingReader(memory);
  expect(reader.sleep()).toBe(true);
  expect(writer.publish()).toBe(false);
  writer.write(1, 1, 0, Buffer.alloc(0), 0, 0);
  expect(writer.publish()).toBe(true);
  writer.write(1, 1, 0, Buffer.alloc(0), 0, 0);
  expect(writer.publish()).toBe(false);
  expect(reader.sleep()).toBe(false);
  collect(reader);
  expect(reader.sleep()).toBe(true);
});

test("positions that pass 2^32 make no difference", () => {
  const memory = createRing(ringBytes);
  const writer = new RingWriter(memory);
  const reader = new RingReader(memory);
  const bytes = Buffer.alloc(payloadBytesMax(ringBytes), 7);
  let taken = 0;
  // 8.4 million records of 512 bytes go once around.
  for (let i = 0; i < 8_500_000; i++) {
    if (!writer.write(1, i, 0, bytes, 0, bytes.length)) throw new Error(`no room at ${i}`);
    if (i % 7 !== 6) continue;
    writer.publish();
    reader.read((_kind, connection) => {
      if (connection !== taken) throw new Error(`expected ${taken}, got ${connection}`);
      taken += 1;
    }, ringBytes);
    reader.free();
  }
  expect(taken).toBe(8_500_000 - (8_500_000 % 7));
}, 30_000);

test("an output sends what is longer than the ring, and in order with what comes behind it", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 20 }), (lengths) => {
      const memory = createRing(ringBytes);
      const reader = new RingReader(memory);
      let wakes = 0;
      let rooms = 0;
      const output = new RingOutput(memory, payloadBytesMax(ringBytes), {
        wake: () => void (wakes += 1),
        onRoom: () => void (rooms += 1),
      });
      expect(reader.sleep()).toBe(true);
      const sent = lengths.map((length, i) => Buffer.alloc(length, i + 1));
      for (const [i, bytes] of sent.entries()) {
        output.send(2, i, bytes);
        output.tell(4, i, bytes.length);
        bytes.fill(0);
      }
      output.flush();
      expect(wakes).toBe(1);
      const wasFull = output.isFull;
      const got: Said[] = [];
      for (let round = 0; round === 0 || output.isFull || round % 2 === 1; round++) {
        got.push(...collect(reader).got);
        reader.free();
        output.flush();
      }
      got.push(...collect(reader).got);
      expect(rooms).toBe(wasFull ? 1 : 0);
      for (const [i, length] of lengths.entries()) {
        const own = got.filter(({ connection }) => connection === i);
        expect(own.at(-1)).toMatchObject({ kind: 4, value: length });
        const bytes = own
          .slice(0, -1)
          .map((said) => said.bytes)
          .join("");
        expect(bytes).toBe(Buffer.alloc(length, i + 1).toString("latin1"));
      }
      expect(got.map(({ connection }) => connection)).toEqual(
        got.map(({ connection }) => connection).toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 100 },
  );
});
