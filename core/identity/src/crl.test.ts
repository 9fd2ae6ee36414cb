import { asUnixMs, isCausewayError } from "@causeway/core-base";
import { expect, test } from "vitest";
import { createTestDomain, testNow } from "../testing/index.ts";
import { writeTime } from "./asn1-time.ts";
import { toHex } from "./bytes.ts";
import { createCrl, parseCrl, type RevocationReasonCode } from "./crl.ts";
import { tags } from "./der-reader.ts";
import { integer, sequence } from "./der-writer.ts";
import { commonName } from "./distinguished-name.ts";
import { extension, extensionsField } from "./extensions.ts";
import { oids } from "./oids.ts";
import { sign } from "./signed.ts";

const blue = createTestDomain("blue.example");
const later = asUnixMs(testNow + 60_000);

test("a list is read as it was written", () => {
  const reasons: readonly RevocationReasonCode[] = [0, 1, 2, 3, 4, 5, 6, 9, 10];
  const revoked = reasons.map((reason) => ({ serial: Uint8Array.of(0x10 + reason), at: testNow, reason }));
  const full = parseCrl(
    createCrl(blue.issuing, { number: 1n << 70n, thisUpdate: testNow, nextUpdate: later, revoked }),
  );
  expect(full).toMatchObject({ number: 1n << 70n, thisUpdate: testNow, nextUpdate: later });
  expect(full.baseNumber).toBeUndefined();
  expect([...full.revoked]).toEqual(revoked.map(({ serial, at, reason }) => [toHex(serial), { at, reason }]));
  const delta = createCrl(blue.issuing, {
    number: 3n,
    baseNumber: 2n,
    thisUpdate: testNow,
    nextUpdate: later,
    revoked: [],
  });
  expect(parseCrl(delta)).toMatchObject({ number: 3n, baseNumber: 2n });
});

const number = extension(oids.crlNumber, false, integer(1));
const unknown = { dotted: "1.2.3.4", hex: "2a0304", der: Uint8Array.of(6, 3, 0x2a, 3, 4) };
/** RFC 5280 section 5.2.5: the list covers only a part of the certificates. */
const issuingDistributionPoint = { dotted: "2.5.29.28", hex: "551d1c", der: Uint8Array.of(6, 3, 0x55, 0x1d, 0x1c) };
const entry = (...extensions: readonly Uint8Array[]) =>
  sequence(sequence(integer(9), writeTime(testNow), ...(extensions.length === 0 ? [] : [sequence(...extensions)])));

function judge(parts: {
  readonly version?: number;
  readonly entries?: Uint8Array;
  readonly extensions?: readonly Uint8Array[];
}): string {
  const { version = 1, entries, extensions = [number] } = parts;
  const der = sign(blue.issuing.key, (algorithm) =>
    sequence(
      integer(version),
      algorithm,
      commonName("x"),
      writeTime(testNow),
      writeTime(later),
      ...(entries === undefined ? [] : [entries]),
      ...(extensions.length === 0 ? [] : [extensionsField(0, extensions)]),
    ),
  );
  try {
    return `${parseCrl(der).revoked.size} revoked`;
  } catch (thrown) {
    if (isCausewayError(thrown)) return thrown.code;
    throw thrown;
  }
}

const malformed = "CAUSEWAY_IDENTITY_CERTIFICATE_MALFORMED";

test.each<readonly [string, Parameters<typeof judge>[0], string]>([
  ["ok/ a list without entries", {}, "0 revoked"],
  ["ok/ a list with an entry", { entries: entry() }, "1 revoked"],
  [
    "ok/ extensions that are unknown and not critical",
    { extensions: [number, extension(unknown, false, integer(1))] },
    "0 revoked",
  ],
  ["fail/ a list of version 1", { version: 0 }, malformed],
  ["fail/ no extensions", { extensions: [] }, malformed],
  ["fail/ no number", { extensions: [extension(unknown, false, integer(1))] }, malformed],
  ["fail/ a number twice", { extensions: [number, number] }, malformed],
  ["fail/ an unknown critical extension", { extensions: [number, extension(unknown, true, integer(1))] }, malformed],
  [
    "fail/ a list for a part of the certificates",
    { extensions: [number, extension(issuingDistributionPoint, true, sequence())] },
    malformed,
  ],
  ["fail/ an empty list of entries", { entries: sequence() }, malformed],
  [
    "fail/ an entry with an unknown critical extension",
    { entries: entry(extension(unknown, true, integer(1))) },
    malformed,
  ],
  [
    "fail/ a reason that does not exist",
    { entries: entry(extension(oids.reasonCode, false, integer(7, tags.enumerated))) },
    malformed,
  ],
])("%s", (_what, parts, wanted) => {
  expect(judge(parts)).toBe(wanted);
});
