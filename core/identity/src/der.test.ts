import * as fc from "fast-check";
import { expect, test } from "vitest";
import { toHex } from "./bytes.ts";
import { DerError, DerReader, readOnly, tags } from "./der-reader.ts";
import { ascii, boolean, der, integer, namedBits, octetString, oid, sequence, setOf, unsigned } from "./der-writer.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

test("what is written is read again", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 70_000 }),
      fc.bigInt({ min: 0n, max: 1n << 160n }),
      fc.nat(0x7fff_ffff),
      (bytes, large, small) => {
        const encoded = sequence(octetString(bytes), integer(large), integer(small), boolean(true));
        const read = readOnly(encoded, tags.sequence, (v) => [
          toHex(v.content(tags.octetString)),
          BigInt(`0x${toHex(v.unsigned())}`),
          v.small(),
          v.boolean(),
        ]);
        expect(read).toEqual([toHex(bytes), large, small, true]);
      },
    ),
    { numRuns: 100 },
  );
});

test("named bits are read again", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(8)), (bits) => {
      const read = new DerReader(namedBits(...bits)).namedBits(9);
      expect([...read].toSorted()).toEqual(bits.toSorted());
    }),
  );
});

test("object identifiers have the content that the standards print", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["1.2.840.10045.3.1.7", "06082a8648ce3d030107"],
    ["2.5.29.17", "0603551d11"],
  ];
  for (const [dotted, wanted] of cases) expect(toHex(oid(dotted))).toBe(wanted);
  expect(
    readOnly(sequence(oid("2.25.194218792932065131902536447673166212047")), tags.sequence, (v) => v.oid().length),
  ).toBe(20);
});

test("the elements of a set are sorted", () => {
  expect(toHex(setOf(integer(5), integer(3), integer(300)))).toBe("310a0201030201050202012c");
});

test("long lengths are written minimally", () => {
  for (const length of [0, 127, 128, 255, 256, 65_535, 65_536]) {
    const encoded = der(tags.octetString, new Uint8Array(length));
    expect(new DerReader(encoded).content(tags.octetString)).toHaveLength(length);
  }
});

const refused: readonly (readonly [string, string, (v: DerReader) => unknown])[] = [
  ["indefinite length", "30800000", (v) => v.enter(0x30)],
  ["length longer than needed", "0481 05 0000000000".replaceAll(" ", ""), (v) => v.content(4)],
  ["length with leading zero", "0482007f" + "00".repeat(127), (v) => v.content(4)],
  ["length of five bytes", "048500000000010a", (v) => v.content(4)],
  ["value cut off", "0405aabb", (v) => v.content(4)],
  ["length cut off", "0482ff", (v) => v.content(4)],
  ["nothing but a tag", "04", (v) => v.content(4)],
  ["another tag", "020101", (v) => v.content(4)],
  ["tag number above 30", "1f8101020101", (v) => v.any()],
  ["integer with a leading zero", "02020001", (v) => v.unsigned()],
  ["negative integer", "0201ff", (v) => v.unsigned()],
  ["empty integer", "0200", (v) => v.unsigned()],
  ["integer that is too large", "02050100000000", (v) => v.small()],
  ["boolean that is neither", "010101", (v) => v.boolean()],
  ["object identifier with padding", "0603558011", (v) => v.oid()],
  ["object identifier that is cut off", "06025580", (v) => v.oid()],
  ["empty object identifier", "0600", (v) => v.oid()],
  ["bit string with unused bits", "03020780", (v) => v.bitStringBytes()],
  ["named bits with trailing zeros", "03020080", (v) => v.namedBits(9)],
  ["named bits that set unused bits", "030207c0", (v) => v.namedBits(9)],
  ["text outside of ASCII", "1602c3a4", (v) => v.ascii(tags.ia5String)],
];

test.each(refused)("fail/ %s", (_what, input, read) => {
  expect(() => read(new DerReader(hex(input)))).toThrow(DerError);
});

test("fail/ bytes behind the value and inside of it", () => {
  expect(() => readOnly(hex("0401aa00"), 4, () => undefined)).toThrow(DerError);
  expect(() => readOnly(sequence(integer(1), integer(2)), tags.sequence, (v) => v.small())).toThrow(/left over/);
});

test("random bytes give a value or a DerError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const walk = (v: DerReader): void => {
        while (!v.done) {
          const { tag, content } = v.any();
          if (tag & 0x20) walk(new DerReader(content));
        }
      };
      try {
        walk(new DerReader(bytes));
      } catch (thrown) {
        if (!(thrown instanceof DerError)) throw thrown;
      }
    }),
    { numRuns: 2_000 },
  );
});

test("fail/ a writer refuses what is no value", () => {
  expect(() => integer(-1)).toThrow();
  expect(() => oid("x")).toThrow();
  expect(() => ascii(tags.ia5String, "ä")).toThrow();
  expect(toHex(unsigned(new Uint8Array()))).toBe("020100");
});
