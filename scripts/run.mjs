// Runs every command of package.json on the pinned Node, after making the installation complete. Plain JavaScript for
// any Node from 18 on, because it runs before anything is installed.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { applyPatches, installedLibrary } from "../e2ee/patches/apply.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [command, ...rest] = process.argv.slice(2);
const minimumMajor = 24;

ensureInstalled();
ensurePatched();
const node = pinnedNode();
process.exitCode = await run(command, rest);

/**
 * Installs from the lock file when node_modules is missing or belongs to another lock file. Not `npm ci`: it refuses a
 * lock file that lacks optional packages of platforms that the registry at hand does not serve.
 */
function ensureInstalled() {
  const lock = readFileSync(join(root, "package-lock.json"));
  const stampFile = join(root, "node_modules", ".causeway-installed");
  const stamp = createHash("sha256").update(lock).digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  process.stderr.write("causeway: installing dependencies (first run, or package-lock.json changed) ...\n");
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const result = spawnSync(
    npm[0],
    [...npm.slice(1), "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
    {
      cwd: root,
      stdio: ["ignore", 2, "inherit"],
    },
  );
  if (result.status !== 0) {
    process.stderr.write(
      "causeway: npm install failed; see the lines above. The npm registry has to be reachable for the first run.\n",
    );
    process.exit(1);
  }
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, stamp);
}

/** Fixes the MLS library in node_modules (docs/adr/0010); does nothing when that is done already. */
function ensurePatched() {
  try {
    applyPatches(installedLibrary());
  } catch (error) {
    process.stderr.write(`causeway: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}

/** The Node that the repository pins through npm; the machine's own where no pinned build exists for its platform. */
function pinnedNode() {
  const candidate = join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
  if (existsSync(candidate)) return candidate;
  if (Number(process.versions.node.split(".")[0]) >= minimumMajor) return process.execPath;
  process.stderr.write(
    `causeway: Node ${minimumMajor} or later is needed; found ${process.version}, and there is no pinned build for ${process.platform}-${process.arch}.\n`,
  );
  process.exit(1);
}

function run(name, args) {
  const cli = join(root, "apps/cli/src/main.ts");
  const tools = join(root, "scripts/tools.ts");
  switch (name) {
    case "demo":
      return execute([cli, "demo", ...args]);
    case "causeway":
      // A gateway by itself: the heap of apps/cli/src/processes/domain.ts.
      return execute([...(args[0] === "gateway" ? ["--max-semi-space-size=2"] : []), cli, ...args]);
    case "example":
      return example(args);
    default:
      return execute([tools, name, ...args]);
  }
}

function example([name = "", ...args]) {
  const program = join(root, "examples", name, "src/main.ts");
  if (name !== "" && existsSync(program)) return execute([program, ...args]);
  const known = readdirSync(join(root, "examples")).join(", ");
  process.stderr.write(`causeway: expected the name of an example (${known}), got ${JSON.stringify(name)}\n`);
  return 2;
}

/**
 * Runs a program to its end, also after Ctrl-C: it stops by itself, and the prompt comes back when it has. Compiled
 * sources are kept between runs, which halves the time that each process of a domain needs to start.
 */
function execute(args) {
  const separator = process.platform === "win32" ? ";" : ":";
  const path = [dirname(node), join(root, "node_modules/.bin"), process.env.PATH].join(separator);
  const child = spawn(node, ["--disable-warning=ExperimentalWarning", ...args], {
    stdio: "inherit",
    env: { NODE_COMPILE_CACHE: join(root, "node_modules/.cache/node"), ...process.env, PATH: path },
  });
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  // A terminal gives Ctrl-C to the program itself.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  return new Promise((resolve) => {
    child.on("error", (error) => {
      process.stderr.write(`causeway: cannot start ${node}: ${error.message}\n`);
      resolve(1);
    });
    child.on("exit", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
