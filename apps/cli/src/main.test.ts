/** The program as a process: exit codes, what goes to which stream, JSON that is valid also for errors. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));
let home = "";
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "causeway-main-"));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(...args: string[]): Promise<Ended> {
  const env = { ...process.env, CAUSEWAY_HOME: home, CAUSEWAY_DOMAIN: undefined };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", program, ...args],
      { env, timeout: 30_000 },
      (error, out, err) => resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err }),
    );
  });
}

const everyCommand = [
  ["authority"],
  ["gateway", "gw1"],
  ["registry"],
  ["up"],
  ["attach", "http://127.0.0.1:9"],
  ["a2a"],
  ["discover", "hotel"],
  ["call", "blue.example/a/b"],
  ["call", "blue.example/a/b/@instance"],
  ["send", "blue.example/a/b", "hi"],
  ["send", "blue.example/a/", "any one below it"],
  ["topic", "create", "news"],
  ["topic", "publish", "news", "hi"],
  ["topic", "subscribe", "news"],
  ["bench"],
  ["mailbox", "list"],
  ["mailbox", "show", "blue.example/a/b"],
  ["mailbox", "dead-letters"],
  ["mailbox", "replay", "--all"],
  ["mailbox", "purge", "--all"],
  ["limits"],
  ["limits", "set", "heldMessagesMax", "5"],
  ["limits", "reload"],
  ["metrics"],
  ["monitor", "somewhere"],
  ["cert", "token", "blue.example/a/b"],
  ["cert", "list"],
  ["cert", "revoke", "blue.example/a/b"],
  ["cert", "applications"],
  ["cert", "approve", "1"],
  ["cert", "reject", "1"],
  ["cert", "export-bundle", "/tmp/unused.json"],
  ["cert", "trusted"],
  ["cert", "distrust", "green.example"],
  ["peer", "list"],
  ["attachment", "list"],
  ["route", "list", "blue.example/a"],
  ["subscription", "list"],
  ["status"],
  ["drain", "gw1"],
  ["explain", "blue.example/a/b"],
  ["explain", "message", "0191a2b3c4d57e8f9a0b1c2d3e4f5061"],
] as const;

test("without a domain every command ends with 2 and one JSON error that says how to set one up", {
  timeout: 240_000,
}, async () => {
  // Two at a time: each is a process.
  for (let i = 0; i < everyCommand.length; i += 2) {
    await Promise.all(
      everyCommand.slice(i, i + 2).map(async (args) => {
        const { code, out, err } = await run(...args, "--json");
        expect([args.join(" "), code, err]).toEqual([args.join(" "), 2, ""]);
        expect(JSON.parse(out)).toMatchObject({
          ok: false,
          error: { code: "CAUSEWAY_CONFIG_INVALID", message: expect.stringContaining("no domain is set up in") },
        });
      }),
    );
  }
});

test("for people the error goes to standard error, without colours when it is no terminal", async () => {
  expect(await run("status")).toEqual({
    code: 2,
    out: "",
    err: expect.stringMatching(/^causeway: no domain is set up in .* \[CAUSEWAY_CONFIG_INVALID\]\n$/),
  });
});

test("doctor ends with 1 and valid JSON when something is wrong", async () => {
  const { code, out } = await run("doctor", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ ok: false, findings: [{ check: "Node", ok: true }, { ok: false }] });
});

test("a receiver that is no name is refused before anything is looked for", async () => {
  for (const target of ["nonsense", "/"]) {
    const { code, err } = await run("send", target, "hi");
    expect(code).toBe(2);
    expect(err).toMatch(/^causeway: expected a name like .* \[CAUSEWAY_NAME_INVALID\]\n$/);
  }
});

test.each([
  [["--ack", "read"], 'expected --ack accepted, stored, delivered or processed, got "read"'],
  [["--expires", "1h"], 'expected a whole number from 1 to 604800000 for --expires, got "1h"'],
  [["--expires", "604800001"], 'expected a whole number from 1 to 604800000 for --expires, got "604800001"'],
  [["--priority", "urgent"], 'expected --priority interactive or bulk, got "urgent"'],
])("send with %j is refused with what was expected, before anything is looked for", async (words, said) => {
  expect(await run("send", "blue.example/a/b", "hi", ...words)).toEqual({
    code: 2,
    out: "",
    err: `causeway: ${said} [CAUSEWAY_CONFIG_INVALID]\n`,
  });
});

test.each([
  [["attachment", "list", "no domain"], 'expected a domain like blue.example, got "no domain"', "NAME_INVALID"],
  [["route", "list", "blue.example//a"], "blue.example//a", "NAME_INVALID"],
  [["route", "list", "--limit", "0"], 'expected a whole number from 1 to 10000 for --limit, got "0"', "CONFIG_INVALID"],
] as const)("%j is refused with what was expected, before anything is looked for", async (words, said, code) => {
  const { code: exitCode, out, err } = await run(...words);
  expect([exitCode, out]).toEqual([2, ""]);
  expect(err).toContain(said);
  expect(err).toContain(`[CAUSEWAY_${code}]`);
});

test("a mistyped command is corrected", async () => {
  const { code, err } = await run("discovr", "hotel");
  expect(code).toBe(2);
  expect(err).toContain("unknown command 'discovr'\n(Did you mean discover?)");
});

test("a number of workers that is none says what was expected, and is to be corrected in the command", async () => {
  const file = join(home, "workers.yaml");
  writeFileSync(
    file,
    `domain: workers.example
masterKeyFile: ../workers.key
authority: { listen: "127.0.0.1:9" }
gateways: [{ name: edge, level: 2, listen: "127.0.0.1:9" }]
`,
  );
  const { code, err } = await run("gateway", "edge", "--config", file, "--workers=65");
  expect(code).toBe(2);
  expect(err).toContain('expected --workers auto or 0 to 64, got "65"');
});
