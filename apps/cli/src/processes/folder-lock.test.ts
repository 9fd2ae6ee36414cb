import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCausewayError } from "@causeway/core-base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { holdFolder } from "./folder-lock.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-lock-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function refusal(): string {
  try {
    holdFolder(directory)[Symbol.dispose]();
    return "none";
  } catch (thrown) {
    return isCausewayError(thrown) ? thrown.code : String(thrown);
  }
}

test("one holder at a time, free again after it", () => {
  const held = holdFolder(directory);
  expect(refusal()).toBe("CAUSEWAY_STORE_IN_USE");
  held[Symbol.dispose]();
  expect(refusal()).toBe("none");
});

test("a process that is killed leaves nothing that has to be cleared", async () => {
  const holder = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      "--input-type=module",
      "-e",
      `import { holdFolder } from ${JSON.stringify(new URL("./folder-lock.ts", import.meta.url).href)};
       globalThis.held = holdFolder(${JSON.stringify(directory)});
       console.log("held");
       setInterval(() => {}, 60_000);`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await once(holder.stdout, "data");
  expect(refusal()).toBe("CAUSEWAY_STORE_IN_USE");
  const ended = once(holder, "exit");
  holder.kill("SIGKILL");
  await ended;
  expect(refusal()).toBe("none");
});
