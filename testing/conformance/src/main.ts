/** `npm run conformance -- SUITE …`: suites and vectors that others wrote. */
import { mlsVectorsCommand } from "./mls-vectors.ts";

const suites: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  mls: mlsVectorsCommand,
};

const [name, ...args] = process.argv.slice(2);
if (name === undefined) {
  for (const run of Object.values(suites)) process.exitCode = (await run([])) || process.exitCode || 0;
} else {
  const suite = suites[name];
  if (suite === undefined) {
    process.stderr.write(`unknown suite ${JSON.stringify(name)}; there are: ${Object.keys(suites).join(", ")}\n`);
    process.exitCode = 2;
  } else {
    process.exitCode = await suite(args);
  }
}
