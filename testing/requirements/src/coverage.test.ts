import { describe, expect, test } from "vitest";
import { citedIds, computeCoverage } from "./coverage.ts";
import { parseRows, readManifest } from "./manifest.ts";

describe("requirement coverage", () => {
  test("the manifest has every row of the five seeds and those beyond", () => {
    const rows = readManifest();
    const count = (seed: string) => rows.filter((row) => row.seed === seed).length;
    expect([count("AGP"), count("AAP"), count("ANA"), count("AMSP"), count("FW"), count("BEY")]).toEqual([
      61, 105, 130, 109, 213, 13,
    ]);
    expect(rows.filter((row) => row.level.startsWith("MUST"))).toHaveLength(33);
    expect(new Set(rows.map((row) => row.id)).size).toBe(rows.length);
  });

  test("a row is read with its level and sentence", () => {
    const [row] = parseRows("| AMSP-9 | 2.1 | MUST | Do it. | CP | Test. | – |");
    expect(row).toEqual({
      id: "AMSP-9",
      seed: "AMSP",
      section: "2.1",
      level: "MUST",
      component: "CP",
      sentence: "Do it.",
    });
  });

  test("ids count only in brackets", () => {
    expect(citedIds("drops loops [AMSP-78, AMSP-30] unlike AMSP-1")).toEqual(["AMSP-78", "AMSP-30"]);
  });

  test("failed tests cover nothing, unknown ids and missing MUST rows are found", () => {
    const rows = parseRows("| AGP-1 | 1 | MUST | a | DP | v | – |\n| AGP-2 | 1 | MUST NOT | b | DP | v | – |");
    const coverage = computeCoverage(rows, [
      { title: "[AGP-1]", file: "a.test.ts", status: "failed" },
      { title: "[AGP-2] [AGP-3]", file: "a.test.ts", status: "passed" },
    ]);
    expect(coverage.missing.map((row) => row.id)).toEqual(["AGP-1"]);
    expect(coverage.unknown).toEqual([{ id: "AGP-3", file: "a.test.ts" }]);
  });
});
