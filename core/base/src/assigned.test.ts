/** Values of private use stand in one file. */
import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { assigned } from "./assigned.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

test("no other source repeats a value that a registry would assign [AAP-104]", () => {
  const sources = globSync("{{core,adapters,services,sdk,bridges,apps}/*,e2ee}/src/**/*.{ts,json}", {
    cwd: root,
  }).filter((file) => !/\.test\.ts$|\/testing\/|\/fixtures\/|\/gen\/|assigned\.ts$/.test(file));
  expect(sources.length).toBeGreaterThan(100);
  // Ports as numbers of their own, in code and not in a comment.
  const values = Object.values(assigned).map((value) =>
    typeof value === "number"
      ? new RegExp(`(?<![\\w.#])${value}(?![\\w.])`)
      : new RegExp(`["'\`]${value.replaceAll("+", "\\+")}`),
  );
  const repeated = sources.flatMap((file) => {
    const code = readFileSync(`${root}/${file}`, "utf8")
      .split("\n")
      .filter((line) => !/^\s*(\/?\*|\/\/)/.test(line))
      .join("\n");
    return values.filter((value) => value.test(code)).map((value) => `${file}: ${value.source}`);
  });
  expect(repeated).toEqual([]);
});
