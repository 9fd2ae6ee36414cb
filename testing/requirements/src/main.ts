/**
 * Prints for each seed and level how many rows are covered: a test that cites them passed, and none failed. Names the
 * uncited rows of each part, whatever their level. Exits 1 when a test cites an unknown id or failed, when a required row
 * has no passing test, or when the list of deferred rows is stale.
 *
 *   --json             lists instead of the table
 *   --report           every MUST row, and every row of each part, with its result and the tests that show it
 *   --from FILE        rebuild manifest.json from a requirements document
 *   --results FILE     vitest JSON report to judge
 */
import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { parseArgs } from "node:util";
import {
  type Coverage,
  computeCoverage,
  conformanceReport,
  isAccepted,
  partReport,
  type TestResult,
} from "./coverage.ts";
import { parseRows, readManifest } from "./manifest.ts";
import { deferred, parts } from "./scope.ts";

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
  const ok = isAccepted(coverage);
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
  const { lines, missing, unknown, stale } = coverage;
  const rows = readManifest();
  const report = {
    ok,
    lines,
    covered,
    failed: Object.fromEntries(coverage.failed),
    skipped: Object.fromEntries(coverage.skipped),
    conformance: conformanceReport(rows, coverage),
    parts: parts.map((part) => ({ name: part.name, rows: partReport(rows, coverage, part) })),
    missing,
    unknown,
    deferred,
    stale,
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

function printReport(coverage: Coverage): void {
  const rows = readManifest();
  for (const { reason, ...line } of conformanceReport(rows, coverage)) printLine(line, reason);
  for (const part of parts) {
    process.stdout.write(`\n${part.name}\n`);
    for (const line of partReport(rows, coverage, part)) printLine(line);
  }
}

function printLine(
  line: {
    readonly id: string;
    readonly level: string;
    readonly sentence: string;
    readonly result: string;
    readonly tests: readonly string[];
  },
  reason?: string,
): void {
  const { id, level, sentence, result, tests } = line;
  process.stdout.write(`${result.padEnd(8)}  ${id}  ${level}  ${sentence}\n`);
  for (const each of reason === undefined ? tests : [reason, ...tests]) process.stdout.write(`            ${each}\n`);
}

/** How the rows of each part stand, with the names of those that are not covered. */
function printParts(coverage: Coverage): void {
  for (const part of parts) {
    const lines = partReport(readManifest(), coverage, part);
    const named = (["failed", "skipped", "uncited"] as const).flatMap((result) => {
      const ids = lines.filter((line) => line.result === result).map(({ id, level }) => `${id} (${level})`);
      return ids.length === 0 ? [] : [`${result}: ${ids.join(", ")}`];
    });
    const passed = lines.filter(({ result }) => result === "passed").length;
    process.stdout.write(
      `${part.name}: ${passed} of ${lines.length} rows covered${named.map((n) => `; ${n}`).join("")}\n`,
    );
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
  printParts(coverage);
  for (const [id, titles] of coverage.failed)
    for (const title of titles) process.stdout.write(`a test that cites ${id} failed: ${title}\n`);
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
