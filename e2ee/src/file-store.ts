/** State of one agent in a directory: one file of mode 0600 for each key, written atomically. */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { refuse } from "@causeway/core-base";
import type { MonotonicCounter, StateStore } from "./ports.ts";
import { readSlots, SlotFile, slotFileOf } from "./slot-file.ts";

const suffix = ".state";
const temporarySuffix = ".new";
/** Files that are kept open for their next write. */
const openMax = 64;
/** Younger temporary files may belong to a write that is under way. */
const temporaryMsMax = 60_000;

/** Keeps every key in a file of its own. The directory is made with mode 0700 on first use. */
export class FileStateStore implements StateStore {
  readonly #directory: string;
  /** Files of the keys that were written last, open; the one used least recently goes first. */
  readonly #open = new Map<string, SlotFile>();
  /** Keys whose files are being replaced. */
  readonly #replacing = new Map<string, Promise<void>>();
  #made: Promise<unknown> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const path = this.#path(key);
    try {
      return readSlots(await readFile(path));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw storeFailure("read", key, error);
    }
  }

  async put(key: string, value: Uint8Array, options?: { readonly durable?: boolean }): Promise<void> {
    const path = this.#path(key);
    try {
      this.#made ??= mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await this.#made.catch((thrown: unknown) => {
        // The next write tries again.
        this.#made = undefined;
        throw thrown;
      });
      for (let other = this.#replacing.get(key); other; other = this.#replacing.get(key))
        await other.catch(() => undefined);
      const durable = options?.durable === true;
      const file = this.#file(key, path);
      if (file?.write(value)) {
        if (durable) await file.sync();
        return;
      }
      this.#close(key);
      const replaced = replaceFile(this.#directory, path, slotFileOf(value), durable);
      this.#replacing.set(key, replaced);
      await replaced.finally(() => this.#replacing.delete(key));
    } catch (error) {
      throw storeFailure("write", key, error);
    }
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key);
    try {
      this.#close(key);
      await rm(path, { force: true });
    } catch (error) {
      throw storeFailure("delete", key, error);
    }
  }

  async list(prefix: string): Promise<readonly string[]> {
    let names: readonly string[];
    try {
      names = await readdir(this.#directory);
    } catch (error) {
      if (isMissing(error)) return [];
      throw storeFailure("list", prefix, error);
    }
    const keys: string[] = [];
    for (const name of names) {
      if (name.endsWith(temporarySuffix)) await removeIfOld(join(this.#directory, name));
      if (!name.endsWith(suffix)) continue;
      const key = name.slice(0, -suffix.length).replaceAll("+", "/");
      if (key.startsWith(prefix)) keys.push(key);
    }
    return keys;
  }

  #file(key: string, path: string): SlotFile | undefined {
    const file = this.#open.get(key) ?? SlotFile.open(path);
    this.#open.delete(key);
    if (file === undefined) return undefined;
    this.#open.set(key, file);
    if (this.#open.size > openMax) {
      const oldest = this.#open.keys().next();
      if (!oldest.done) this.#close(oldest.value);
    }
    return file;
  }

  #close(key: string): void {
    this.#open.get(key)?.close();
    this.#open.delete(key);
  }

  #path(key: string): string {
    if (!/^[a-z0-9/._-]{1,200}$/.test(key))
      throw refuse("CAUSEWAY_MISUSE", `expected a state key, got ${JSON.stringify(key)}`);
    return join(this.#directory, key.replaceAll("/", "+") + suffix);
  }
}

/** A counter in one file, meant to lie outside the state directory. */
export class FileCounter implements MonotonicCounter {
  readonly #directory: string;
  readonly #file: string;
  #value: number | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(directory: string, name: string) {
    this.#directory = directory;
    this.#file = join(directory, name);
  }

  async read(): Promise<number> {
    if (this.#value !== undefined) return this.#value;
    try {
      const value = Number.parseInt(await readFile(this.#file, "utf8"), 10);
      if (!Number.isSafeInteger(value) || value < 0) throw new Error("not a number");
      this.#value = value;
    } catch (error) {
      if (!isMissing(error)) throw storeFailure("read", this.#file, error);
      this.#value = 0;
    }
    return this.#value;
  }

  advance(value: number): Promise<void> {
    const step = this.#queue.then(async () => {
      if (value <= (await this.read())) return;
      try {
        await mkdir(this.#directory, { recursive: true, mode: 0o700 });
        await replaceFile(this.#directory, this.#file, Buffer.from(String(value)), true);
      } catch (error) {
        throw storeFailure("write", this.#file, error);
      }
      this.#value = value;
    });
    // The queue only orders; the caller of each step gets its failure.
    this.#queue = step.catch(() => undefined);
    return step;
  }
}

async function replaceFile(directory: string, path: string, value: Uint8Array, durable: boolean): Promise<void> {
  const temporary = `${path}.${randomUUID()}${temporarySuffix}`;
  try {
    if (durable) {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(value);
        await file.sync();
      } finally {
        await file.close();
      }
    } else {
      await writeFile(temporary, value, { mode: 0o600, flag: "wx" });
    }
    await rename(temporary, path);
    if (durable) await syncDirectory(directory);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Removes what a process that was killed while writing left behind. */
async function removeIfOld(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info !== undefined && info.mtimeMs < Date.now() - temporaryMsMax) await rm(path, { force: true });
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return errnoOf(error) === "ENOENT";
}

function errnoOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}

function storeFailure(action: string, key: string, cause: unknown): Error {
  const full = errnoOf(cause) === "ENOSPC" || errnoOf(cause) === "EDQUOT";
  return refuse(
    full ? "CAUSEWAY_STORE_FULL" : "CAUSEWAY_STORE_FAILED",
    `could not ${action} the end-to-end state ${key}`,
    { cause },
  );
}
