/** One process at a time in the directory of an agent. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { codeOf } from "../testing/index.ts";
import { connect } from "./connect.ts";
import { lockDirectory } from "./directory-lock.ts";

let directory: string;

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "causeway-lock-")), "agent");
});

afterEach(() => rmSync(join(directory, ".."), { recursive: true, force: true }));

test("a second agent in a directory that is in use is refused with the directory's name, and works when it is free", async () => {
  const lock = await lockDirectory(directory);
  await expect(lockDirectory(directory)).rejects.toMatchObject({
    code: "CAUSEWAY_STORE_IN_USE",
    message: expect.stringContaining(directory) as string,
  });
  const options = { name: "blue.example/travel/alice", dataDir: directory, gateway: "https://127.0.0.1:1" };
  expect(await codeOf(connect(options))).toBe("CAUSEWAY_STORE_IN_USE");
  lock.release();
  lock.release();
  // A connect that fails for another reason leaves the directory free.
  expect(await codeOf(connect(options))).not.toBe("CAUSEWAY_STORE_IN_USE");
  (await lockDirectory(directory)).release();
});

test("a process that was killed leaves nothing behind that would have to be cleared", async () => {
  const module = fileURLToPath(new URL("./directory-lock.ts", import.meta.url));
  const script = `const { lockDirectory } = await import(${JSON.stringify(module)}); globalThis.held = await lockDirectory(process.argv[1]); console.log("held"); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(child.stdout, "data");
    expect(await codeOf(lockDirectory(directory))).toBe("CAUSEWAY_STORE_IN_USE");
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  (await lockDirectory(directory)).release();
});
