/** An agent of the demo in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { refuse } from "@causeway/core-base";
import type { ReadyReport } from "../processes/supervisor.ts";

export interface ProcessAgent extends AsyncDisposable {
  readonly pid: number | undefined;
  /** What it reported when it was ready. */
  readonly url: string;
}

const readyMs = 20_000;
const stopMs = 3_000;

/** Starts a TypeScript program and resolves when it reports that it is ready. */
export async function startProcessAgent(program: URL, args: readonly string[], logFile: string): Promise<ProcessAgent> {
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
  const log = createWriteStream(logFile, { mode: 0o600 });
  const child = spawn(process.execPath, [...process.execArgv, program.pathname, ...args], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    detached: true,
  });
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  const url = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(
      () =>
        reject(refuse("CAUSEWAY_TIMEOUT", `${program.pathname} was not ready within ${readyMs} ms; see ${logFile}`)),
      readyMs,
    );
    child.on("message", (report: ReadyReport) => {
      clearTimeout(late);
      resolve(report.url);
    });
    child.on("error", reject);
    child.on("exit", (code) => {
      clearTimeout(late);
      reject(
        refuse(
          "CAUSEWAY_UNREACHABLE",
          `${program.pathname} ended with code ${code} before it was ready; see ${logFile}`,
        ),
      );
    });
  });
  return { pid: child.pid, url, [Symbol.asyncDispose]: () => end(child) };
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const force = setTimeout(() => child.kill("SIGKILL"), stopMs);
    child.once("exit", () => {
      clearTimeout(force);
      resolve();
    });
    child.kill("SIGTERM");
  });
}
