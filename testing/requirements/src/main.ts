/**
 * Prints for each seed and level how many rows have a passing test that cites them. Exits 1 when a test cites an
 * unknown id, when a required row has no passing test, or when the list of deferred rows is stale.
 *
 *   --json             lists instead of the table
 *   --report           every MUST row with its result and the tests that show it
 *   --from FILE        rebuild manifest.json from a requirements document
 *   --results FILE     vitest JSON report to judge
 */
import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { parseArgs } from "node:util";
import { type Coverage, computeCoverage, conformanceReport, type TestResult } from "./coverage.ts";
import { parseRows, readManifest } from "./manifest.ts";
import { deferred } from "./scope.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean" },
    report: { type: "boolean" },
    from: { type: "string" },
    results: { type: "string" },
  },
});

if (values.from !== undefined) rebuild(values.from);
else process.exitCode = judge(values.results ?? ".cache/test-results.json", values.json === true);

function rebuild(document: string): void {
  const rows = parseRows(readFileSync(document, "utf8"));
  writeFileSync(
    new URL("../manifest.json", import.meta.url),
    `[\n${rows.map((r) => JSON.stringify(r)).join(",\n")}\n]\n`,
  );
  process.stdout.write(`${rows.length} rows\n`);
}

function judge(resultsFile: string, json: boolean): number {
  const coverage = computeCoverage(readManifest(), readResults(resultsFile));
  const ok = coverage.unknown.length === 0 && coverage.missing.length === 0 && coverage.stale.length === 0;
  if (json) printJson(coverage, ok);
  else if (values.report === true) printReport(coverage);
  else printTable(coverage);
  return ok ? 0 : 1;
}

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

function readResults(file: string): TestResult[] {
  const report = JSON.parse(readFileSync(file, "utf8")) as VitestReport;
  return report.testResults.flatMap((suite) =>
    suite.assertionResults.map((test) => ({
      title: test.fullName,
      file: relative(process.cwd(), suite.name),
      status: test.status === "passed" ? "passed" : test.status === "failed" ? "failed" : "skipped",
    })),
  );
}

function printJson(coverage: Coverage, ok: boolean): void {
  const covered = Object.fromEntries([...coverage.covered].sort(([a], [b]) => compareIds(a, b)));
  process.stdout.write(
    `${JSON.stringify({ ok, lines: coverage.lines, covered, conformance: conformanceReport(readManifest(), coverage), missing: coverage.missing, unknown: coverage.unknown, deferred, stale: coverage.stale })}\n`,
  );
}

function printReport(coverage: Coverage): void {
  for (const { id, level, sentence, result, tests, reason } of conformanceReport(readManifest(), coverage)) {
    process.stdout.write(`${result.padEnd(8)}  ${id}  ${level}  ${sentence}\n`);
    if (reason !== undefined) process.stdout.write(`            ${reason}\n`);
    for (const title of tests) process.stdout.write(`            ${title}\n`);
  }
}

function printTable(coverage: Coverage): void {
  const rows = coverage.lines.map((l) => [
    l.seed,
    l.level,
    String(l.rows),
    String(l.covered),
    `${Math.round((100 * l.covered) / l.rows)} %`,
  ]);
  const head = ["seed", "level", "rows", "covered", ""];
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? "").length)));
  for (const row of [head, ...rows]) {
    process.stdout.write(
      `${row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ")}\n`,
    );
  }
  for (const { id, file } of coverage.unknown) process.stdout.write(`unknown id ${id} cited in ${file}\n`);
  for (const row of coverage.missing)
    process.stdout.write(`no passing test cites ${row.id} (${row.level}): ${row.sentence}\n`);
  for (const id of coverage.stale)
    process.stdout.write(`${id} is listed as deferred and is covered: remove it from the list\n`);
  for (const [id, reason] of Object.entries(deferred)) process.stdout.write(`deferred ${id}: ${reason}\n`);
}

function compareIds(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}
