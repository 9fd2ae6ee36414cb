import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("attachment has no part in what gateways say to each other: that is AMSP, in a room of its own [AAP-19]", () => {
  const folder = new URL(".", import.meta.url);
  const sources = readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  expect(sources.length).toBeGreaterThan(5);
  for (const name of sources) {
    const text = readFileSync(new URL(name, folder), "utf8");
    expect(text, name).not.toMatch(
      /core-sync|core-forwarding|core-topics|\bamsp\b|PeerOpen|PeerAccept|peerOpen|topicInterest/,
    );
  }
  const { dependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    dependencies: Record<string, string>;
  };
  expect(Object.keys(dependencies)).not.toContain("@causeway/core-sync");
});
