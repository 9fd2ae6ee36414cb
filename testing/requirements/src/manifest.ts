/**
 * The requirement rows as data. `manifest.json` is made from the tables of the requirements document by
 * `parseRows`; tests cite row ids in brackets in their titles.
 */
import { readFileSync } from "node:fs";

/** One row of the requirements document. */
export interface RequirementRow {
  /** For example AMSP-73. */
  readonly id: string;
  /** Prefix of the id: AGP, AAP, ANA, AMSP, FW or BEY. */
  readonly seed: string;
  readonly section: string;
  /** MUST, MUST NOT, SHOULD, MAY, described or gap. */
  readonly level: string;
  readonly component: string;
  readonly sentence: string;
}

const rowPattern = /^\| *((?:AGP|AAP|ANA|AMSP|FW|BEY)-\d+) *\|(.*)\|\s*$/;

/** Reads every requirement row of the document's tables, in order. Rows beyond the seeds (BEY) have no level. */
export function parseRows(markdown: string): RequirementRow[] {
  const rows: RequirementRow[] = [];
  for (const line of markdown.split("\n")) {
    const match = rowPattern.exec(line);
    if (!match) continue;
    const id = match[1] ?? "";
    const cells = (match[2] ?? "").split("|").map((cell) => cell.trim());
    const seed = id.slice(0, id.indexOf("-"));
    const [first = "", second = "", third = "", fourth = ""] = cells;
    rows.push(
      seed === "BEY"
        ? { id, seed, section: first, level: "gap", component: third, sentence: second }
        : { id, seed, section: first, level: second, component: fourth, sentence: third },
    );
  }
  return rows;
}

/** The committed rows. */
export function readManifest(): RequirementRow[] {
  return JSON.parse(readFileSync(new URL("../manifest.json", import.meta.url), "utf8")) as RequirementRow[];
}
