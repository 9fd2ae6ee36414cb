import { describe, expect, test } from "vitest";
import { citedIds, computeCoverage, conformanceReport, isAccepted, partReport, type TestResult } from "./coverage.ts";
import { parseRows, readManifest } from "./manifest.ts";
import { parts } from "./scope.ts";

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

  const two = parseRows("| AGP-1 | 1 | MUST | a | DP | v | – |\n| AGP-2 | 1 | MAY | b | DP | v | – |");
  const run = (title: string, status: TestResult["status"]): TestResult => ({ title, file: "a.test.ts", status });

  test("a failed test is not made up for by one that passed, whatever comes first and whatever the level", () => {
    for (const id of ["AGP-1", "AGP-2"]) {
      const others = run(`others [${id === "AGP-1" ? "AGP-2" : "AGP-1"}]`, "passed");
      const both = [run(`good [${id}]`, "passed"), run(`bad [${id}]`, "failed")];
      for (const tests of [both, both.toReversed()]) {
        const coverage = computeCoverage(two, [others, ...tests]);
        expect(coverage.covered.has(id)).toBe(false);
        expect(coverage.failed.get(id)).toEqual([`bad [${id}]`]);
        expect(coverage.missing.map((row) => row.id)).toEqual(id === "AGP-1" ? ["AGP-1"] : []);
        expect(isAccepted(coverage)).toBe(false);
      }
    }
    expect(isAccepted(computeCoverage(two, [run("good [AGP-1] [AGP-2]", "passed")]))).toBe(true);
    expect(conformanceReport(two, computeCoverage(two, [run("bad [AGP-1]", "failed")]))).toMatchObject([
      { id: "AGP-1", result: "failed", tests: ["bad [AGP-1]"] },
    ]);
  });

  test("a test that could not run covers nothing, and takes nothing from one that passed", () => {
    const alone = computeCoverage(two, [run("elsewhere [AGP-1]", "skipped")]);
    expect([alone.covered.size, alone.missing.map((row) => row.id)]).toEqual([0, ["AGP-1"]]);
    const beside = computeCoverage(two, [run("elsewhere [AGP-1]", "skipped"), run("here [AGP-1]", "passed")]);
    expect(beside.covered.get("AGP-1")).toEqual(["here [AGP-1]"]);
    expect(isAccepted(beside)).toBe(true);
  });

  test("a part has its rows of every level, and says which are failed, skipped and uncited", () => {
    const rows = parseRows(
      ["MUST", "SHOULD", "MAY", "described", "gap"]
        .map((level, i) => `| AGP-${i + 1} | 1 | ${level} | a | DP | v | – |`)
        .join("\n"),
    );
    const coverage = computeCoverage(rows, [
      run("[AGP-1] [AGP-2]", "passed"),
      run("[AGP-2]", "failed"),
      run("[AGP-3]", "skipped"),
      run("[AGP-5]", "passed"),
    ]);
    const lines = partReport(rows, coverage, { name: "four", includes: (id) => id !== "AGP-5" });
    expect(lines.map(({ id, level, result }) => [id, level, result])).toEqual([
      ["AGP-1", "MUST", "passed"],
      ["AGP-2", "SHOULD", "failed"],
      ["AGP-3", "MAY", "skipped"],
      ["AGP-4", "described", "uncited"],
    ]);
  });

  test("the part of data plane and attachment has the rows that it is to have", () => {
    const [part] = parts;
    const ids = readManifest().flatMap(({ id }) => (part?.includes(id) === true ? [id] : []));
    expect(ids).toHaveLength(23 + 4 + 5 + 105 + 12 + 11 + 2);
    for (const id of ["AGP-23", "AGP-43", "AGP-57", "AAP-105", "ANA-38", "ANA-105", "BEY-7"]) expect(ids).toContain(id);
    for (const id of ["AGP-24", "AGP-44", "ANA-37", "ANA-50", "AMSP-1", "BEY-2", "FW-1"]) expect(ids).not.toContain(id);
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
    expect(report[1]?.result).toBe("failed");
    for (const line of report.slice(2)) expect(line.result).toBe(line.reason === undefined ? "missing" : "deferred");
    // Nothing normative is relaxed without a word: what is neither passed nor deferred fails the gate.
    const missing = new Set(coverage.missing.map((row) => row.id));
    expect(report.filter((line) => ["failed", "missing"].includes(line.result)).map((line) => line.id)).toEqual(
      musts.filter((row) => missing.has(row.id)).map((row) => row.id),
    );
  });
});
