/** Runs the services of a domain as child processes: starts, watches, restarts with back-off, stops. */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defaults, type ErrorCode, refuse } from "@causeway/core-base";

/** What a child reports over its IPC channel once it serves. */
export interface ReadyReport {
  readonly ready: true;
  readonly url: string;
}

/** What a child reports over its IPC channel: that it serves, that it ends because it was asked to, why it failed. */
export type ChildReport =
  | ReadyReport
  | { readonly ended: true }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string } };

export interface ServiceSpec {
  /** Unique name, for example blue.example/gw1. */
  readonly name: string;
  /** Arguments of the program `causeway`. */
  readonly args: readonly string[];
  /** Flags of Node beside our own. */
  readonly nodeFlags?: readonly string[];
  /** JSON lines of the child go here. */
  readonly logFile: string;
}

/** One watched child. */
export interface Service {
  readonly name: string;
  readonly pid: number | undefined;
  readonly url: string;
  readonly restarts: number;
}

export interface SupervisorOptions {
  /** How long a child may take until it serves. Default 30,000. */
  readonly readyMs?: number;
  /** The program to run, for tests. Default: this one. */
  readonly program?: string;
  /** The environment of a service, for tests. Default: that of this process. */
  readonly environment?: (service: string) => NodeJS.ProcessEnv;
  /** What an operator should know of a child, in words: it has ended, and what follows; its log cannot be written. */
  readonly onNotice?: (service: Service, description: string) => void;
}

const programDefault = fileURLToPath(new URL("../main.ts", import.meta.url));
/** A child that ran this long starts the back-off anew. */
const healthyMs = 60_000;

export class Supervisor implements AsyncDisposable {
  readonly #options: SupervisorOptions;
  readonly #children = new Map<string, Child>();
  #stopping = false;

  constructor(options: SupervisorOptions = {}) {
    this.#options = options;
  }

  get services(): readonly Service[] {
    return [...this.#children.values()];
  }

  /** Starts a service and resolves when it serves. Rejects with what the child said when it ends before. */
  async start(spec: ServiceSpec): Promise<Service> {
    if (this.#stopping) throw refuse("CAUSEWAY_MISUSE", `the supervisor stops; ${spec.name} is not started any more`);
    if (this.#children.has(spec.name)) throw refuse("CAUSEWAY_MISUSE", `the service ${spec.name} runs already`);
    const child = new Child(spec, this.#options, () => this.#stopping);
    this.#children.set(spec.name, child);
    await child.launch();
    return child;
  }

  /** Asks every child to stop, in reverse order of start, and ends those that do not within the deadline. */
  async stop(deadlineMs = 5_000): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#children.values()].reverse().map((child) => child.stop(deadlineMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

class Child implements Service {
  readonly name: string;
  readonly #spec: ServiceSpec;
  readonly #options: SupervisorOptions;
  readonly #isStopping: () => boolean;
  #process: ChildProcess | undefined;
  #retry: NodeJS.Timeout | undefined;
  url = "";
  restarts = 0;
  #backOffMs: number = defaults.reconnectMsMin;

  constructor(spec: ServiceSpec, options: SupervisorOptions, isStopping: () => boolean) {
    this.name = spec.name;
    this.#spec = spec;
    this.#options = options;
    this.#isStopping = isStopping;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  launch(): Promise<void> {
    mkdirSync(dirname(this.#spec.logFile), { recursive: true, mode: 0o700 });
    const log = createWriteStream(this.#spec.logFile, { flags: "a", mode: 0o600 });
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv,
        ...(this.#spec.nodeFlags ?? []),
        this.#options.program ?? programDefault,
        ...this.#spec.args,
      ],
      {
        stdio: ["ignore", "pipe", "pipe", "ipc"],
        // Own group: a Ctrl-C at the terminal reaches the supervisor alone, which stops the children in order.
        detached: true,
        ...(this.#options.environment && { env: this.#options.environment(this.name) }),
      },
    );
    this.#process = child;
    // A full disk takes the log, not the service.
    log.on("error", ({ message }) => {
      this.#options.onNotice?.(this, `cannot write the log of ${this.name}, ${this.#spec.logFile}: ${message}`);
    });
    // What a child said last comes after its end, and what it started may speak longer than it lives.
    child.on("close", () => log.end());
    let lastWords = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        lastWords = (lastWords + chunk.toString("utf8")).slice(-2_000);
        if (log.writable) log.write(chunk);
      });
    }
    const startedAt = performance.now();
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        child.kill("SIGKILL");
        reject(
          refuse(
            "CAUSEWAY_TIMEOUT",
            `${this.name} did not serve within ${this.#options.readyMs ?? 30_000} ms; see ${this.#spec.logFile}`,
          ),
        );
      }, this.#options.readyMs ?? 30_000);
      let isReady = false;
      let isDone = false;
      let failure: { readonly code: ErrorCode; readonly message: string } | undefined;
      child.on("message", (report: ChildReport) => {
        if ("ended" in report) {
          isDone = true;
          return;
        }
        if ("failed" in report) {
          failure = report.failed;
          return;
        }
        clearTimeout(late);
        isReady = true;
        this.url = report.url;
        resolve();
      });
      child.on("error", reject);
      child.on("exit", (code, signal) => {
        clearTimeout(late);
        if (this.#process === child) this.#process = undefined;
        const description = `${this.name} ended with ${signal ?? `code ${code}`}`;
        if (!isReady)
          reject(
            failure === undefined
              ? refuse("CAUSEWAY_UNREACHABLE", `${description} before it served: ${lastLineOf(lastWords)}`)
              : refuse(failure.code, `${this.name}: ${failure.message}`),
          );
        if (this.#isStopping()) return;
        if (isDone) {
          this.#options.onNotice?.(this, `${description} as it was asked to; it stays down`);
          return;
        }
        if (!isReady && this.restarts === 0) return;
        this.#options.onNotice?.(this, `${description}; it is started again`);
        this.#restart(performance.now() - startedAt);
      });
    });
  }

  #restart(ranMs: number): void {
    if (ranMs > healthyMs) this.#backOffMs = defaults.reconnectMsMin;
    this.#retry = setTimeout(() => {
      this.restarts += 1;
      // The exit handler of the new process has restarted or reported it already.
      this.launch().catch(() => undefined);
    }, this.#backOffMs);
    this.#backOffMs = Math.min(defaults.reconnectMsMax, this.#backOffMs * 2);
  }

  stop(deadlineMs: number): Promise<void> {
    clearTimeout(this.#retry);
    const child = this.#process;
    if (child === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const force = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
      child.on("exit", () => {
        clearTimeout(force);
        resolve();
      });
      child.kill("SIGTERM");
    });
  }
}

/** What a child said last that could not report: it was killed, or broke before it was itself. */
function lastLineOf(lastWords: string): string {
  return lastWords.trim().split("\n").at(-1) || "it said nothing";
}
