/** The master key file: 32 random bytes as text, made on first use, readable by its owner only. */
import { randomBytes } from "node:crypto";
import { realpath, stat } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { refuse } from "@causeway/core-base";
import { createFileAtomic, makePrivateDirectory, named, readFileIfAny } from "./atomic-file.ts";

const header = "causeway-master-key-v1 ";
const keyBytes = 32;

/** What `readMasterKey` needs to know. */
export interface MasterKeyOptions {
  readonly file: string;
  /** The directory whose keys it opens; the file may not lie inside. */
  readonly directory: string;
  /** Make the file when it does not exist. */
  readonly create: boolean;
}

/** The master key. Throws `CAUSEWAY_KEYS_MASTER_MISSING` or `CAUSEWAY_KEYS_MASTER_UNSAFE`. */
export async function readMasterKey(options: MasterKeyOptions): Promise<Uint8Array> {
  const { file, directory, create } = options;
  let text = await readFileIfAny(file);
  if (!text && create) {
    await refuseInside(file, directory);
    await makeMasterKey(file);
    text = await readFileIfAny(file);
  }
  if (!text) {
    throw refuse(
      "CAUSEWAY_KEYS_MASTER_MISSING",
      `expected the master key that wrapped ${directory} in ${file}, found no file; restore it, or remove the directory and enrol again`,
    );
  }
  await refuseInside(file, directory);
  await refuseReadableByOthers(file);
  return parseMasterKey(file, text);
}

async function makeMasterKey(file: string): Promise<void> {
  const directory = dirname(file);
  const exists = await stat(directory).catch(() => undefined);
  if (!exists) await makePrivateDirectory(directory);
  const line = `${header}${randomBytes(keyBytes).toString("base64url")}\n`;
  // False means that another process was first; its key is the one to use.
  await createFileAtomic(file, Buffer.from(line));
}

function parseMasterKey(file: string, text: Uint8Array): Uint8Array {
  const line = Buffer.from(text).toString("latin1").trimEnd();
  const key = line.startsWith(header) ? Buffer.from(line.slice(header.length), "base64url") : undefined;
  if (key?.length !== keyBytes) {
    throw refuse(
      "CAUSEWAY_KEYS_MASTER_WRONG",
      `expected one line "${header}<key>" in ${file}, got something else; name the file that was made with the data directory`,
    );
  }
  return new Uint8Array(key);
}

async function refuseInside(file: string, directory: string): Promise<void> {
  const real = async (path: string) => realpath(path).catch(() => resolve(path));
  const way = relative(await real(directory), resolve(await real(dirname(file)), "x"));
  if (way.startsWith("..") || resolve(way) === way) return;
  throw refuse(
    "CAUSEWAY_KEYS_MASTER_UNSAFE",
    `the master key file ${file} lies inside ${directory}, so a copy of the directory would open itself; move it elsewhere`,
  );
}

async function refuseReadableByOthers(file: string): Promise<void> {
  // Windows has no mode bits; access lists of the user's profile take their place.
  if (process.platform === "win32") return;
  const { mode } = await named(file, () => stat(file));
  if ((mode & 0o077) === 0) return;
  throw refuse(
    "CAUSEWAY_KEYS_MASTER_UNSAFE",
    `expected mode 0600 on the master key file ${file}, got 0${(mode & 0o777).toString(8)}; run: chmod 600 ${file}`,
  );
}
