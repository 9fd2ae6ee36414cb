import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeMessageFrame } from "./frame.ts";
import { FrameScan, scanFrame, TargetKind } from "./frame-scan.ts";
import { isAgentName, isPrefixName, isTopicName } from "./name-bytes.ts";
import { SeenNames, sampleOf } from "./seen-names.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Looks a name up as a scan does. */
function pass(names: SeenNames, text: string, kind = 1): string | undefined {
  const bytes = bytesOf(`--${text}--`);
  const end = bytes.length - 2;
  return (names.find(viewOf(bytes), kind, 2, end) ?? names.note(viewOf(bytes), kind, 2, end))?.text;
}

test("a name is entered when it comes a second time, and is itself from then on", () => {
  const names = new SeenNames();
  expect(pass(names, "spiffe://blue.example/a/b")).toBeUndefined();
  expect(pass(names, "spiffe://blue.example/a/b")).toBe("spiffe://blue.example/a/b");
  const bytes = bytesOf("spiffe://blue.example/a/b");
  const found = names.find(viewOf(bytes), 1, 0, bytes.length);
  expect(found).toMatchObject({ text: "spiffe://blue.example/a/b", hasInstance: false, kind: 1 });
  expect(names.find(viewOf(bytes), 1, 0, bytes.length)).toBe(found);
  expect(names.find(viewOf(bytes), 2, 0, bytes.length)).toBeUndefined();
});

test("a known name keeps no part of the buffer that it came in", () => {
  const names = new SeenNames();
  const buffer = Buffer.from("spiffe://blue.example/a/b");
  for (let time = 0; time < 2; time++) names.note(viewOf(buffer), 1, 0, buffer.length);
  const copy = Buffer.from(buffer);
  buffer.fill(0x2e);
  expect(names.find(viewOf(copy), 1, 0, copy.length)?.text).toBe("spiffe://blue.example/a/b");
  expect(names.find(viewOf(buffer), 1, 0, buffer.length)).toBeUndefined();
});

test("no name is taken for another, however few places there are and however alike they look", () => {
  const part = fc.constantFrom("a", "b", "aa", "ab", "ba", "abcdefgh", "abcdefgi", "bbcdefgh");
  const name = fc.tuple(part, part, part).map(([a, b, c]) => `spiffe://${a}.example/${b}/${c}/same-long-end`);
  fc.assert(
    fc.property(fc.array(name, { maxLength: 200 }), fc.constantFrom(1, 2, 8), (all, places) => {
      const names = new SeenNames(places);
      for (const each of all) {
        const seen = pass(names, each);
        if (seen !== undefined) expect(seen).toBe(each);
      }
    }),
  );
});

test("whether a name was seen before changes nothing about what a scan says", () => {
  const target = fc.oneof(
    fc.stringMatching(/^[a-z./@:-]{0,30}$/),
    fc.constantFrom(
      "spiffe://blue.example/a",
      "spiffe://blue.example/a/@i",
      "spiffe://blue.example",
      "spiffe://blue.example/a/",
      "blue.example/a",
      "blue.example/a/",
      "",
    ),
  );
  let known = 0;
  fc.assert(
    fc.property(target, fc.integer({ min: 1, max: 3 }), (name, targetKind) => {
      const source = "spiffe://blue.example/s";
      const frame = encodeMessageFrame(
        { targetKind, target: name, source, messageId: new Uint8Array(16) },
        new Uint8Array(4),
      );
      const bytes = bytesOf(name);
      const isName = { 1: isAgentName, 2: isPrefixName, 3: isTopicName }[targetKind] ?? isAgentName;
      const isValid = isName(bytes, 0, bytes.length);
      for (let time = 0; time < 4; time++) {
        const scan = new FrameScan();
        expect(scanFrame(frame, 0, frame.length, scan) === undefined).toBe(isValid);
        if (!isValid) continue;
        expect([scan.target(), scan.source()]).toEqual([name, source]);
        const { targetName } = scan;
        if (targetName === undefined) continue;
        known++;
        expect(targetName.text).toBe(name);
        if (targetKind === TargetKind.agent) expect(targetName.hasInstance).toBe(name.includes("/@"));
      }
    }),
    { numRuns: 300 },
  );
  expect(known).toBeGreaterThan(0);
});

test("names that take turns stay known where there is room, and many of them where there is not", () => {
  for (const [count, share] of [
    [500, 0.95],
    [4_096, 0.2],
  ] as const) {
    const names = new SeenNames(2_048);
    const all = Array.from({ length: count }, (_, i) => `spiffe://other.example/team${i % 97}/agent${i * 7_919}`);
    const views = all.map((text) => viewOf(bytesOf(text)));
    let known = 0;
    for (let round = 0; round < 40; round++) {
      for (const [i, view] of views.entries()) {
        const found = names.find(view, 1, 0, view.byteLength) ?? names.note(view, 1, 0, view.byteLength);
        if (found !== undefined) expect(found.text).toBe(all[i]);
        if (round >= 20 && found !== undefined) known++;
      }
    }
    expect(known / (20 * count)).toBeGreaterThan(share);
  }
});

/** What undoes a multiplication by an odd number, in 32 bits. */
function inverse(odd: number): number {
  let x = odd;
  for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(odd, x));
  return x;
}

test("a name is not taken for a longer one that it begins, though both have one hash and its kind has bits of a length", () => {
  const short = "spiffe://blue.example/agents-of-them";
  const end = bytesOf(short).length;
  const longer = 64;
  const kind = 1 | (longer << 8);
  const wanted = sampleOf(viewOf(bytesOf(short)), 0, end, kind);
  // The first step of the hash is undone for the last four bytes, until they are letters.
  const undo = (hash: number): number => {
    let h = hash ^ (hash >>> 16);
    h = Math.imul(h, inverse(0xc2b2ae35));
    h ^= (h >>> 13) ^ (h >>> 26);
    h = Math.imul(h, inverse(0x85ebca6b));
    return h ^ (h >>> 16);
  };
  const bytes = bytesOf(short + "x".repeat(longer));
  const view = viewOf(bytes);
  const { length } = bytes;
  let isFound = false;
  for (let i = 0; !isFound && i < 2_000_000; i++) {
    for (let at = 0, rest = i; at < 4; at++, rest = Math.floor(rest / 26)) bytes[length - 8 + at] = 97 + (rest % 26);
    view.setInt32(length - 4, 0, true);
    // With a last word of `w` the sum is `other ^ (w ^ (length + kind)) * factor`.
    const other = undo(sampleOf(view, 0, length, 1)) ^ Math.imul(length + 1, 0x85ebca6b);
    const last = Math.imul(undo(wanted) ^ other, inverse(0x85ebca6b)) ^ (length + 1);
    view.setInt32(length - 4, last, true);
    isFound = bytes.subarray(length - 4).every((byte) => byte >= 97 && byte <= 122);
  }
  expect(sampleOf(view, 0, length, 1)).toBe(wanted);
  expect(isFound).toBe(true);
  const names = new SeenNames();
  const long = new TextDecoder().decode(bytes);
  expect([pass(names, long), pass(names, long)]).toEqual([undefined, long]);
  expect(names.find(viewOf(bytesOf(short)), kind, 0, end)).toBeUndefined();
});

test("a target of no kind is refused also when its name is known", () => {
  const target = "spiffe://blue.example/known-by-all";
  const header = { target, source: target, messageId: new Uint8Array(16) };
  const scanOf = (targetKind: number): unknown => {
    const frame = encodeMessageFrame({ ...header, targetKind }, new Uint8Array(4));
    return scanFrame(frame, 0, frame.length, new FrameScan())?.code;
  };
  for (let time = 0; time < 3; time++) expect(scanOf(TargetKind.agent)).toBeUndefined();
  fc.assert(
    fc.property(fc.nat(0x7fffffff), (kind) => {
      if (kind >= 1 && kind <= 3) return;
      expect(scanOf(kind)).toBe("CAUSEWAY_HEADER_INVALID");
    }),
  );
});
