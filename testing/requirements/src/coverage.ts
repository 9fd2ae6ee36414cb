/** Which rows have a passing test that cites them, and what the gate says about it. */
import type { RequirementRow } from "./manifest.ts";
import { deferred, isRequired } from "./scope.ts";

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
  /** Ids with a passing test, with the tests' titles. */
  readonly covered: ReadonlyMap<string, readonly string[]>;
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
  /** `deferred` has its reason beside it; `missing` fails the gate. */
  readonly result: "passed" | "deferred" | "missing";
  readonly tests: readonly string[];
  readonly reason?: string;
}

/** Every MUST and MUST NOT row with its result: nothing normative is left out of the report (AGP-23). */
export function conformanceReport(rows: readonly RequirementRow[], coverage: Coverage): readonly ConformanceLine[] {
  return rows
    .filter((row) => row.level === "MUST" || row.level === "MUST NOT")
    .map(({ id, level, sentence }) => {
      const tests = coverage.covered.get(id) ?? [];
      const reason = deferred[id];
      if (tests.length > 0) return { id, level, sentence, result: "passed", tests };
      if (reason !== undefined) return { id, level, sentence, result: "deferred", tests, reason };
      return { id, level, sentence, result: "missing", tests };
    });
}

const citation = /\b(?:AGP|AAP|ANA|AMSP|FW|BEY)-\d+\b/g;

/** Ids cited in brackets in a test title: `[AMSP-73, AMSP-74]`. */
export function citedIds(title: string): string[] {
  return [...title.matchAll(/\[([^\]]*)\]/g)].flatMap((bracket) => bracket[1]?.match(citation) ?? []);
}

/** Compares rows with executed tests. */
export function computeCoverage(rows: readonly RequirementRow[], tests: readonly TestResult[]): Coverage {
  const known = new Set(rows.map((row) => row.id));
  const covered = new Map<string, string[]>();
  const unknown: { id: string; file: string }[] = [];
  for (const test of tests) {
    for (const id of citedIds(test.title)) {
      if (!known.has(id)) unknown.push({ id, file: test.file });
      else if (test.status === "passed") covered.set(id, [...(covered.get(id) ?? []), test.title]);
    }
  }
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
    unknown,
    missing: rows.filter((row) => isRequired(row) && !covered.has(row.id)),
    stale: Object.keys(deferred).filter((id) => covered.has(id)),
  };
}
