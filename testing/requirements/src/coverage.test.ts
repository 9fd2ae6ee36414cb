import { describe, expect, test } from "vitest";
import { citedIds, computeCoverage, conformanceReport } from "./coverage.ts";
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

  test("the report has every MUST row with its result, whatever level word it uses [AGP-23]", () => {
    const rows = readManifest();
    const musts = rows.filter((row) => row.level.startsWith("MUST"));
    const [first, ...others] = musts;
    const coverage = computeCoverage(rows, [
      { title: `a test [${first?.id}]`, file: "a.test.ts", status: "passed" },
      { title: `a test [${others[0]?.id}]`, file: "a.test.ts", status: "failed" },
    ]);
    const report = conformanceReport(rows, coverage);
    expect(report.map((line) => line.id)).toEqual(musts.map((row) => row.id));
    expect(report[0]).toMatchObject({ result: "passed", tests: [`a test [${first?.id}]`] });
    for (const line of report.slice(1)) expect(line.result).toBe(line.reason === undefined ? "missing" : "deferred");
    // Nothing normative is relaxed without a word: what is neither passed nor deferred fails the gate.
    const missing = new Set(coverage.missing.map((row) => row.id));
    expect(report.filter((line) => line.result === "missing").map((line) => line.id)).toEqual(
      musts.filter((row) => missing.has(row.id)).map((row) => row.id),
    );
  });
});
