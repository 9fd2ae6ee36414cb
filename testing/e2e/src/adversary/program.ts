/** Runs the program as somebody at a terminal does. */
import { execFile } from "node:child_process";
import type { World } from "../world.ts";

/** What came of it. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const main = new URL("../../../../apps/cli/src/main.ts", import.meta.url).pathname;

/** Runs `causeway` with these arguments until it ends. */
export function causeway(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const options = { timeout: 30_000, killSignal: "SIGKILL", maxBuffer: 1e8 } as const;
    execFile(process.execPath, [...process.execArgv, main, ...args], options, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(error);
      else resolve({ exitCode: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

/** What a command answers for blue.example, with --json. Rejects with what came of it when that is an error. */
export async function answerIn<T>({ home }: World, ...args: readonly string[]): Promise<T> {
  const outcome = await causeway(...args, "--json", "--home", home.directory, "--domain", "blue.example");
  if (outcome.exitCode !== 0) throw Object.assign(new Error(`causeway ${args.join(" ")}: ${outcome.stderr}`), outcome);
  return JSON.parse(outcome.stdout) as T;
}

/** What the program says went wrong, with --json. Throws when nothing did. */
export function refusalIn({ stdout }: Outcome): { readonly code: string; readonly message: string } {
  const { ok, error } = JSON.parse(stdout) as { ok: boolean; error?: { code: string; message: string } };
  if (ok || error === undefined) throw new Error(`expected a refusal, got ${stdout}`);
  return error;
}
