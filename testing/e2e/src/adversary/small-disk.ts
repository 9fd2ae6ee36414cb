/** A file system of a few megabytes that a test can fill. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

export class SmallDisk implements Disposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Mounts it at `directory`; undefined where this user may not mount. */
  static mount(directory: string, megabytes: number): SmallDisk | undefined {
    mkdirSync(directory, { recursive: true });
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "causeway-test", directory], { stdio: "pipe" });
    } catch {
      // Not root, or a sandbox without mounts.
      return undefined;
    }
    return new SmallDisk(directory);
  }

  /** Takes every free byte. */
  fill(): void {
    const file = openSync(join(this.directory, ballast), "a", 0o600);
    try {
      for (let bytes = 1_048_576; bytes >= 1; bytes = Math.floor(bytes / 2)) {
        while (isWritten(file, Buffer.alloc(bytes)));
      }
    } finally {
      closeSync(file);
    }
  }

  /** Gives back what `fill` took. */
  free(): void {
    rmSync(join(this.directory, ballast), { force: true });
  }

  [Symbol.dispose](): void {
    // Lazily: a process that is slow to end must not keep the mount.
    execFileSync("umount", ["--lazy", this.directory], { stdio: "pipe" });
  }
}

function isWritten(file: number, bytes: Buffer): boolean {
  try {
    return writeSync(file, bytes) === bytes.length;
  } catch {
    // ENOSPC is what this is for.
    return false;
  }
}

const ballast = "ballast";
