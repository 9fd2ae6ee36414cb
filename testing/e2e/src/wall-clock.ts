/**
 * Wall clocks of processes that a test can set while they run, with Debian's libfaketime. Only the time of day is faked:
 * what counts from a start goes on as it is, as when somebody sets the clock of a machine.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { debianTools } from "./debian.ts";

/** The library, or why there is none. */
export type FakedTime = { readonly library: string } | { readonly missing: string };

export function fakedTime(): FakedTime {
  const tools = debianTools({
    name: "faketime",
    packages: ["faketime", "libfaketime"],
    check: ["faketime", "--version"],
  });
  if ("missing" in tools) return tools;
  const unpacked = (tools.env["LD_LIBRARY_PATH"] ?? "").split(":").filter((folder) => folder !== "");
  const own = readdirSync("/usr/lib").map((name) => join("/usr/lib", name));
  const library = [...unpacked, ...own]
    .map((folder) => join(folder, "faketime", "libfaketimeMT.so.1"))
    .find((file) => existsSync(file));
  return library === undefined ? { missing: "the package libfaketime has no libfaketimeMT.so.1 here" } : { library };
}

/** Hours between the clock of a process and the right time. */
export class WallClock {
  readonly #file: string;
  readonly #library: string;

  /** `file` is where the offset is kept; the clock is right at first. */
  constructor(library: string, file: string) {
    this.#library = library;
    this.#file = file;
    mkdirSync(dirname(file), { recursive: true });
    this.set(0);
  }

  /** For the process that is to have this clock. */
  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      // Files keep the times that they have.
      NO_FAKE_STAT: "1",
    };
  }

  /** From now on, for every look at the clock. */
  set(hours: number): void {
    const next = `${this.#file}.next`;
    writeFileSync(next, `${hours < 0 ? "-" : "+"}${Math.abs(hours)}h\n`);
    renameSync(next, this.#file);
  }
}
