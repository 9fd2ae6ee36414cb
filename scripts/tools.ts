/** The commands of package.json other than `start`, run on the pinned Node. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";

const [command = "", ...rest] = process.argv.slice(2);
/** What `npm run requirements` judges: a run of a part leaves it alone. */
const isPart = command === "test" && rest.length > 0;
const resultsFile = isPart ? ".cache/test-results-of-a-part.json" : ".cache/test-results.json";

/** Each check with the command that a developer runs to see it alone. */
const checks: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ["proto lint", "buf", "lint", "proto"],
  ["proto breaking", "buf", "breaking", "proto", "--against", "proto/baseline.binpb"],
  ["generated code", process.execPath, "scripts/generated.ts", "--check"],
  ["types of core", "tsc", "-p", "core/tsconfig.json"],
  ["types", "tsc", "-p", "tsconfig.json"],
  ["format", "biome", "check", "--error-on-warnings", "."],
  ["lint", "oxlint", "--deny-warnings"],
  [
    "boundaries",
    "depcruise",
    "--config",
    ".dependency-cruiser.mjs",
    "core",
    "adapters",
    "e2ee",
    "services",
    "sdk",
    "bridges",
    "apps",
    "testing",
    "examples",
  ],
  ["dead code", "knip"],
];

process.exitCode = main();

function main(): number {
  switch (command) {
    case "test":
      return test();
    case "check":
      return check();
    case "requirements":
      if (!existsSync(resultsFile)) test();
      return node("testing/requirements/src/main.ts", "--results", resultsFile, ...rest);
    case "sim":
      return node("testing/sim/src/main.ts", ...rest);
    case "bench":
      return node("testing/bench/src/main.ts", ...rest);
    case "soak":
      return node("testing/bench/src/soak-main.ts", ...rest);
    case "signalling":
      return node("testing/sim/src/signalling/main.ts", ...rest);
    case "mixed":
      return node("testing/e2e/src/mixed-run/main.ts", ...rest);
    case "fuzz":
      return node("testing/fuzz/src/main.ts", ...rest);
    case "crash":
      return node("testing/e2e/src/mailbox-crash/main.ts", ...rest);
    case "conformance":
      return node("testing/conformance/src/main.ts", ...rest);
    case "generate":
      return node("scripts/generated.ts");
    case "format":
      return run("biome", "check", "--write", ".");
    default:
      process.stderr.write(`unknown command ${JSON.stringify(command)}; see the scripts in package.json\n`);
      return 2;
  }
}

function test(): number {
  mkdirSync(".cache", { recursive: true });
  const status = run(
    "vitest",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${resultsFile}`,
    ...(isPart ? rest : []),
  );
  // A partial run says nothing about coverage of the requirements.
  const gate = isPart ? 0 : node("testing/requirements/src/main.ts", "--results", resultsFile);
  printCount();
  return status === 0 ? gate : status;
}

/** One plain line that says how many tests ran, last. */
function printCount(): void {
  const report = JSON.parse(readFileSync(resultsFile, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
    numFailedTestSuites: number;
    testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
  };
  // A file that fails before its first test counts as one failure.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.length === 0,
  ).length;
  process.stdout.write(
    `${report.numPassedTests} passed, ${report.numFailedTests + brokenFiles} failed, ${report.numPendingTests} skipped\n`,
  );
}

function check(): number {
  const failed: string[] = [];
  for (const [name, program, ...args] of checks) {
    const started = performance.now();
    const status = run(program, ...args);
    process.stdout.write(
      `${status === 0 ? "ok  " : "FAIL"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)\n`,
    );
    if (status !== 0) failed.push(name);
  }
  process.stdout.write(failed.length === 0 ? "all checks passed\n" : `failed: ${failed.join(", ")}\n`);
  return failed.length === 0 ? 0 : 1;
}

function node(script: string, ...args: string[]): number {
  return run(process.execPath, "--disable-warning=ExperimentalWarning", script, ...args);
}

function run(program: string, ...args: string[]): number {
  const result = spawnSync(program, args, { stdio: "inherit" });
  if (result.error) {
    process.stderr.write(`${program}: ${result.error.message}\n`);
    return 1;
  }
  return result.status ?? 1;
}
