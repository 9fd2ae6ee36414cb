import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Home } from "./home.ts";

let home: Home;
beforeEach(() => {
  vi.stubEnv("CAUSEWAY_DOMAIN", undefined);
  home = new Home(mkdtempSync(join(tmpdir(), "causeway-home-")));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home.directory, { recursive: true, force: true });
});

function setUp(...domains: string[]): void {
  for (const domain of domains) {
    const file = home.configFile(domain);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `domain: ${domain}\nauthority: { listen: "127.0.0.1:7400" }\n`);
  }
}

test("the folder is the one given, else that of the environment, else one in the current folder", () => {
  expect(new Home("/somewhere").directory).toBe("/somewhere");
  vi.stubEnv("CAUSEWAY_HOME", "/elsewhere");
  expect(new Home(undefined).directory).toBe("/elsewhere");
  vi.stubEnv("CAUSEWAY_HOME", undefined);
  expect(new Home(undefined).directory).toBe(join(process.cwd(), ".causeway"));
});

test("an empty home says how to start", () => {
  expect(() => home.config({})).toThrow(/no domain is set up in .*causeway up --domain/);
});

test("the only domain needs no option", () => {
  setUp("blue.example");
  expect(home.config({}).domain).toBe("blue.example");
});

test("of several the option decides, then the environment, then the agent's name; without any it is an error", () => {
  setUp("blue.example", "green.example");
  expect(() => home.config({})).toThrow(/choose one with --domain: blue\.example, green\.example/);
  expect(home.config({}, "green.example/tools/mine").domain).toBe("green.example");
  expect(home.config({}, "spiffe://green.example/tools/mine").domain).toBe("green.example");
  vi.stubEnv("CAUSEWAY_DOMAIN", "blue.example");
  expect(home.config({}, "green.example/tools/mine").domain).toBe("blue.example");
  expect(home.config({ domain: "green.example" }).domain).toBe("green.example");
});

test("an unknown domain is refused with those that are known", () => {
  setUp("blue.example");
  expect(() => home.config({ domain: "bleu.example" })).toThrow(/bleu\.example is not set up .*known: blue\.example/);
});

test("a file beside another domain's name is refused instead of one of them being ignored", () => {
  setUp("blue.example");
  const config = home.configFile("blue.example");
  expect(home.config({ config }).domain).toBe("blue.example");
  expect(() => home.config({ config, domain: "green.example" })).toThrow(/got that of blue\.example/);
});
