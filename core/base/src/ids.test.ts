import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  agentOf,
  domainOf,
  instanceOf,
  isPrefixOf,
  parseAgentId,
  parseDomain,
  parseGatewayUri,
  parsePrefix,
  parseSpiffeId,
  pathOf,
  shortName,
  withInstance,
} from "./ids.ts";

const invalid = expect.objectContaining({ code: "CAUSEWAY_NAME_INVALID" });

describe("SPIFFE IDs", () => {
  test("full and short form name the same agent", () => {
    expect(parseSpiffeId("blue.example/travel/booker")).toBe("spiffe://blue.example/travel/booker");
    expect(shortName(parseSpiffeId("spiffe://blue.example/travel/booker"))).toBe("blue.example/travel/booker");
  });

  test("parts", () => {
    const id = parseSpiffeId("spiffe://blue.example/travel/booker/@i-1");
    expect([domainOf(id), pathOf(id), instanceOf(id), agentOf(id)]).toEqual([
      "blue.example",
      "travel/booker/@i-1",
      "i-1",
      "spiffe://blue.example/travel/booker",
    ]);
    expect(instanceOf(agentOf(id))).toBeUndefined();
    expect(withInstance(agentOf(id), "i-1")).toBe(id);
  });

  test.each([
    "",
    "spiffe://",
    "blue.example",
    "spiffe://blue.example/",
    "spiffe://Blue.example/a",
    "spiffe://blue.example/a//b",
    "spiffe://blue.example/a/",
    "spiffe://blue.example/./a",
    "spiffe://blue.example/../a",
    "spiffe://blue.example/@i",
    "spiffe://blue.example/a/@i/b",
    "spiffe://blue.example/a/@",
    "spiffe://blue.example/a b",
    "spiffe://blue.example/ä",
    "https://blue.example/a",
    `spiffe://blue.example/${"a".repeat(500)}`,
  ])("refused: %j", (text) => {
    expect(() => parseSpiffeId(text)).toThrow(invalid);
  });

  test("an Agent ID has no instance", () => {
    expect(() => parseAgentId("spiffe://blue.example/a/@i")).toThrow(invalid);
    expect(parseAgentId("blue.example/a")).toBe("spiffe://blue.example/a");
  });

  test("an instance with a slash is refused", () => {
    expect(() => withInstance(parseAgentId("blue.example/a"), "x/y")).toThrow(invalid);
  });

  test("parsing is idempotent and throws nothing else", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (text) => {
        try {
          const id = parseSpiffeId(text);
          expect(parseSpiffeId(id)).toBe(id);
          expect(parseSpiffeId(shortName(id))).toBe(id);
        } catch (thrown) {
          expect(thrown).toEqual(invalid);
        }
      }),
    );
  });
});

test("domains", () => {
  expect(parseDomain("blue.example")).toBe("blue.example");
  for (const bad of ["", "Blue.example", "a/b", "a b", "x".repeat(256)])
    expect(() => parseDomain(bad)).toThrow(invalid);
});

test("prefixes of whole segments lose the slash at their end and nothing else", () => {
  expect(parsePrefix("blue.example/")).toBe("spiffe://blue.example");
  expect(parsePrefix("blue.example/travel/")).toBe("spiffe://blue.example/travel");
  expect(parsePrefix("spiffe://blue.example/travel")).toBe("spiffe://blue.example/travel");
  for (const bad of ["", "/", "//", "Blue.example/", "blue.example//", "blue.example//a/", "blue.example/a b/"])
    expect(() => parsePrefix(bad)).toThrow(invalid);
  for (const bad of ["blue.example/../", "blue.example/a/@i/", `blue.example/${"x".repeat(512)}/`])
    expect(() => parsePrefix(bad)).toThrow(invalid);
});

test("gateway URIs; a bare address becomes amsp://", () => {
  expect(parseGatewayUri("https://gw1.blue.example/amsp")).toBe("https://gw1.blue.example/amsp");
  expect(parseGatewayUri("192.0.2.1:7400")).toBe("amsp://192.0.2.1:7400");
  expect(parseGatewayUri("[2001:db8::1]:7400")).toBe("amsp://[2001:db8::1]:7400");
  for (const bad of ["", "gw1", "http://gw1.blue.example", "https://", "https://a b"])
    expect(() => parseGatewayUri(bad)).toThrow(invalid);
});

test("prefixes are whole segments", () => {
  expect(isPrefixOf("a/b", "a/b/c")).toBe(true);
  expect(isPrefixOf("a/b/", "a/b/c")).toBe(true);
  expect(isPrefixOf("a/b", "a/b")).toBe(true);
  expect(isPrefixOf("a/b", "a/bc")).toBe(false);
  expect(isPrefixOf("a/b/c", "a/b")).toBe(false);
});
