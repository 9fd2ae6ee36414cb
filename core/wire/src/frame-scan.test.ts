import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeMessageFrame, type HeaderInit, wrapFrame } from "./frame.ts";
import { decrementTtl, FrameKind, FrameScan, hex, scanFrame } from "./frame-scan.ts";
import { FrameSchema } from "./gen/causeway/agp/v1/agp_pb.js";
import { wireLimits } from "./limits.ts";

const id16 = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const base = {
  targetKind: 1,
  target: "spiffe://b.example/y",
  source: "spiffe://a.example/x",
  messageId: id16,
} satisfies HeaderInit;
const from = (text: string): Uint8Array => Uint8Array.from(text.match(/../g) ?? [], (h) => Number.parseInt(h, 16));
const join = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((p) => [...p]));
const scanned = (frame: Uint8Array): { scan: FrameScan; code: string | undefined } => {
  const scan = new FrameScan();
  return { scan, code: scanFrame(frame, 0, frame.length, scan)?.code };
};
/** A message frame from raw header bytes. */
const messageOf = (header: Uint8Array, ...more: readonly Uint8Array[]): Uint8Array =>
  wrapFrame(1, join(wrapFrame(1, header), wrapFrame(2, from("00")), ...more));
const rawHeader = (init: HeaderInit): Uint8Array => {
  const { scan } = scanned(encodeMessageFrame(init, from("00")));
  return scan.buf.slice(scan.headerStart, scan.headerEnd);
};

const segment = fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/);
const domain = fc.stringMatching(/^[a-z0-9-]{1,8}\.example$/);
const agent = fc
  .tuple(domain, fc.array(segment, { minLength: 1, maxLength: 4 }))
  .map(([d, p]) => `spiffe://${d}/${p.join("/")}`);
const headers: fc.Arbitrary<HeaderInit> = fc.record({
  version: fc.constantFrom(0, 1),
  targetKind: fc.constant(1),
  target: agent,
  source: fc.tuple(agent, fc.option(segment)).map(([a, i]) => (i === null ? a : `${a}/@${i}`)),
  messageId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  hopTtl: fc.integer({ min: 1, max: 127 }),
  expiresUnixMs: fc.bigInt(0n, 2n ** 53n - 1n),
  securityContextId: fc.uint8Array({ maxLength: 64 }),
  trafficClass: fc.integer({ min: 0, max: 3 }),
  deliveryMode: fc.integer({ min: 0, max: 2 }),
  traceContext: fc.stringMatching(/^[0-9a-f-]{0,64}$/),
  flags: fc.integer({ min: 0, max: 0xffffffff }),
});

test("the scanner reads what protobuf reads", () => {
  fc.assert(
    fc.property(headers, fc.uint8Array({ maxLength: 300 }), fc.nat(9), (init, payload, shift) => {
      const frame = encodeMessageFrame(init, payload);
      // At an offset and between poison, so that reading outside would show.
      const buf = new Uint8Array(frame.length + 20).fill(0xff);
      buf.set(frame, shift);
      const scan = new FrameScan();
      expect(scanFrame(buf, shift, shift + frame.length, scan)).toBeUndefined();
      const { body } = fromBinary(FrameSchema, frame);
      const header = body.case === "message" ? body.value.header : undefined;
      expect({
        version: scan.version,
        target: scan.target(),
        source: scan.source(),
        messageId: scan.messageId(),
        hopTtl: scan.hopTtl,
        expiresUnixMs: BigInt(scan.expiresUnixMs),
        context: buf.slice(scan.securityContextStart, scan.securityContextEnd),
        trafficClass: scan.trafficClass,
        deliveryMode: scan.deliveryMode,
        traceContext: scan.traceContext(),
        flags: scan.flags,
        payload: buf.slice(scan.payloadStart, scan.payloadEnd),
      }).toEqual({
        version: header?.version,
        target: header?.target,
        source: header?.source,
        messageId: hex(header?.messageId ?? id16),
        hopTtl: header?.hopTtl,
        expiresUnixMs: header?.expiresUnixMs,
        context: header?.securityContextId,
        trafficClass: header?.trafficClass,
        deliveryMode: header?.deliveryMode,
        traceContext: header?.traceContext,
        flags: header?.flags,
        payload,
      });
    }),
  );
});

test("a hop changes the TTL and nothing else; unknown fields of every level survive [AGP-57]", () => {
  const unknown = from("a2063c"); // field 100, wire type 2, announced length follows below
  const field100 = join(unknown.subarray(0, 2), from("03010203"));
  const fixed = from("a9060102030405060708"); // field 101, fixed64
  const frame = join(
    wrapFrame(
      1,
      join(
        wrapFrame(1, join(field100, rawHeader({ ...base, hopTtl: 16 }), fixed)),
        fixed,
        wrapFrame(2, from("0a0b")),
        field100,
      ),
    ),
    field100,
  );
  const before = frame.slice();
  const { scan, code } = scanned(frame);
  expect(code).toBeUndefined();
  decrementTtl(scan);
  const changed = [...frame].flatMap((byte, i) => (byte === before[i] ? [] : [[i, before[i], byte]]));
  expect(changed).toEqual([[scan.hopTtlAt, 16, 15]]);
  const { body } = fromBinary(FrameSchema, frame);
  const header = body.case === "message" ? body.value.header : undefined;
  expect(header?.hopTtl).toBe(15);
  expect(header?.$unknown?.map((u) => u.no)).toEqual([100, 101]);
});

describe("a routing header out of bounds is refused [AAP-69]", () => {
  const cases: Record<string, HeaderInit> = {
    "version 2": { ...base, version: 2 },
    "TTL 0": { ...base, hopTtl: 0 },
    "TTL 128": { ...base, hopTtl: 128 },
    "no message id": { ...base, messageId: new Uint8Array(0) },
    "message id of 15 bytes": { ...base, messageId: id16.subarray(1) },
    "expiry of 2^53": { ...base, expiresUnixMs: 2n ** 53n },
    "context of 65 bytes": { ...base, securityContextId: new Uint8Array(65) },
    "trace of 65 bytes": { ...base, traceContext: "x".repeat(65) },
    "no source": { ...base, source: "" },
    "source without scheme": { ...base, source: "a.example/x" },
    "source with an empty segment": { ...base, source: "spiffe://a.example//x" },
    "no target": { ...base, target: "" },
    "target of 513 bytes": { ...base, target: `spiffe://b.example/${"y".repeat(494)}` },
    "target with dots": { ...base, target: "spiffe://b.example/../y" },
    "target with a non-ASCII letter": { ...base, target: "spiffe://b.example/ü" },
    "target with an upper-case domain": { ...base, target: "spiffe://B.example/y" },
    "instance in the middle": { ...base, target: "spiffe://b.example/@1/y" },
    "no target kind": { ...base, targetKind: 0 },
    "unknown target kind": { ...base, targetKind: 9 as 1 },
    "a prefix with an empty segment": { ...base, targetKind: 2, target: "spiffe://b.example//" },
    "a topic with scheme": { ...base, targetKind: 3, target: "spiffe://b.example/t" },
    "a topic with wildcard": { ...base, targetKind: 3, target: "b.example/t/*" },
  };
  for (const [name, init] of Object.entries(cases)) {
    test(name, () => {
      expect(scanned(encodeMessageFrame(init, from("00"))).code).toBe("CAUSEWAY_HEADER_INVALID");
    });
  }

  test("while every kind of good target passes", () => {
    for (const [targetKind, target] of [
      [1, "spiffe://b.example/y/@i-1"],
      [2, "spiffe://b.example"],
      [2, "spiffe://b.example/team/"],
      [3, "b.example/y/deals"],
    ] as const) {
      expect(scanned(encodeMessageFrame({ ...base, targetKind, target }, from("00"))).code).toBeUndefined();
    }
  });
});

describe("malformed frames are refused", () => {
  const good = rawHeader(base);
  const cases: Record<string, readonly [Uint8Array, string]> = {
    empty: [from(""), "CAUSEWAY_FRAME_MALFORMED"],
    "tag only": [from("0a"), "CAUSEWAY_FRAME_MALFORMED"],
    "length beyond the end": [from("0a05"), "CAUSEWAY_FRAME_MALFORMED"],
    "field number 0": [from("0200"), "CAUSEWAY_FRAME_MALFORMED"],
    group: [from("fb0600fc06"), "CAUSEWAY_FRAME_MALFORMED"],
    "body of the wrong wire type": [from("0800"), "CAUSEWAY_FRAME_MALFORMED"],
    "overlong length": [from("3a8000"), "CAUSEWAY_FRAME_MALFORMED"],
    "length of six bytes": [from("3a808080808001"), "CAUSEWAY_FRAME_MALFORMED"],
    "length over 32 bits": [from("3affffffff1f"), "CAUSEWAY_FRAME_MALFORMED"],
    "two bodies": [from("3a004200"), "CAUSEWAY_FRAME_MALFORMED"],
    "the same body twice": [from("3a003a00"), "CAUSEWAY_FRAME_MALFORMED"],
    "only an unknown body": [from("ea0700"), "CAUSEWAY_FRAME_UNKNOWN"],
    "no header": [wrapFrame(1, wrapFrame(2, from("00"))), "CAUSEWAY_HEADER_INVALID"],
    "two headers": [messageOf(good, wrapFrame(1, good)), "CAUSEWAY_FRAME_MALFORMED"],
    "two payloads": [messageOf(good, wrapFrame(2, from("00"))), "CAUSEWAY_FRAME_MALFORMED"],
    "two targets": [messageOf(join(good, wrapFrame(3, from("61")))), "CAUSEWAY_FRAME_MALFORMED"],
    "overlong TTL": [
      messageOf(
        join(
          good.filter((_, i) => i < good.length - 2),
          from("309000"),
        ),
      ),
      "CAUSEWAY_FRAME_MALFORMED",
    ],
    "header over its bound": [
      messageOf(join(good, from("a206"), from("8020"), new Uint8Array(4096))),
      "CAUSEWAY_HEADER_INVALID",
    ],
    "control without header": [wrapFrame(2, wrapFrame(3, from(""))), "CAUSEWAY_HEADER_INVALID"],
    "control with two bodies": [
      wrapFrame(2, join(wrapFrame(1, good), wrapFrame(3, from("")), wrapFrame(4, from("")))),
      "CAUSEWAY_FRAME_MALFORMED",
    ],
    "control with a long request id": [
      wrapFrame(2, join(wrapFrame(1, good), wrapFrame(2, new Uint8Array(17)))),
      "CAUSEWAY_HEADER_INVALID",
    ],
  };
  for (const [name, [frame, expected]] of Object.entries(cases)) {
    test(name, () => expect(scanned(frame).code).toBe(expected));
  }

  test("payload over 4 MiB", () => {
    const payload = new Uint8Array(wireLimits.payloadBytesMax + 1);
    expect(scanned(encodeMessageFrame(base, payload)).code).toBe("CAUSEWAY_FORWARDING_TOO_LARGE");
    expect(scanned(encodeMessageFrame(base, payload.subarray(1))).code).toBeUndefined();
  });

  test("frame over its bound", () => {
    expect(scanned(new Uint8Array(wireLimits.frameBytesMax + 1)).code).toBe("CAUSEWAY_FRAME_TOO_LARGE");
  });

  test("a frame cut at any byte", () => {
    const frame = encodeMessageFrame({ ...base, flags: 1 }, from("0102"));
    for (let end = 0; end < frame.length; end++) {
      const scan = new FrameScan();
      expect(scanFrame(frame, 0, end, scan)?.code, `cut at ${end}`).toMatch(/MALFORMED|INVALID/);
    }
  });

  test("a control frame names its body and request", () => {
    const { scan, code } = scanned(
      wrapFrame(2, join(wrapFrame(1, good), wrapFrame(2, id16), wrapFrame(6, from("0801")))),
    );
    expect([code, scan.kind, scan.controlBody, scan.requestIdEnd - scan.requestIdStart]).toEqual([
      undefined,
      FrameKind.control,
      6,
      16,
    ]);
  });
});

test("any bytes at any range: a typed refusal or offsets inside the range, whatever lies around it", () => {
  const sample = encodeMessageFrame({ ...base, expiresUnixMs: 5n, flags: 3, traceContext: "t" }, from("0102030405"));
  const damaged = fc
    .tuple(fc.nat(sample.length), fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 3 }))
    .map(([end, edits]) => {
      const copy = sample.slice(0, end);
      for (const [at, value] of edits) if (at < copy.length) copy[at] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 120 })), (frame) => {
      const results = [0x00, 0xff].map((poison) => {
        const buf = new Uint8Array(frame.length + 16).fill(poison);
        buf.set(frame, 8);
        const scan = new FrameScan();
        const refusal = scanFrame(buf, 8, 8 + frame.length, scan);
        if (refusal === undefined && scan.kind === FrameKind.message) {
          for (const [a, b] of [
            [scan.headerStart, scan.headerEnd],
            [scan.targetStart, scan.targetEnd],
            [scan.sourceStart, scan.sourceEnd],
            [scan.messageIdStart, scan.messageIdEnd],
            [scan.payloadStart, scan.payloadEnd],
            [scan.securityContextStart, scan.securityContextEnd],
            [scan.hopTtlAt, scan.hopTtlAt + 1],
          ] as const) {
            expect(8 <= a && a <= b && b <= 8 + frame.length).toBe(true);
          }
        }
        return { code: refusal?.code, kind: scan.kind, ttl: scan.hopTtl };
      });
      expect(results[0]?.code).toBe(results[1]?.code);
    }),
    { numRuns: 3_000 },
  );
});

test("a range outside the buffer is refused, not read", () => {
  const scan = new FrameScan();
  expect(scanFrame(from("3a00"), 0, 3, scan)?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
  expect(scanFrame(from("3a00"), -1, 2, scan)?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
  expect(scanFrame(from("3a00"), 2, 1, scan)?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
});
