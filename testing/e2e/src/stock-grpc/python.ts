/** Python's own gRPC with code that protoc makes from proto/: a client that has nothing of ours. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { debianTools } from "../debian.ts";

const proto = fileURLToPath(new URL("../../../../proto", import.meta.url));
const program = fileURLToPath(new URL("./agent.py", import.meta.url));

/** What the program needs, or why it cannot run here. */
export function pythonGrpc(): { readonly env: NodeJS.ProcessEnv } | { readonly missing: string } {
  return debianTools({
    name: "python-grpc",
    packages: [
      "python3",
      "python3-grpcio",
      "python3-protobuf",
      "python3-cryptography",
      "protobuf-compiler",
      "protobuf-compiler-grpc",
      "openssl",
    ],
    check: [
      "sh",
      "-c",
      "python3 -c 'import grpc, google.protobuf, cryptography' && protoc --version && command -v grpc_python_plugin && openssl version",
    ],
  });
}

/** Generates code into a folder, with the compiler of protobuf and gRPC's own plugin. */
export function generate(env: NodeJS.ProcessEnv, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const compile = (root: string, ...files: readonly string[]): void => {
    const plugin = spawnSync("sh", ["-c", "command -v grpc_python_plugin"], { env, encoding: "utf8" }).stdout.trim();
    const words = [`--plugin=protoc-gen-grpc_python=${plugin}`, `-I${root}`, `--python_out=${folder}`];
    const { status, stderr } = spawnSync("protoc", [...words, `--grpc_python_out=${folder}`, ...files], {
      env,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`protoc failed: ${stderr}`);
  };
  const own = ["aap", "aca", "agp", "common", "record"].map((name) => `causeway/${name}/v1/${name}.proto`);
  compile(proto, ...own);
  // Python has a package called grpc already: these two get no package.
  compile(join(proto, "grpc/health/v1"), "health.proto");
  compile(join(proto, "grpc/reflection/v1"), "reflection.proto");
}

/** Something that the program said. */
export interface Said {
  readonly event: string;
  readonly [fact: string]: unknown;
}

/** The program, and what it says. */
export class StockAgent implements AsyncDisposable {
  readonly said: Said[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  readonly #ended: Promise<void>;
  #errors = "";
  #isOver = false;

  constructor(env: NodeJS.ProcessEnv, generated: string) {
    const path = [generated, env["PYTHONPATH"] ?? ""].join(":");
    this.#child = spawn("python3", [program], {
      env: { ...env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: "1", GRPC_VERBOSITY: "ERROR" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-4_000);
    });
    this.#child.stdin?.on("error", () => undefined);
    if (this.#child.stdout === null) throw new Error("the program has no output");
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      this.said.push(JSON.parse(line) as Said);
      for (const wake of this.#waiting) wake();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", () => {
        this.#isOver = true;
        for (const wake of this.#waiting) wake();
        resolve();
      });
    });
  }

  do(what: string, facts: Readonly<Record<string, unknown>> = {}): void {
    this.#child.stdin?.write(`${JSON.stringify({ do: what, ...facts })}\n`);
  }

  /** The next saying of this kind that `fits`, taken out; fails with what Python wrote when the program ends before. */
  async hear(event: string, fits: (said: Said) => boolean = () => true): Promise<Said> {
    for (;;) {
      const at = this.said.findIndex((each) => each.event === event && fits(each));
      const [found] = at < 0 ? [] : this.said.splice(at, 1);
      if (found !== undefined) return found;
      if (this.#isOver)
        throw new Error(
          `expected the event ${event}; the program ended after ${JSON.stringify(this.said)}\n${this.#errors}`,
        );
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    this.#child.kill();
    await this.#ended;
  }
}
