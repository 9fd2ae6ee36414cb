import { type ChildProcess, execFileSync, type StdioOptions, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

/** Where a process may run. */
export type Core = 0 | 1 | "any";

/** Starts processes pinned to cores, and ends every one of them. */
export class Processes {
  /** How processes are pinned, for the report. */
  readonly pinning: string;
  readonly #taskset: boolean;
  readonly #children = new Set<ChildProcess>();
  readonly #output = new WeakMap<ChildProcess, string>();
  readonly #nodeFlags: readonly string[];

  /** `nodeFlags` go to every Node process, for profiling. */
  constructor(nodeFlags: readonly string[] = []) {
    this.#nodeFlags = nodeFlags;
    this.#taskset = availableParallelism() >= 2 && hasTaskset();
    this.pinning = this.#taskset
      ? "gateway on core 0, both clients on core 1 (taskset)"
      : "not pinned (taskset or a second core is missing): expect noise";
  }

  /** Runs a module of this package as a Node process with an IPC channel; `any`: not pinned. */
  node(module: URL, core: Core, flags: readonly string[] = []): ChildProcess {
    const args = ["--disable-warning=ExperimentalWarning", ...flags, ...this.#nodeFlags, fileURLToPath(module)];
    return this.#start(process.execPath, args, core, true);
  }

  /** Runs a program on the gateway's core. */
  program(command: string, args: readonly string[]): ChildProcess {
    return this.#start(command, args, 0, false);
  }

  /** The last lines that a child wrote, for error messages. */
  outputOf(child: ChildProcess): string {
    return (this.#output.get(child) ?? "").trim().split("\n").slice(-5).join("\n");
  }

  /** Ends a child, by force when it does not go. */
  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    await gone;
    clearTimeout(timer);
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#children].map((child) => this.end(child)));
  }

  #start(command: string, args: readonly string[], core: Core, hasChannel: boolean): ChildProcess {
    const stdio: StdioOptions = ["ignore", "pipe", "pipe", ...(hasChannel ? ["ipc" as const] : [])];
    const child =
      this.#taskset && core !== "any"
        ? spawn("taskset", ["-c", String(core), command, ...args], { stdio })
        : spawn(command, args, { stdio });
    this.#children.add(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#output.set(child, ((this.#output.get(child) ?? "") + chunk.toString()).slice(-outputCharsMax));
      });
    }
    child.once("exit", () => this.#children.delete(child));
    return child;
  }
}

/** The next message of a child that `matches`; rejects when the child ends, and after `withinMs`. */
export function messageOf<T>(
  child: ChildProcess,
  matches: (message: unknown) => message is T,
  what: string,
  withinMs = 30_000,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("exit", onExit);
    };
    const onMessage = (message: unknown) => {
      if (isFailure(message)) {
        settle();
        reject(new Error(`${what}: ${message.failed}`));
      } else if (matches(message)) {
        settle();
        resolve(message);
      }
    };
    const onExit = (code: number | null, signal: string | null) => {
      settle();
      reject(new Error(`${what}: the process ended (${signal ?? `code ${code}`})`));
    };
    const timer = setTimeout(() => {
      settle();
      reject(new Error(`${what}: nothing within ${withinMs} ms`));
    }, withinMs);
    child.on("message", onMessage);
    child.on("exit", onExit);
  });
}

/** CPU time of a process with all its threads so far, in seconds. Linux only; undefined elsewhere. */
export function cpuSeconds(pid: number): number | undefined {
  return cpuSecondsIn(`/proc/${pid}/stat`);
}

/** CPU time in the `stat` of a process or of one of its threads. */
export function cpuSecondsIn(file: string): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(file, "utf8");
  } catch {
    // No /proc on this system, or the process is gone.
    return undefined;
  }
  // The name in parentheses may contain blanks; user and system time are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond();
}

let ticks: number | undefined;

function ticksPerSecond(): number {
  ticks ??= Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
  return ticks;
}

function hasTaskset(): boolean {
  try {
    execFileSync("taskset", ["-c", "0,1", "true"], { stdio: "ignore" });
    return true;
  } catch {
    // Not installed, or the cores are not ours to choose.
    return false;
  }
}

const isFailure = (message: unknown): message is { readonly failed: string } =>
  typeof message === "object" && message !== null && "failed" in message && typeof message.failed === "string";

const killAfterMs = 3_000;
const outputCharsMax = 10_000;
