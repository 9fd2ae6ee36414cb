import { asUnixMs } from "@causeway/core-base";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { readTime, timeText, writeTime } from "./asn1-time.ts";
import { DerReader, tags } from "./der-reader.ts";
import { ascii } from "./der-writer.ts";
import { ipText, isDnsName, parseIp } from "./ip-address.ts";
import { decodePem, encodePem } from "./pem.ts";

const seconds = fc.integer({ min: Date.UTC(1950, 0, 1) / 1000, max: Date.UTC(9999, 11, 31) / 1000 });

test("times are read as they were written, and the calendar is the one of the platform", () => {
  fc.assert(
    fc.property(seconds, (second) => {
      const time = asUnixMs(second * 1000);
      expect(readTime(new DerReader(writeTime(time)))).toBe(time);
      expect(timeText(time)).toBe(new Date(time).toISOString().replace(".000Z", "Z"));
    }),
    { numRuns: 500 },
  );
});

test("UTCTime is used through 2049, GeneralizedTime from 2050 on", () => {
  expect(writeTime(asUnixMs(Date.UTC(2049, 11, 31, 23, 59, 59)))[0]).toBe(tags.utcTime);
  expect(writeTime(asUnixMs(Date.UTC(2050, 0, 1)))[0]).toBe(tags.generalizedTime);
});

test.each([
  ["no seconds", tags.utcTime, "2601010000Z"],
  ["an offset", tags.utcTime, "260101000000+0100"],
  ["February 29 of a common year", tags.utcTime, "250229000000Z"],
  ["month 13", tags.utcTime, "261301000000Z"],
  ["hour 24", tags.utcTime, "260101240000Z"],
  ["fractions", tags.generalizedTime, "20510101000000.5Z"],
  ["GeneralizedTime before 2050", tags.generalizedTime, "20260101000000Z"],
])("fail/ a time with %s", (_what, tag, text) => {
  expect(() => readTime(new DerReader(ascii(tag, text)))).toThrow();
});

test("addresses are read as they were written", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6().filter((ip) => !ip.includes(".")),
      ),
      (text) => {
        const bytes = parseIp(text);
        expect(bytes).toBeDefined();
        if (bytes !== undefined) expect(parseIp(ipText(bytes))).toEqual(bytes);
      },
    ),
  );
  const shortest: readonly (readonly [string, string])[] = [
    ["::1", "::1"],
    ["::", "::"],
    ["fe80:0:0:0:0:0:0:1", "fe80::1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["1::", "1::"],
  ];
  for (const [text, wanted] of shortest) expect(ipText(parseIp(text) ?? new Uint8Array(4))).toBe(wanted);
  for (const text of ["1.2.3", "256.1.1.1", "01.2.3.4", "1::2::3", "1:2:3:4:5:6:7:8:9", "g::1", "", "host"]) {
    expect(parseIp(text), text).toBeUndefined();
  }
});

test("DNS names", () => {
  for (const name of ["localhost", "gw1.blue.example", "a-b.c"]) expect(isDnsName(name), name).toBe(true);
  for (const name of ["", "*.blue.example", "Blue.example", "-a", "a..b", "a.", "a b"])
    expect(isDnsName(name), name).toBe(false);
});

test("PEM blocks are read as they were written, also as the platform writes base64", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 4 }), (blocks) => {
      const text = encodePem("CERTIFICATE", ...blocks);
      expect(decodePem("CERTIFICATE", `noise\n${text}more`)).toEqual(blocks);
      expect(decodePem("X509 CRL", text)).toEqual([]);
      const [first] = blocks;
      if (first !== undefined) expect(text.replaceAll("\n", "")).toContain(Buffer.from(first).toString("base64"));
    }),
  );
  expect(() => decodePem("CERTIFICATE", "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----")).toThrow(/PEM/);
  expect(() => decodePem("CERTIFICATE", "-----BEGIN CERTIFICATE-----\nAAAA")).toThrow(/PEM/);
});
