/**
 * Makes everything that is generated and committed: protobuf code, the pages of errors, limits and metrics, the limits in the schema of the configuration. With `--check` it writes
 * nothing and fails when a committed file is not what would be made now.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorTable } from "../core/base/src/errors.ts";
import { limitsMarkdown, schemaWithLimits } from "./limits.ts";
import { metricsMarkdown } from "./metrics.ts";

const protobufOut = "core/wire/src/gen";
/** Pages by path, each with what makes its text. */
const pages: Readonly<Record<string, () => string>> = {
  "docs/reference/errors.md": errorsMarkdown,
  "docs/operations/limits.md": limitsMarkdown,
  "docs/operations/metrics.md": metricsMarkdown,
  "apps/cli/src/config/schema.json": schemaWithLimits,
};

if (process.argv.includes("--check")) checkAll();
else generateAll();

function generateAll(): void {
  execFileSync("buf", ["generate"], { cwd: "proto", stdio: "inherit" });
  for (const [path, make] of Object.entries(pages)) writeFileSync(path, make());
}

function checkAll(): void {
  const stale: string[] = [];
  const scratch = mkdtempSync(join(tmpdir(), "causeway-generated-"));
  try {
    cpSync("proto", join(scratch, "proto"), { recursive: true });
    execFileSync("buf", ["generate"], { cwd: join(scratch, "proto"), stdio: "inherit" });
    const made = contents(join(scratch, protobufOut));
    const committed = contents(protobufOut);
    for (const name of new Set([...made.keys(), ...committed.keys()])) {
      if (made.get(name) !== committed.get(name)) stale.push(join(protobufOut, name));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  for (const [path, make] of Object.entries(pages)) {
    if (!existsSync(path) || readFileSync(path, "utf8") !== make()) stale.push(path);
  }
  for (const name of stale) process.stderr.write(`${name} is not current: run npm run generate\n`);
  if (stale.length > 0) process.exitCode = 1;
}

function contents(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(folder.length + 1), readFileSync(path, "utf8")];
    }),
  );
}

function errorsMarkdown(): string {
  const families = {
    misuse: "The caller broke the contract of an interface; never crosses a wire.",
    "peer-fault": "The other side broke the protocol or is incompatible.",
    refused: "Policy, identity or a limit said no.",
    environment: "The world failed: network, disk, clock.",
    internal: "A defect of Causeway.",
  };
  const lines = [
    "# Errors",
    "",
    "Every error has a stable code. On gRPC it travels as the status below with a `causeway.common.v1.ErrorDetail`, on HTTP as the same detail in JSON. This page is made from the table in `core/base` by `npm run generate`.",
    "",
    ...Object.entries(families).map(([family, text]) => `- **${family}**: ${text}`),
    "",
    "| Code | Family | gRPC status | Retry | Meaning |",
    "|---|---|---|---|---|",
    ...Object.entries(errorTable).map(
      ([code, e]) => `| \`${code}\` | ${e.family} | ${e.status} | ${e.retryable ? "yes" : "no"} | ${e.text} |`,
    ),
    "",
  ];
  return lines.join("\n");
}
