import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DemoReport } from "../../../apps/cli/src/demo/report.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-demo-"));
let exitCode: number | null;
let stdout = "";
let stderr = "";
let report: DemoReport;

beforeAll(async () => {
  const child = spawn(process.execPath, ["scripts/run.mjs", "demo", "--once", "--json", "--home", folder], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  exitCode = await new Promise((resolve) => child.on("exit", resolve));
  report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as DemoReport;
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("npm start -- --once --json", () => {
  test("all of it is true, and the last line says so [ANA-1, ANA-3, AAP-27]", () => {
    expect(stderr).not.toContain("demo:");
    expect(report.ok).toBe(true);
    expect(exitCode).toBe(0);
    expect(report).toMatchObject({ domains: 2, gateways: 4 });
  });

  test("one agent of the other domain is found in plain words, with a reason [ANA-7, AMSP-63, AMSP-93]", () => {
    expect(report.discovered.agentId).toBe("spiffe://green.example/travel/hotels");
    expect(report.discovered.why).toMatch(/hotel/i);
  });

  test("the exchange passes exactly gw1 and gw2 of blue, then gw2 and gw1 of green, each with its reason [AGP-18, AAP-39, AMSP-96]", () => {
    expect(report.path).toEqual([
      "https://gw1.blue.example/amsp",
      "https://gw2.blue.example/amsp",
      "https://gw2.green.example/amsp",
      "https://gw1.green.example/amsp",
    ]);
    expect(report.hops.map((hop) => hop.verdict)).toEqual(["relay", "relay", "relay", "deliver"]);
    for (const hop of report.hops) expect(hop.reason).not.toBe("");
    expect(report.e2e).toMatchObject({ protocol: "mls", suite: 1 });
    expect(report.e2e.answer).toContain("Tokyo");
  });

  test("an unmodified A2A client sends, streams, gets and cancels [AAP-12]", () => {
    expect(report.a2a).toMatchObject({ ok: true, state: "TASK_STATE_COMPLETED", canceled: "TASK_STATE_CANCELED" });
  });

  test("a publication reaches subscribers of both domains [AGP-2]", () => {
    expect(report.topic.domains.toSorted()).toEqual(["blue.example", "green.example"]);
  });

  test("a revoked agent is out and does not come back [AGP-33]", () => {
    expect(report.revoked).toMatchObject({ agentId: "spiffe://blue.example/temp/intern", returned: false });
    expect(report.revoked.detachedMs).toBeLessThanOrEqual(1_000);
  });
});
