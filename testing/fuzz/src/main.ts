/**
 * Fuzzes every decoder.
 *
 *   --runs N       inputs for each target (default 20,000)
 *   --seed N       where to begin (default: the time)
 *   --target NAME  only this one
 *
 * A failing input is written to testing/fuzz/corpus and stays there for good.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { corpusName, fuzz } from "./fuzz.ts";
import { targets } from "./targets.ts";

const { values } = parseArgs({
  options: { runs: { type: "string" }, seed: { type: "string" }, target: { type: "string" } },
});
const runs = Number(values.runs ?? 20_000);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const chosen = targets.filter((target) => values.target === undefined || target.name === values.target);
if (chosen.length === 0) {
  process.stderr.write(`no target ${values.target}; known are ${targets.map((target) => target.name).join(", ")}\n`);
  process.exitCode = 2;
}
let failures = 0;
for (const target of chosen) {
  const failure = fuzz(target, { seed, runs });
  if (failure === undefined) {
    process.stdout.write(`ok   ${target.name} (${runs} inputs)\n`);
    continue;
  }
  failures += 1;
  const folder = new URL(`../corpus/${target.name}/`, import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(corpusName(failure.input), folder), failure.input);
  const sentence =
    failure.thrown instanceof Error ? (failure.thrown.stack ?? failure.thrown.message) : String(failure.thrown);
  process.stdout.write(
    `FAIL ${target.name}: ${sentence}\n     replay: npm run fuzz -- --target ${target.name} --seed ${seed}\n`,
  );
}
process.stdout.write(`seed ${seed}: ${chosen.length - failures} passed, ${failures} failed\n`);
if (failures > 0) process.exitCode = 1;
