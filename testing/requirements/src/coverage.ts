/** Which rows have tests that cite them, how those ended, and what the gate says about it. */
import type { RequirementRow } from "./manifest.ts";
import { deferred, isRequired, type Part } from "./scope.ts";

/** One executed test. */
export interface TestResult {
  /** Full title, describe blocks included. */
  readonly title: string;
  readonly file: string;
  readonly status: "passed" | "failed" | "skipped";
}

/** Rows of one seed and level. */
export interface CoverageLine {
  readonly seed: string;
  readonly level: string;
  readonly rows: number;
  readonly covered: number;
}

/** What the gate found. */
export interface Coverage {
  readonly lines: readonly CoverageLine[];
  /** Ids with a passing test and without a failed one, with the titles of those that passed. */
  readonly covered: ReadonlyMap<string, readonly string[]>;
  /** Ids with a failed test, with its title: no other test makes up for it. */
  readonly failed: ReadonlyMap<string, readonly string[]>;
  /** Ids with a test that could not run here, with its title. */
  readonly skipped: ReadonlyMap<string, readonly string[]>;
  /** Ids cited by a test and absent from the manifest. */
  readonly unknown: readonly { readonly id: string; readonly file: string }[];
  /** Rows that this version has to cover and does not. */
  readonly missing: readonly RequirementRow[];
  /** Rows listed as deferred that a test covers nevertheless: the list is stale. */
  readonly stale: readonly string[];
}

/** One MUST row and how it stands. */
export interface ConformanceLine {
  readonly id: string;
  readonly level: string;
  readonly sentence: string;
  /** `deferred` has its reason beside it; `failed` and `missing` fail the gate. */
  readonly result: "passed" | "failed" | "deferred" | "missing";
  readonly tests: readonly string[];
  readonly reason?: string;
}

/** One row of a part, of whatever level, and how it stands. */
export interface PartLine {
  readonly id: string;
  readonly level: string;
  readonly sentence: string;
  /** `skipped`: every test that cites it could not run here. */
  readonly result: "passed" | "failed" | "skipped" | "uncited";
  /** Titles of the tests that made the result. */
  readonly tests: readonly string[];
}

/** Every row of `part`, of every level. */
export function partReport(
  rows: readonly RequirementRow[],
  coverage: Coverage,
  { includes }: Part,
): readonly PartLine[] {
  return rows
    .filter(({ id }) => includes(id))
    .map(({ id, level, sentence }) => {
      for (const [result, titles] of [
        ["failed", coverage.failed],
        ["passed", coverage.covered],
        ["skipped", coverage.skipped],
      ] as const) {
        const tests = titles.get(id);
        if (tests !== undefined) return { id, level, sentence, result, tests };
      }
      return { id, level, sentence, result: "uncited", tests: [] };
    });
}

/** Every MUST and MUST NOT row with its result: nothing normative is left out of the report (AGP-23). */
export function conformanceReport(rows: readonly RequirementRow[], coverage: Coverage): readonly ConformanceLine[] {
  return rows
    .filter((row) => row.level === "MUST" || row.level === "MUST NOT")
    .map(({ id, level, sentence }) => {
      const tests = coverage.covered.get(id) ?? [];
      const reason = deferred[id];
      const failed = coverage.failed.get(id);
      if (failed !== undefined) return { id, level, sentence, result: "failed", tests: failed };
      if (tests.length > 0) return { id, level, sentence, result: "passed", tests };
      if (reason !== undefined) return { id, level, sentence, result: "deferred", tests, reason };
      return { id, level, sentence, result: "missing", tests };
    });
}

/** True when the gate lets a run pass. */
export function isAccepted({ unknown, missing, failed, stale }: Coverage): boolean {
  return unknown.length === 0 && missing.length === 0 && failed.size === 0 && stale.length === 0;
}

const citation = /\b(?:AGP|AAP|ANA|AMSP|FW|BEY)-\d+\b/g;

/** Ids cited in brackets in a test title: `[AMSP-73, AMSP-74]`. */
export function citedIds(title: string): string[] {
  return [...title.matchAll(/\[([^\]]*)\]/g)].flatMap((bracket) => bracket[1]?.match(citation) ?? []);
}

/** Compares rows with executed tests. */
export function computeCoverage(rows: readonly RequirementRow[], tests: readonly TestResult[]): Coverage {
  const known = new Set(rows.map((row) => row.id));
  const titles = {
    passed: new Map<string, string[]>(),
    failed: new Map<string, string[]>(),
    skipped: new Map<string, string[]>(),
  };
  const unknown: { id: string; file: string }[] = [];
  for (const test of tests) {
    for (const id of citedIds(test.title)) {
      const ended = titles[test.status];
      if (!known.has(id)) unknown.push({ id, file: test.file });
      else ended.set(id, [...(ended.get(id) ?? []), test.title]);
    }
  }
  const { failed, skipped } = titles;
  const covered = new Map([...titles.passed].filter(([id]) => !failed.has(id)));
  const lines = new Map<string, { seed: string; level: string; rows: number; covered: number }>();
  for (const row of rows) {
    const key = `${row.seed} ${row.level}`;
    const line = lines.get(key) ?? { seed: row.seed, level: row.level, rows: 0, covered: 0 };
    line.rows += 1;
    if (covered.has(row.id)) line.covered += 1;
    lines.set(key, line);
  }
  return {
    lines: [...lines.values()],
    covered,
    failed,
    skipped,
    unknown,
    missing: rows.filter((row) => isRequired(row) && !covered.has(row.id)),
    stale: Object.keys(deferred).filter((id) => covered.has(id)),
  };
}
