/**
 * `npm run sim`: runs seeds and says which fail, with the command that replays them. A mutant has to be in place before
 * the core is loaded, so that this file imports nothing of it.
 */
import { parseArgs } from "node:util";
import { installMutant } from "./mutant-hooks.ts";
import { findMutant, mutants } from "./mutants.ts";
import type { Outcome } from "./run.ts";
import { directedWorlds, type WorldName, worldNames } from "./world-names.ts";

const usage = `npm run sim -- [--seeds N] [--from SEED] [--world W] [--trace] [--mutant NAME] [--json]

  --seeds N      how many seeds; default 200
  --from SEED    the first one; default 1
  --world W      sync: gateways and records only; agents: everything. Default: the seed draws one of these.
                 ${directedWorlds.join(", ")}: small and made for one kind of trouble
  --trace        print every event of the first seed
  --mutant NAME  run with one defect put into the core; ${mutants.length} are known, --mutant list names them
  --json         one JSON object with the failures as the last line
`;

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly world: WorldName | undefined;
  readonly mutant: string | undefined;
  readonly isTraced: boolean;
  readonly isJson: boolean;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (typeof options === "number") return options;
  if (options.mutant !== undefined) {
    const mutant = findMutant(options.mutant);
    if (mutant === undefined)
      return complain(`expected the name of a mutant, got ${JSON.stringify(options.mutant)}; --mutant list names them`);
    installMutant(mutant);
  }
  const { runSeed, traceSeed } = await import("./run.ts");
  if (options.isTraced) {
    const { outcome, trace } = traceSeed(options.from, options.world);
    process.stdout.write(`${trace.join("\n")}\n`);
    report(outcome, options, false);
    return outcome.failure === undefined ? 0 : 1;
  }
  const started = performance.now();
  const failures: Outcome[] = [];
  let steps = 0;
  for (let seed = options.from; seed < options.from + options.seeds; seed++) {
    const outcome = runSeed(seed, options.world, !options.isJson);
    steps += outcome.steps;
    if (outcome.failure !== undefined) {
      failures.push(outcome);
      report(outcome, options, failures.length === 1);
      if (options.mutant !== undefined) break;
    }
    progress(seed, options, failures.length);
  }
  const seconds = (performance.now() - started) / 1_000;
  const summary = `${options.seeds} seeds from ${options.from}, ${steps} events, ${seconds.toFixed(1)} s: ${failures.length === 0 ? "no failure" : `${failures.length} failed`}`;
  process.stdout.write(`${summary}\n`);
  if (options.isJson) {
    const failed = failures.map(({ seed, failure }) => ({ seed, checker: failure?.checker, what: failure?.what }));
    process.stdout.write(`${JSON.stringify({ seeds: options.seeds, from: options.from, steps, failed })}\n`);
  }
  return failures.length === 0 ? 0 : 1;
}

/** What failed; the first one with its trace. */
function report({ seed, plan, failure }: Outcome, options: Options, withTrace: boolean): void {
  if (failure === undefined) {
    process.stdout.write(`seed ${seed}: no failure (${plan})\n`);
    return;
  }
  if (withTrace && !options.isJson) process.stdout.write(`${failure.trace.join("\n")}\n`);
  const world = options.world === undefined ? "" : ` --world ${options.world}`;
  const mutant = options.mutant === undefined ? "" : ` --mutant ${JSON.stringify(options.mutant)}`;
  process.stdout.write(
    [
      `seed ${seed} failed at ${(failure.atMs / 1_000).toFixed(3)} s: ${failure.checker}: ${failure.what}`,
      `  ${plan}`,
      `  replay: npm run sim -- --from ${seed} --seeds 1${world}${mutant} --trace`,
      "",
    ].join("\n"),
  );
}

function progress(seed: number, options: Options, failures: number): void {
  const done = seed - options.from + 1;
  if (done % 100 !== 0 || done === options.seeds || !process.stderr.isTTY) return;
  process.stderr.write(`${done} of ${options.seeds} seeds, ${failures} failed\n`);
}

function readOptions(): Options | number {
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({
      options: {
        seeds: { type: "string" },
        from: { type: "string" },
        world: { type: "string" },
        mutant: { type: "string" },
        trace: { type: "boolean" },
        json: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    return complain(error instanceof Error ? error.message : String(error));
  }
  if (values["help"] === true) {
    process.stdout.write(usage);
    return 0;
  }
  if (values["mutant"] === "list") {
    for (const { name, file, killedBy } of mutants)
      process.stdout.write(`${name} (${file}, killed by ${killedBy.join(" or ")})\n`);
    return 0;
  }
  const seeds = Number(values["seeds"] ?? 200);
  const from = Number(values["from"] ?? 1);
  const world = worldNames.find((name) => name === values["world"]);
  if (!Number.isSafeInteger(seeds) || seeds < 1) return complain("--seeds: expected a whole number from 1");
  if (!Number.isSafeInteger(from) || from < 0) return complain("--from: expected a whole number from 0");
  if (values["world"] !== undefined && world === undefined)
    return complain(`--world: expected one of ${worldNames.join(", ")}`);
  const mutant = values["mutant"];
  return {
    seeds,
    from,
    world,
    mutant: typeof mutant === "string" ? mutant : undefined,
    isTraced: values["trace"] === true,
    isJson: values["json"] === true,
  };
}

function complain(problem: string): number {
  process.stderr.write(`${problem}\n\n${usage}`);
  return 2;
}
