/** What agents that are built on this SDK need to know of the network: the SDK and nothing below it. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const examples = fileURLToPath(new URL("../../../examples/", import.meta.url));

test("example agents import the SDK and Node, never gRPC, HTTP/2 or anything else of this product [AGP-13]", () => {
  const dependenciesOf = (name: string): string[] => {
    const manifest = JSON.parse(readFileSync(`${examples}${name}/package.json`, "utf8")) as {
      dependencies?: Record<string, string>;
    };
    return Object.keys(manifest.dependencies ?? {});
  };
  // Agents of a foreign framework come in over a bridge and do not know the SDK.
  const own = readdirSync(examples).filter((name) => dependenciesOf(name).includes("@causeway/agent"));
  expect(own).toEqual(expect.arrayContaining(["hello-agent", "travel-guide"]));
  for (const name of own) {
    // The runtime of generated code is neither: it runs over whatever transport it is given.
    const generated = ["@bufbuild/protobuf", "@connectrpc/connect"];
    expect(
      dependenciesOf(name).filter((each) => !generated.includes(each)),
      name,
    ).toEqual(["@causeway/agent"]);
    for (const file of readdirSync(`${examples}${name}/src`).filter((each) => each.endsWith(".ts"))) {
      const source = readFileSync(`${examples}${name}/src/${file}`, "utf8");
      const imported = [...source.matchAll(/(?:from|import)\s*\(?"([^"]+)"/g)].map((match) => match[1] ?? "");
      for (const from of imported)
        expect(from, `${name}/${file}`).toMatch(
          /^(@causeway\/agent(\/node)?|@connectrpc\/connect|node:(?!http|net|tls|https).+|\.\/.+)$/,
        );
    }
  }
});

test("the hello example fits in 25 lines", () => {
  expect(readFileSync(`${examples}hello-agent/src/main.ts`, "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(
    25,
  );
});
