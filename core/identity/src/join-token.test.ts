import { expect, test } from "vitest";
import { encodeJoinToken, parseJoinToken } from "./join-token.ts";

const token = { url: "https://127.0.0.1:4400", rootFingerprint: "0a".repeat(32), secret: "Ab-_".repeat(10) + "xyz" };
const json = (value: unknown) => `cwj1.${Buffer.from(JSON.stringify(value)).toString("base64url")}`;
const parts = { u: token.url, f: token.rootFingerprint, s: token.secret };

test("a join token is one string with authority, root fingerprint and secret", () => {
  expect(encodeJoinToken(token)).toBe(json(parts));
  expect(parseJoinToken(encodeJoinToken(token))).toEqual(token);
  expect(parseJoinToken(encodeJoinToken({ ...token, url: "https://[::1]:4400" })).url).toBe("https://[::1]:4400");
});

test.each([
  ["empty", ""],
  ["another prefix", encodeJoinToken(token).replace("cwj1", "cwj2")],
  ["cut off", encodeJoinToken(token).slice(0, -3)],
  ["with a blank", `${encodeJoinToken(token)} `],
  ["not JSON", "cwj1.AAAA"],
  ["another field", json({ ...parts, x: 1 })],
  ["another order", json({ f: parts.f, u: parts.u, s: parts.s })],
  ["plain HTTP", json({ ...parts, u: "http://127.0.0.1:4400" })],
  ["a path in the URL", json({ ...parts, u: "https://127.0.0.1:4400/x" })],
  ["credentials in the URL", json({ ...parts, u: "https://me@127.0.0.1:4400" })],
  ["a short fingerprint", json({ ...parts, f: "0a" })],
  ["an upper-case fingerprint", json({ ...parts, f: "0A".repeat(32) })],
  ["a short secret", json({ ...parts, s: "short" })],
  ["a number as secret", json({ ...parts, s: 1 })],
  ["much too long", `cwj1.${"A".repeat(100_000)}`],
])("refuses a token that is %s, without repeating it", (_why, text) => {
  expect(() => parseJoinToken(text)).toThrow(expect.objectContaining({ code: "CAUSEWAY_IDENTITY_TOKEN_INVALID" }));
  try {
    parseJoinToken(text);
  } catch (thrown) {
    expect(String(thrown)).not.toContain(token.secret);
  }
});

test("refuses to write a token that it would not read", () => {
  expect(() => encodeJoinToken({ ...token, url: "https://host" })).toThrow(
    expect.objectContaining({ code: "CAUSEWAY_MISUSE" }),
  );
});
