import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeMessageFrame } from "./frame.ts";
import { FrameScan, scanFrame } from "./frame-scan.ts";

const names = [
  "spiffe://a.example/x",
  "spiffe://a.example/y",
  "spiffe://a.example/x/@one",
  "spiffe://b.example/longer/name",
];

/** Everything that a scan says, without what it keeps for speed. */
function said(frame: Uint8Array): unknown {
  const scan = new FrameScan();
  const refusal = scanFrame(frame, 0, frame.length, scan);
  if (refusal !== undefined) return refusal;
  const {
    buf: _buf,
    view: _view,
    viewed: _viewed,
    targetName: _target,
    sourceName: _source,
    known: _known,
    ...rest
  } = scan;
  return { ...rest, target: scan.target(), source: scan.source() };
}

const frame = fc
  .record({
    target: fc.constantFrom(...names),
    source: fc.constantFrom(...names),
    messageId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    hopTtl: fc.integer({ min: 1, max: 127 }),
    expiresUnixMs: fc.constantFrom(0n, 1_900_000_000_000n),
    flags: fc.constantFrom(0, 1),
    payload: fc.uint8Array({ maxLength: 20 }),
    damage: fc.option(fc.tuple(fc.nat(120), fc.nat(255)), { freq: 4 }),
    cut: fc.option(fc.nat(60), { freq: 6 }),
  })
  .map(({ payload, damage, cut, ...header }) => {
    const bytes = encodeMessageFrame({ targetKind: 1, ...header }, payload);
    if (damage !== null && damage[0] < bytes.length) bytes[damage[0]] = damage[1];
    return cut === null ? bytes : bytes.subarray(0, Math.max(0, bytes.length - cut));
  });

/** A header of names that nothing else uses, twice: whatever head was known is not any more. */
let round = 0;
function forgetHeads(): void {
  const source = `spiffe://other.example/${round++ % 2 === 0 ? "even" : "odd"}`;
  for (let i = 0; i < 3; i++) {
    said(
      encodeMessageFrame({ targetKind: 1, target: source, source, messageId: new Uint8Array(16) }, new Uint8Array(1)),
    );
  }
}

test("what came before changes nothing about what a scan says", () => {
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 4 }), (frames, repeat) => {
      const alone = frames.map((bytes) => {
        forgetHeads();
        return said(bytes);
      });
      forgetHeads();
      const inARow = frames.map((bytes) => {
        let last: unknown;
        for (let i = 0; i < repeat; i++) last = said(bytes);
        return last;
      });
      expect(inARow).toEqual(alone);
    }),
    { numRuns: 500 },
  );
});
