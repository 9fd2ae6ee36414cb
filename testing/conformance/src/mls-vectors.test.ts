import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { ownVectors, runMlsVectors } from "./mls-vectors.ts";

const made: string[] = [];
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true });
});

test("the MLS vectors of this package pass", async () => {
  const results = await runMlsVectors(ownVectors);
  expect(results.flatMap((each) => each.failures)).toEqual([]);
  expect(results.map((each) => [each.family, each.passed])).toEqual([
    ["crypto basics", 1],
    ["deserialization", 3],
    ["passive client", 1],
    ["tree math", 5],
  ]);
});

test("a wrong vector fails, one of another suite is not run, an unknown one is an error", async () => {
  const directory = mkdtempSync(join(tmpdir(), "causeway-vectors-"));
  made.push(directory);
  cpSync(join(ownVectors, "crypto-basics.json"), join(directory, "crypto-basics.json"));
  const [vector] = JSON.parse(readFileSync(join(directory, "crypto-basics.json"), "utf8")) as [
    { derive_secret: { out: string } },
  ];
  const wrong = { ...vector, derive_secret: { ...vector.derive_secret, out: "00".repeat(32) } };
  writeFileSync(join(directory, "crypto-basics.json"), JSON.stringify([vector, wrong, { ...vector, cipher_suite: 2 }]));
  const [result] = await runMlsVectors(directory);
  expect(result).toMatchObject({ passed: 1, failed: 1, foreign: 1 });
  expect(result?.failures[0]).toMatch(/derive_secret: expected 0000/);
  writeFileSync(join(directory, "odd.json"), JSON.stringify([{ something: 1 }]));
  await expect(runMlsVectors(directory)).rejects.toThrow(/are not known/);
});
