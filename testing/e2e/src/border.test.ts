/** Agents of two domains talk over a border that lets only their gateways through, from behind routers that let nobody in. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assigned } from "@causeway/core-base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { debianTools } from "./debian.ts";
import type { BorderReport } from "./networks/border-report.ts";
import { namespacesMissing, reportOfBox } from "./networks/namespaces.ts";

const tools = debianTools({
  name: "border",
  packages: ["nftables", "iproute2", "procps"],
  check: ["sh", "-c", "nft --version && ip -V && ss -V && sysctl --version"],
});
const missing = "missing" in tools ? tools.missing : namespacesMissing();
if (missing !== undefined) process.stderr.write(`domains with a closed border are not tested: ${missing}\n`);

describe.skipIf(missing !== undefined)("two domains with a closed border", () => {
  let folder: string;
  let report: BorderReport;

  beforeAll(async () => {
    if ("missing" in tools || missing !== undefined) return;
    folder = mkdtempSync(join(tmpdir(), "causeway-border-"));
    report = (await reportOfBox("./border.ts", tools.env, folder)) as BorderReport;
  }, 200_000);

  afterAll(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  test("every scenario of two domains works, and nothing but gateway to gateway crosses the border [AAP-8] [ANA-38]", () => {
    expect(report.story).toMatchObject({
      found: "spiffe://green.example/travel/hotels",
      answer: "For Tokyo: go early, walk, and try the small places.",
      parts: ["Lisbon, morning: the market", "Lisbon, noon: the river", "Lisbon, evening: the old town"],
      a2a: true,
      heardIn: ["blue.example", "green.example"],
      streamed: { bytes: 300_000, isSame: true },
    });
    const { acknowledged, mail } = report.story;
    expect(acknowledged).toMatchObject({ delivered: expect.stringMatching(/delivered|processed/), stored: "stored" });
    expect(mail).toEqual(expect.arrayContaining(["accepted", "delivered", "processed", "while you were out"]));
    expect(report.way).toEqual([
      "https://gw1.blue.example/amsp",
      "https://gw2.blue.example/amsp",
      "https://gw2.green.example/amsp",
      "https://gw1.green.example/amsp",
    ]);
    expect(report.crossed).toEqual([`10.81.0.20 10.82.0.20 ${assigned.gatewayPort}`]);
  });

  test("every other way is closed, and the agents and services did not even try one: no setting tells them of the other domain [ANA-40]", () => {
    const tried = Object.values(report.story.pastTheGateways);
    expect(tried).toHaveLength(5);
    for (const outcome of tried) expect(outcome).toMatch(/^(EHOSTUNREACH|ECONNREFUSED)$/);
    // What the border refused is what the test tried on purpose, and came from no service and no agent.
    const { gatewayPort } = assigned;
    const past = [`10 7400`, `10 7401`, `10 ${gatewayPort}`, `20 ${gatewayPort}`, `30 ${gatewayPort}`];
    expect(report.refused).toEqual(past.map((each) => `10.81.0.30 10.82.0.${each}`).sort());
  });

  test("agents behind routers that translate addresses attach and are reached, and open no port [AAP-16]", () => {
    // Gateways see the router alone.
    expect(report.seenFrom["blue.example"]).toContain("10.81.0.30");
    expect(report.seenFrom["green.example"]).toContain("10.82.0.30");
    for (const clients of Object.values(report.seenFrom))
      expect(clients.filter((address) => address.startsWith("192.168."))).toEqual([]);
    expect(report.story.mail).toContain("processed");
    expect([report.knocked, report.listening, report.story.listening]).toEqual([[], [], []]);
  });
});
