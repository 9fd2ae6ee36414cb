/**
 * Which rows the gate demands: every MUST and MUST NOT row, except those deferred here with a reason. And the parts whose
 * rows of every level are named in the report.
 */
import type { RequirementRow } from "./manifest.ts";

/** Rows that no part of this version builds yet. An entry whose row gets covered fails the gate as stale. */
export const deferred: Readonly<Record<string, string>> = {
  "AGP-47":
    "security events are in the logs of the services, which the tests of bad input read; the row asks for the operator console as well, and no version has one yet",
};

/** True when the gate fails without a passing test for the row. */
export function isRequired(row: RequirementRow): boolean {
  return (row.level === "MUST" || row.level === "MUST NOT") && !Object.hasOwn(deferred, row.id);
}

/** A part of the requirements that the report shows row by row, whatever their level. */
export interface Part {
  readonly name: string;
  readonly includes: (id: string) => boolean;
}

const within =
  (...ranges: readonly (readonly [seed: string, first: number, last: number])[]) =>
  (id: string): boolean => {
    const [seed, number] = id.split("-");
    return ranges.some(([of, first, last]) => seed === of && Number(number) >= first && Number(number) <= last);
  };

/** The parts, each complete only when none of its rows is uncited. */
export const parts: readonly Part[] = [
  {
    name: "data plane and attachment",
    includes: within(
      ["AGP", 1, 23],
      ["AGP", 40, 43],
      ["AGP", 57, 61],
      ["AAP", 1, 105],
      ["ANA", 38, 49],
      ["ANA", 95, 105],
      ["BEY", 1, 1],
      ["BEY", 7, 7],
    ),
  },
];
