import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeGrpcMessage, FrameSplitter } from "./grpc-framing.ts";

const concat = (parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((p) => [...p]));
const collect = (splitter: FrameSplitter, chunks: readonly Uint8Array[]) => {
  const out: Uint8Array[] = [];
  for (const chunk of chunks) {
    const refusal = splitter.push(chunk, (buf, start, end) => out.push(buf.slice(start, end)));
    if (refusal !== undefined) return { out, refusal };
  }
  return { out, refusal: splitter.end() };
};

test("prefix: flag 0, length big-endian", () => {
  expect([...encodeGrpcMessage(new Uint8Array(258)).subarray(0, 5)]).toEqual([0, 0, 0, 1, 2]);
});

test("messages come out as they went in, however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 }),
      (messages, cuts) => {
        const stream = concat(messages.map(encodeGrpcMessage));
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] ?? 1;
          chunks.push(stream.slice(at, at + size));
          at += size;
        }
        const { out, refusal } = collect(new FrameSplitter(), chunks);
        expect(refusal).toBeUndefined();
        expect(out).toEqual(messages);
      },
    ),
  );
});

test("a message inside one chunk is not copied", () => {
  const chunk = concat([encodeGrpcMessage(Uint8Array.of(1)), encodeGrpcMessage(Uint8Array.of(2))]);
  const seen: unknown[] = [];
  new FrameSplitter().push(chunk, (buf, start, end) => seen.push([buf === chunk, start, end]));
  expect(seen).toEqual([
    [true, 5, 6],
    [true, 11, 12],
  ]);
});

test("a straddling message keeps its buffer after the next one came", () => {
  const whole = encodeGrpcMessage(Uint8Array.of(1, 2, 3));
  const kept: Uint8Array[] = [];
  const splitter = new FrameSplitter();
  for (let i = 0; i < 2; i++) {
    splitter.push(whole.slice(0, 6), () => undefined);
    splitter.push(whole.slice(6), (buf, start, end) => kept.push(buf.subarray(start, end)));
  }
  kept[1]?.fill(9);
  expect([...(kept[0] ?? [])]).toEqual([1, 2, 3]);
});

test("a compressed message is refused for good", () => {
  const splitter = new FrameSplitter();
  const first = splitter.push(Uint8Array.of(1, 0, 0, 0, 0), () => undefined);
  expect(first?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
  expect(splitter.push(encodeGrpcMessage(Uint8Array.of(1)), () => expect.unreachable())).toBe(first);
});

test("an announced length over the bound is refused at once, and holds no memory", () => {
  const splitter = new FrameSplitter({ messageBytesMax: 10 });
  expect(splitter.push(Uint8Array.of(0, 0, 0, 0, 11), () => undefined)?.code).toBe("CAUSEWAY_FRAME_TOO_LARGE");
  const huge = new FrameSplitter();
  expect(huge.push(Uint8Array.of(0, 255, 255, 255, 255), () => undefined)?.code).toBe("CAUSEWAY_FRAME_TOO_LARGE");
});

test("memory follows what came, not what was announced", () => {
  const splitter = new FrameSplitter();
  splitter.push(Uint8Array.of(0, 0, 0x40, 0, 0, 1), () => undefined);
  expect(splitter.pendingBytes).toBe(6);
});

test("a stream that ends inside a message is refused", () => {
  for (const cut of [1, 4, 5, 7]) {
    const { refusal } = collect(new FrameSplitter(), [encodeGrpcMessage(Uint8Array.of(1, 2, 3)).slice(0, cut)]);
    expect(refusal?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
  }
});

test("any bytes: messages or a typed refusal", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 10 }), (chunks) => {
      const { refusal } = collect(new FrameSplitter({ messageBytesMax: 64 }), chunks);
      if (refusal !== undefined) expect(refusal.code).toMatch(/^CAUSEWAY_FRAME_/);
    }),
    { numRuns: 500 },
  );
});

test("a bound that is no positive integer is misuse", () => {
  expect(() => new FrameSplitter({ messageBytesMax: 0 })).toThrow(expect.objectContaining({ code: "CAUSEWAY_MISUSE" }));
});
