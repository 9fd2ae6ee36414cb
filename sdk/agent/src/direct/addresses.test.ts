import { type AgentId, parseAgentId, parseSpiffeId } from "@causeway/core-base";
import { expect, test } from "vitest";
import { Addresses } from "./addresses.ts";

const self: AgentId = parseAgentId("blue.example/travel/alice");
const bob = parseSpiffeId("blue.example/hotels/bob");
const url = "https://10.0.0.7:7500";

test("what an agent says of itself counts before what is configured, and the newest first", () => {
  const addresses = new Addresses(self, { [bob]: "https://10.0.0.1:1" }, 2);
  expect(addresses.of(bob)).toBe("https://10.0.0.1:1");
  addresses.learn(bob, url);
  expect([addresses.of(bob), addresses.of(parseSpiffeId("blue.example/hotels/carol"))]).toEqual([url, undefined]);
});

test("an agent is reached at any of its instances, and an instance at its own address", () => {
  const addresses = new Addresses(self, {}, 9);
  addresses.learn(parseSpiffeId("blue.example/hotels/bob/@one"), "https://10.0.0.1:1");
  addresses.learn(parseSpiffeId("blue.example/hotels/bob/@two"), "https://10.0.0.2:2");
  const of = (name: string): string | undefined => addresses.of(parseSpiffeId(name));
  expect(of("blue.example/hotels/bob")).toBe("https://10.0.0.2:2");
  expect(of("blue.example/hotels/bob/@one")).toBe("https://10.0.0.1:1");
  expect(of("blue.example/hotels/bob/@three")).toBeUndefined();
});

test("agents of other domains have no direct address, configured or told [ANA-95]", () => {
  const foreign = "spiffe://green.example/hotels/carol";
  const refused = expect.objectContaining({ code: "CAUSEWAY_DIRECT_NOT_ALLOWED" });
  expect(() => new Addresses(self, { [foreign]: url }, 9)).toThrow(refused);
  const addresses = new Addresses(self, {}, 9);
  expect(() => addresses.learn(parseSpiffeId(foreign), url)).toThrow(refused);
  expect([addresses.of(parseSpiffeId(foreign)), addresses.size]).toEqual([undefined, 0]);
});

test("an address is https, host and port and nothing else", () => {
  const addresses = new Addresses(self, {}, 9);
  const bad = [
    ..."|x|http://10.0.0.7:1|https://a:b@h:1|https://@h:1/x|https://h:1/path|https://h:1?q=1|https://h:1#f".split("|"),
    `https://${"h".repeat(300)}:1`,
  ];
  for (const text of bad)
    expect(() => addresses.learn(bob, text), text).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_CONFIG_INVALID" }),
    );
  addresses.learn(bob, "https://[2001:db8::7]:7500");
  expect(addresses.of(bob)).toBe("https://[2001:db8::7]:7500");
});

test("as many are remembered as the bound says, the newest", () => {
  const addresses = new Addresses(self, {}, 2);
  const names = ["a", "b", "c"].map((name) => parseSpiffeId(`blue.example/hotels/${name}`));
  for (const name of names) addresses.learn(name, url);
  expect(names.map((name) => addresses.of(name))).toEqual([undefined, url, url]);
});
