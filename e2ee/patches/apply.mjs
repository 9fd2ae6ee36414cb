// Applies the fixes of ts-mls-1.6.4.mjs to the installed library. Runs before every command (scripts/run.mjs), because
// packages are installed without their scripts. Idempotent; several processes may run it at once. Plain JavaScript for
// any Node from 18 on.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { files, packageName, version } from "./ts-mls-1.6.4.mjs";

/** Directory of the installed library: the nearest node_modules above this room, as Node resolves it. */
export function installedLibrary() {
  for (let at = dirname(dirname(fileURLToPath(import.meta.url))); ; at = dirname(at)) {
    const candidate = join(at, "node_modules", packageName);
    if (existsSync(join(candidate, "package.json"))) return candidate;
    if (dirname(at) === at)
      throw new Error(`${packageName} is not installed; run npm start or npm test at the root of the repository`);
  }
}

/**
 * Brings every file to its fixed content and returns the paths that were changed. Throws without changing anything
 * when the library is another version or a file is neither the published nor the fixed one.
 */
export function applyPatches(directory) {
  const found = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")).version;
  if (found !== version) {
    throw new Error(
      `expected ${packageName} ${version}, found ${found} in ${directory}. The fixes in e2ee/patches belong to ${version}: ` +
        `install that version, or review whether the new one needs them and write a new patch file.`,
    );
  }
  const pending = [];
  for (const file of files) {
    const path = join(directory, file.path);
    const text = readFileSync(path, "utf8");
    const digest = sha256(text);
    if (digest === file.after) continue;
    if (digest !== file.before) {
      throw new Error(
        `${path} is neither the file that ${packageName} ${version} publishes nor the fixed one (sha-256 ${digest}). ` +
          `Delete node_modules/${packageName} and node_modules/.causeway-installed and start again.`,
      );
    }
    const fixed = fix(text, file);
    if (sha256(fixed) !== file.after)
      throw new Error(`the edits for ${file.path} do not give the expected content (sha-256 ${sha256(fixed)})`);
    pending.push({ path, fixed });
  }
  for (const { path, fixed } of pending) {
    const temporary = `${path}.${process.pid}.new`;
    try {
      writeFileSync(temporary, fixed);
      renameSync(temporary, path);
    } finally {
      rmSync(temporary, { force: true });
    }
  }
  return pending.map(({ path }) => path);
}

function fix(text, file) {
  let fixed = text;
  for (const { find, replace } of file.edits) {
    const parts = fixed.split(find);
    if (parts.length !== 2)
      throw new Error(`expected one occurrence in ${file.path}, found ${parts.length - 1}: ${find.slice(0, 80)}`);
    fixed = parts.join(replace);
  }
  return fixed;
}

function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const changed = applyPatches(installedLibrary());
    if (changed.length > 0)
      process.stderr.write(`causeway: applied the MLS library fixes to ${changed.length} files\n`);
  } catch (error) {
    process.stderr.write(`causeway: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
