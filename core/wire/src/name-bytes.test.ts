import { parseSpiffeId } from "@causeway/core-base";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isAgentName, isPrefixName, isTopicName } from "./name-bytes.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff);
const over = (check: (b: Uint8Array, s: number, e: number) => boolean, text: string): boolean => {
  const inner = bytes(text);
  const buf = new Uint8Array(inner.length + 8).fill(0x61);
  buf.set(inner, 4);
  return check(buf, 4, 4 + inner.length);
};
const parses = (text: string): boolean => {
  try {
    parseSpiffeId(text);
    return text.startsWith("spiffe://");
  } catch {
    return false;
  }
};
const piece = fc.constantFrom(
  "spiffe://",
  "a",
  "b.example",
  "/",
  "@",
  "..",
  ".",
  "x-1_",
  "A",
  "*",
  "ü",
  "@i",
  "a".repeat(64),
  " ",
);
const names = fc.array(piece, { maxLength: 9 }).map((p) => p.join(""));

test("agent names: exactly what parseSpiffeId accepts", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        names,
        names.map((n) => `spiffe://b.example/${n}`),
      ),
      (text) => {
        expect(over(isAgentName, text), text).toBe(parses(text));
      },
    ),
    { numRuns: 3_000 },
  );
});

test("topics: exactly agent names without scheme and instance [AGP-20]", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        names,
        names.map((n) => `b.example/${n}`),
      ),
      (text) => {
        expect(over(isTopicName, text), text).toBe(
          !text.startsWith("spiffe://") && parses(`spiffe://${text}`) && !text.includes("@"),
        );
      },
    ),
    { numRuns: 3_000 },
  );
});

test("prefixes: a domain or whole segments, one slash at the end allowed", () => {
  for (const good of ["spiffe://b", "spiffe://b/", "spiffe://b/x", "spiffe://b/x/y/"])
    expect(over(isPrefixName, good), good).toBe(true);
  for (const bad of [
    "",
    "spiffe://",
    "b/x",
    "spiffe:///x",
    "spiffe://b//",
    "spiffe://b/x//",
    "spiffe://b/@i",
    "spiffe://B/x",
  ]) {
    expect(over(isPrefixName, bad), bad).toBe(false);
  }
});

test("512 bytes are the limit", () => {
  const name = `spiffe://b/${"x".repeat(501)}`;
  expect([name.length, over(isAgentName, name), over(isAgentName, `${name}x`)]).toEqual([512, true, false]);
});
