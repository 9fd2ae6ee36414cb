/** The threat model of attachment names a test for each threat, and that test exists. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const rows = readFileSync(`${root}docs/operations/attachment-threats.md`, "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| threat "));
const demanded = [
  "rogue gateway",
  "rogue agent",
  "spoofed",
  "replay",
  "lease theft",
  "table poisoning",
  "exhaustion",
  "traffic analysis",
];

test("every threat of attachment has a defence and an attack that is played in the tests [AAP-101]", () => {
  const threats = rows.map((row) => row.split("|")[1]?.trim() ?? "");
  for (const threat of demanded) expect(threats.filter((each) => each.includes(threat))).not.toEqual([]);
  const missing = rows.flatMap((row) => {
    const [, , defence = "", played = ""] = row.split("|").map((cell) => cell.trim());
    const tests = [...played.matchAll(/`([^`]+)`: "([^"]+)"/g)];
    if (defence === "" || tests.length === 0) return [row];
    return tests.flatMap(([, file = "", title = ""]) =>
      readFileSync(`${root}${file}`, "utf8").includes(title) ? [] : [`${file}: ${title}`],
    );
  });
  expect(missing).toEqual([]);
});
