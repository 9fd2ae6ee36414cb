import { asUnixMs, type Random } from "@causeway/core-base";
import { expect, test } from "vitest";
import { hex } from "./frame-scan.ts";
import { messageIdUnixMs, newMessageId } from "./message-id.ts";

const counting = (): Random => {
  let n = 0;
  return { bytes: (length) => Uint8Array.from({ length }, () => n++ & 0xff), fraction: () => 0 };
};

test("UUIDv7: time first, version 7, variant 10 [AAP-70]", () => {
  const id = newMessageId({ bytes: (n) => new Uint8Array(n).fill(0xff), fraction: () => 0 }, asUnixMs(0x0123456789ab));
  expect(hex(id)).toBe("0123456789ab7fffbfffffffffffffff");
  expect(messageIdUnixMs(id)).toBe(0x0123456789ab);
});

test("ids of later milliseconds sort later; ids of one millisecond differ", () => {
  const random = counting();
  const ids = [5, 5, 5, 6, 300, 70_000].map((ms) => hex(newMessageId(random, asUnixMs(ms))));
  expect(new Set(ids).size).toBe(6);
  expect(ids.slice(2)).toEqual(ids.slice(2).sort());
});
