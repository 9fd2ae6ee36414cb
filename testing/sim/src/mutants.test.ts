/** Who tests the tester: each mutant of the core has to be killed, by a checker that is meant to see it. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { applyMutant } from "./mutant-hooks.ts";
import { type Mutant, mutants } from "./mutants.ts";

const root = new URL("../../../", import.meta.url);
const main = fileURLToPath(new URL("main.ts", import.meta.url));
/** What most of the processes load is the same, and by far the most of their work. */
const compiled = fileURLToPath(new URL(".cache/compiled", root));

interface Report {
  readonly failed: readonly { readonly seed: number; readonly checker: string; readonly what: string }[];
}

/** Runs the mutant's seed in a process of its own, since a source can be changed only before it is loaded. */
function play({ name, seed, world }: Mutant): Promise<Report> {
  const args = [
    "--disable-warning=ExperimentalWarning",
    main,
    "--mutant",
    name,
    "--from",
    `${seed}`,
    "--seeds",
    "1",
    "--world",
    world,
    "--json",
  ];
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_COMPILE_CACHE: compiled };
    execFile(process.execPath, args, { timeout: 60_000, env }, (_error, stdout, stderr) => {
      // A killed mutant ends with status 1; what counts is the report.
      const last = stdout.trim().split("\n").at(-1) ?? "";
      if (last.startsWith("{")) resolve(JSON.parse(last) as Report);
      else reject(new Error(`${name}: no report\n${stdout}\n${stderr}`));
    });
  });
}

test("names are different, and the text of every mutant is in the core exactly once", () => {
  expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
  for (const mutant of mutants) {
    const source = readFileSync(new URL(mutant.file, root), "utf8");
    expect(applyMutant(mutant, source)).not.toBe(source);
  }
});

describe.concurrent("killed", { timeout: 120_000 }, () => {
  test.each(mutants)("$name", async (mutant) => {
    const { failed } = await play(mutant);
    expect(failed.map(({ checker }) => checker)).toEqual([expect.toBeOneOf([...mutant.killedBy])]);
  });
});
