import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeMessageFrame } from "./frame.ts";
import { FrameScan, scanFrame } from "./frame-scan.ts";
import { KnownFrames } from "./known-frame.ts";
import { MlsScan, scanMls } from "./mls-framing.ts";

const names = [
  "spiffe://a.example/x",
  "spiffe://a.example/y",
  "spiffe://a.example/x/@one",
  "spiffe://b.example/longer/name",
];

/** What links read into, as they do: one Node buffer for all that comes, used again. */
const arena = Buffer.alloc(4_096, 0xff);
let room = 0;

/** Scans, and says everything that the scan found. */
function said(frame: Uint8Array, sender: number): { readonly isKnown: boolean; readonly facts: unknown } {
  // The place moves, and what was there before is poison, so that reading outside or later would show.
  arena.fill(0xff);
  room = (room + 37) % 3_000;
  const start = room % 5 === 0 ? 0 : room;
  arena.set(frame, start);
  const buf = arena;
  const scan = new FrameScan();
  const refusal = scanFrame(buf, start, start + frame.length, scan, sender);
  const isKnown = scan.known !== undefined;
  if (refusal !== undefined) return { isKnown, facts: refusal };
  const { buf: _b, view: _v, viewed: _w, targetName: _t, sourceName: _s, known: _k, ...rest } = scan;
  const places = Object.entries(rest).map(([name, value]): [string, unknown] => [
    name,
    /(Start|End|At)$|^start$|^end$/.test(name) && Number(value) > 0 ? Number(value) - start : value,
  ]);
  const isMls = scanMls(buf, scan.payloadStart, scan.payloadEnd, new MlsScan()) === undefined;
  if (isKnown) expect(isMls).toBe(true);
  return { isKnown, facts: { ...Object.fromEntries(places), isMls, target: scan.target(), source: scan.source() } };
}

/** The same of a frame that is read field by field. */
function saidAlone(frame: Uint8Array): unknown {
  for (let sender = 1_000; ; sender++) {
    const { isKnown, facts } = said(frame, sender);
    if (!isKnown) return facts;
  }
}

/** Scans until the shape is known: its place may be one where others came in vain. */
function learn(frame: Uint8Array): void {
  for (let i = 0; i < 5_000; i++) if (said(frame, 7).isKnown) return;
  throw new Error("expected a shape that comes again and again to be known");
}

/** A private message (RFC 9420 section 6) of an 8-byte group. */
const payloads = fc
  .record({
    epoch: fc.constantFrom(1, 2),
    contentType: fc.constantFrom(1, 3),
    senderData: fc.uint8Array({ minLength: 28, maxLength: 28 }),
    content: fc.constantFrom(20, 40, 70).chain((length) => fc.uint8Array({ minLength: length, maxLength: length })),
  })
  .map(({ epoch, contentType, senderData, content }) => {
    const length = content.length < 64 ? [content.length] : [0x40, content.length];
    return Uint8Array.from(
      [
        [0, 1, 0, 2, 8],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [0, 0, 0, 0, 0, 0, 0, epoch, contentType, 0],
        [28, ...senderData],
      ]
        .concat([length, [...content]])
        .flat(),
    );
  });

const frames = fc.record({
  target: fc.constantFrom(...names),
  source: fc.constantFrom(...names),
  messageId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  hopTtl: fc.constantFrom(15, 16),
  expiresUnixMs: fc.constantFrom(0n, 1_900_000_000_000n, 1_900_000_000_001n, 2n ** 60n),
  flags: fc.constantFrom(0, 0, 1),
  payload: payloads,
});
/** A byte of the frame that becomes another. */
const damages = fc.option(fc.tuple(fc.nat(220), fc.nat(255)), { freq: 2 });

test("a frame whose shape came before says what it says when it is read field by field", () => {
  let known = 0;
  fc.assert(
    fc.property(
      frames,
      fc.array(fc.record({ other: fc.option(frames, { freq: 5 }), id: frames, damage: damages }), { maxLength: 8 }),
      (first, more) => {
        const shape = ({ payload, ...header }: typeof first): Uint8Array =>
          encodeMessageFrame({ targetKind: 1, ...header }, payload);
        for (let i = 0; i < 4; i++) said(shape(first), 1);
        for (const { other, id, damage } of more) {
          const bytes = shape(other ?? { ...first, messageId: id.messageId, expiresUnixMs: id.expiresUnixMs });
          if (damage !== null && damage[0] < bytes.length) bytes[damage[0]] = damage[1];
          const { isKnown, facts } = said(bytes, 1);
          if (isKnown) known++;
          expect(facts).toEqual(saidAlone(bytes));
        }
      },
    ),
    { numRuns: 1_000 },
  );
  expect(known).toBeGreaterThan(100);
});

test("a shape holds the fixed bytes of every part: names, security context, epoch, lengths", () => {
  const header = {
    targetKind: 1,
    target: "spiffe://a.example/target",
    source: "spiffe://a.example/source",
    messageId: new Uint8Array(16),
    securityContextId: Uint8Array.from([1, 2, 3, 4]),
    expiresUnixMs: 1_900_000_000_000n,
  };
  const payload = Uint8Array.from(
    [[0, 1, 0, 2, 2, 9, 9], [0, 0, 0, 0, 0, 0, 0, 7], [1, 0, 28], Array(28).fill(5), [20], Array(20).fill(6)].flat(),
  );
  const frame = encodeMessageFrame(header, payload);
  learn(frame);
  const free = Array.from(frame, (_, at): number => {
    const other = frame.slice();
    other[at] = (other[at] ?? 0) ^ 1;
    learn(frame);
    return said(other, 7).isKnown ? 1 : 0;
  });
  // The id, the expiry but for the byte that would make it larger than any number, sender data, ciphertext.
  expect(free.reduce((sum, each) => sum + each, 0)).toBe(16 + 7 + 28 + 20);
});

test("a shape is not what is read later into the same memory", () => {
  const header = { targetKind: 1, target: "spiffe://a.example/target", messageId: new Uint8Array(16) };
  const mallory = encodeMessageFrame({ ...header, source: "spiffe://a.example/mally" }, payload);
  const alice = encodeMessageFrame({ ...header, source: "spiffe://a.example/alice" }, payload);
  learn(mallory);
  // First the head of another's frame, then the frame.
  arena.fill(0);
  arena.set(alice, 0);
  arena.set(alice, 1_000);
  const scan = new FrameScan();
  for (const start of [0, 1_000]) {
    expect(scanFrame(arena, start, start + alice.length, scan, 7)).toBeUndefined();
    expect(scan.known).toBeUndefined();
    expect(scan.source()).toBe("spiffe://a.example/alice");
    const plain = scan.payloadStart;
    arena.fill(0x41, plain, start + alice.length);
  }
});

/** MLS framing around bytes of nothing. */
const sealed = Array<number>(16).fill(5);
const payload = Uint8Array.from([[0, 1, 0, 2, 0], Array(8).fill(0), [1, 0, 16], sealed, [16], sealed].flat());

/** Scans what is kept, and counts it. */
function countedCopies() {
  const copies = { made: 0 };
  const scanAlone = (bytes: Uint8Array): FrameScan => {
    copies.made++;
    const scan = new FrameScan();
    scanFrame(bytes, 0, bytes.length, scan);
    return scan;
  };
  return { copies, scanAlone };
}

test("frames that each have something of their own are hardly ever kept", () => {
  const frames = new KnownFrames();
  const { copies, scanAlone } = countedCopies();
  for (let i = 0; i < 5_000; i++) {
    const traceContext = `00-${String(i).padStart(32, "0")}-0000000000000001-01`;
    const target = "spiffe://trace.example/some/target";
    const header = { targetKind: 1, target, source: target, messageId: new Uint8Array(16), traceContext };
    const bytes = encodeMessageFrame(header, payload);
    const scan = new FrameScan();
    expect(scanFrame(bytes, 0, bytes.length, scan, 3)).toBeUndefined();
    expect(frames.find(scan.view, 0, bytes.length, 3)).toBeUndefined();
    frames.note(scan, 3, scanAlone);
  }
  expect(copies.made).toBeGreaterThan(0);
  expect(copies.made).toBeLessThan(20);
});

test("shapes that take turns at one place do not push each other out", () => {
  const frames = new KnownFrames(1);
  const { copies, scanAlone } = countedCopies();
  const shapes = ["one", "two"].map((last) => {
    const name = `spiffe://turns.example/agent-${last}`;
    return encodeMessageFrame({ targetKind: 1, target: name, source: name, messageId: new Uint8Array(16) }, payload);
  });
  let hits = 0;
  for (let i = 0; i < 2_000; i++) {
    const bytes = shapes[i & 1] ?? new Uint8Array(0);
    const scan = new FrameScan();
    expect(scanFrame(bytes, 0, bytes.length, scan, i + 100)).toBeUndefined();
    if (frames.find(scan.view, 0, bytes.length, 3) === undefined) frames.note(scan, 3, scanAlone);
    else hits++;
  }
  expect(hits).toBeGreaterThan(900);
  expect(copies.made).toBeLessThan(10);
});
