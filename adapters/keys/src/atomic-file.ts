/** Files that are either the old or the new content, never half of one; and the one place that names system errors. */
import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type CausewayError, isCausewayError, refuse } from "@causeway/core-base";

/** Makes a directory that only its owner may enter. */
export async function makePrivateDirectory(directory: string): Promise<void> {
  await named(directory, async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
  });
}

/** Replaces `file` as a whole: temporary file, fsync, rename, fsync of the directory. Mode 0600. */
export async function writeFileAtomic(file: string, content: Uint8Array): Promise<void> {
  await viaTemporary(file, content, (temporary) => rename(temporary, file));
}

/** As `writeFileAtomic`, but leaves an existing file alone; false when there was one. */
export async function createFileAtomic(file: string, content: Uint8Array): Promise<boolean> {
  try {
    await viaTemporary(file, content, async (temporary) => {
      await link(temporary, file);
      await rm(temporary);
    });
    return true;
  } catch (thrown) {
    if (isCausewayError(thrown) && hasCode(thrown.cause, "EEXIST")) return false;
    throw thrown;
  }
}

/** The content, or undefined when the file does not exist. */
export async function readFileIfAny(file: string): Promise<Uint8Array | undefined> {
  return named(file, async () => {
    try {
      return new Uint8Array(await readFile(file));
    } catch (thrown) {
      if (hasCode(thrown, "ENOENT")) return undefined;
      throw thrown;
    }
  });
}

/** True for the temporary files of this module. */
export function isTemporary(name: string): boolean {
  return name.startsWith(".") && name.endsWith(".tmp");
}

/** True when `thrown` is a system error with this code. */
export function hasCode(thrown: unknown, code: string): boolean {
  return typeof thrown === "object" && thrown !== null && "code" in thrown && thrown.code === code;
}

/** Runs file operations and turns their errors into errors of the table. */
export async function named<T>(file: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (thrown) {
    throw fileError(file, thrown);
  }
}

function fileError(file: string, thrown: unknown): CausewayError {
  if (isCausewayError(thrown)) return thrown;
  if (hasCode(thrown, "ENOSPC") || hasCode(thrown, "EDQUOT")) {
    return refuse("CAUSEWAY_STORE_FULL", `no space left to write ${file}; free space and retry`, { cause: thrown });
  }
  const code =
    typeof thrown === "object" && thrown !== null && "code" in thrown ? String(thrown.code) : "unknown error";
  return refuse("CAUSEWAY_STORE_FAILED", `cannot read or write ${file} (${code}); check that it belongs to this user`, {
    cause: thrown,
  });
}

async function viaTemporary(
  file: string,
  content: Uint8Array,
  publish: (temporary: string) => Promise<void>,
): Promise<void> {
  const directory = dirname(file);
  const temporary = join(directory, `.${basename(file)}.${randomBytes(6).toString("hex")}.tmp`);
  await named(file, async () => {
    try {
      const handle = await open(temporary, "wx", 0o600);
      try {
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await publish(temporary);
    } catch (thrown) {
      await rm(temporary, { force: true });
      throw thrown;
    }
    const parent = await open(directory, "r");
    try {
      await parent.sync();
    } finally {
      await parent.close();
    }
  });
}
