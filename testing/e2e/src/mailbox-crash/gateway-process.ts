/** One gateway of a domain as a process of its own that is killed and started again at once, as often as wanted. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../../../apps/cli/src/main.ts", import.meta.url));
const readyMs = 30_000;

export class GatewayProcess implements AsyncDisposable {
  readonly #args: readonly string[];
  readonly #logFile: string;
  #child: ChildProcess | undefined;

  /** `args` as for `causeway gateway`. */
  constructor(args: readonly string[], logFile: string) {
    this.#args = args;
    this.#logFile = logFile;
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", program, "gateway", ...this.#args],
      {
        stdio: ["ignore", "pipe", "pipe", "ipc"],
        detached: true,
      },
    );
    this.#child = child;
    const log = createWriteStream(this.#logFile, { flags: "a" });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    child.once("exit", () => log.end());
    const signal = AbortSignal.timeout(readyMs);
    const ended = once(child, "exit", { signal }).then(([code, by]) => {
      throw new Error(`the gateway ended with ${by ?? `code ${code}`} before it served; see ${this.#logFile}`);
    });
    ended.catch(() => undefined);
    await Promise.race([once(child, "message", { signal }), ended]);
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
