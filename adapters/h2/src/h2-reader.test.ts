import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeH2Frame } from "./h2-frames.ts";
import { H2Reader } from "./h2-reader.ts";

/** What a reader tells of bytes that come in these chunks. */
function told(chunks: readonly Uint8Array[]) {
  const events: string[] = [];
  let data = "";
  const reader = new H2Reader({
    dataFrame: (length) => void events.push(`frame ${length}`),
    data: (chunk, start, end) => {
      data += Buffer.from(chunk.subarray(start, end)).toString("hex");
    },
    ended: () => void events.push(`end ${data}`),
    headers: () => void events.push("headers"),
    control: (type, flags, stream, payload) =>
      void events.push(`${type} ${flags} ${stream} ${Buffer.from(payload).toString("hex")}`),
  });
  let fault: number | undefined;
  for (const chunk of chunks) fault ??= reader.push(chunk, 0, chunk.length);
  return { events, data, fault };
}

const frame = fc
  .record({
    type: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 12 })),
    flags: fc.constantFrom(0, 1, 4, 5, 8, 9),
    stream: fc.constantFrom(0, 1, 1, 1, 3),
    payload: fc.uint8Array({ maxLength: 300 }),
  })
  .map(({ type, flags, stream, payload }) => {
    const bytes = encodeH2Frame(type, flags, payload);
    bytes.writeUInt32BE(stream, 5);
    return bytes;
  });

test("where chunks end makes no difference", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 12 }), fc.array(fc.nat(2_000), { maxLength: 30 }), (frames, cuts) => {
      const bytes = Buffer.concat(frames);
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
      expect(told(chunks)).toEqual(told([bytes]));
    }),
    { numRuns: 500 },
  );
});

test("nothing outside the chunk is handed on, whatever comes", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 20 }), (chunks) => {
      const reader = new H2Reader({
        dataFrame: () => undefined,
        data: (chunk, start, end) => {
          expect(start).toBeGreaterThanOrEqual(0);
          expect(end).toBeLessThanOrEqual(chunk.length);
          expect(start).toBeLessThan(end);
        },
        ended: () => undefined,
        headers: () => undefined,
        control: (_type, _flags, _stream, payload) => void expect(payload.length).toBeLessThanOrEqual(192),
      });
      for (const chunk of chunks) if (reader.push(chunk, 0, chunk.length) !== undefined) return;
    }),
  );
});
