import { parseGatewayUri } from "@causeway/core-base";
import fc from "fast-check";
import { expect, test } from "vitest";
import { addressCopy, forGatewaysMax, gatewaysOf } from "./addressed-copy.ts";
import { encodeMessageFrame } from "./frame.ts";
import { FrameScan, scanFrame } from "./frame-scan.ts";

const uris = ["https://a.example/amsp", "https://b.example", "10.0.0.1:7443"].map(parseGatewayUri);
const plain = encodeMessageFrame(
  {
    targetKind: 3,
    target: "blue.example/x/news",
    source: "spiffe://blue.example/x",
    messageId: new Uint8Array(16).fill(7),
  },
  Uint8Array.of(1, 2, 3),
);

function scanned(frame: Uint8Array, start = 0, end = frame.length): FrameScan {
  const scan = new FrameScan();
  expect(scanFrame(frame, start, end, scan)).toBeUndefined();
  return scan;
}

test("a list is added, read, replaced and taken off; the body and unknown fields stay what they were", () => {
  // Field 99, a varint: from a later version.
  const unknown = Uint8Array.of(0x98, 0x06, 0x05);
  const frame = Uint8Array.from([...plain, ...unknown]);
  const listed = addressCopy(scanned(frame), uris);
  expect(gatewaysOf(scanned(listed))).toEqual(new Set(uris));
  const other = addressCopy(scanned(listed), uris.slice(1));
  expect(gatewaysOf(scanned(other))).toEqual(new Set(uris.slice(1)));
  expect(addressCopy(scanned(other), undefined)).toEqual(frame);
  expect(gatewaysOf(scanned(frame))).toBeUndefined();
});

test("the scan works at an offset, and a later scan forgets the list", () => {
  const listed = addressCopy(scanned(plain), uris);
  const buffer = new Uint8Array(listed.length + 20);
  buffer.set(listed, 9);
  const scan = scanned(buffer, 9, 9 + listed.length);
  expect(gatewaysOf(scan)).toEqual(new Set(uris));
  expect(scanFrame(plain, 0, plain.length, scan)).toBeUndefined();
  expect(gatewaysOf(scan)).toBeUndefined();
});

test("a list in two places, and one of another wire type, is refused", () => {
  const listed = addressCopy(scanned(plain), uris.slice(0, 1));
  const list = listed.subarray(plain.length);
  const split = Uint8Array.from([...list, ...plain, ...list]);
  expect(scanFrame(split, 0, split.length, new FrameScan())?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
  const varint = Uint8Array.from([...plain, 0xa0, 0x06, 0x01]);
  expect(scanFrame(varint, 0, varint.length, new FrameScan())?.code).toBe("CAUSEWAY_FRAME_MALFORMED");
});

test("a list that is too long, or that names no gateway, counts as none", () => {
  const many = Array.from({ length: forGatewaysMax + 1 }, (_, i) => parseGatewayUri(`https://g${i}.example`));
  expect(gatewaysOf(scanned(addressCopy(scanned(plain), many)))).toBeUndefined();
  expect(gatewaysOf(scanned(addressCopy(scanned(plain), ["no gateway" as never])))).toBeUndefined();
});

test("any bytes after a frame are scanned without a throw, and a list inside the bounds only", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => {
      const frame = Uint8Array.from([...plain, 0xa2, 0x06, ...tail]);
      const scan = new FrameScan();
      if (scanFrame(frame, 0, frame.length, scan) === undefined) {
        expect(scan.gatewaysEnd).toBeLessThanOrEqual(frame.length);
        gatewaysOf(scan);
        addressCopy(scan, undefined);
      }
    }),
    { numRuns: 1_000 },
  );
});
