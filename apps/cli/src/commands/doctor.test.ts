import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { silentLog } from "@causeway/core-base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Home } from "../home.ts";
import { startAuthority } from "../processes/authority.ts";
import { freePorts } from "../processes/free-ports.ts";
import { describePeers, examine, type Finding, neighboursOf } from "./doctor.ts";

let home: Home;
beforeEach(() => {
  home = new Home(mkdtempSync(join(tmpdir(), "causeway-doctor-")));
});
afterEach(() => rmSync(home.directory, { recursive: true, force: true }));

function write(text: string): void {
  const file = home.configFile("blue.example");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const configured = (authorityPort: number, gatewayPort: number): string => `domain: blue.example
masterKeyFile: ${JSON.stringify(home.masterKeyFile)}
authority: { listen: "127.0.0.1:${authorityPort}" }
gateways: [{ name: gw, level: 2, listen: "127.0.0.1:${gatewayPort}" }]
`;

const look = (): Promise<readonly Finding[]> => examine(() => home.config({ domain: "blue.example" }));
const bad = (findings: readonly Finding[]): Record<string, string> =>
  Object.fromEntries(findings.filter((f) => !f.ok).map((f) => [f.check, f.detail]));

describe("without a running domain", () => {
  test("no domain: how to start one, and nothing further is looked at", async () => {
    const findings = await look();
    expect(findings.map((f) => f.check)).toEqual(["Node", "configuration"]);
    expect(bad(findings)["configuration"]).toContain("causeway up --domain");
  });

  test("a configuration with a typo: the nearest name", async () => {
    write(configured(7400, 7402).replace("listen", "lisen"));
    expect(bad(await look())["configuration"]).toContain('did you mean "listen"?');
  });

  test("never started: which file is missing and who makes it; looking creates nothing", async () => {
    write(configured(7400, 7402));
    const problems = bad(await look());
    expect(problems["master key"]).toContain('"causeway up" makes it');
    expect(problems["operator identity"]).toContain("the authority makes it at its first start");
    expect(existsSync(home.masterKeyFile)).toBe(false);
  });

  test("a master key that others can read: the command that corrects it", async () => {
    write(configured(7400, 7402));
    mkdirSync(dirname(home.masterKeyFile), { recursive: true });
    writeFileSync(home.masterKeyFile, "x");
    chmodSync(home.masterKeyFile, 0o644);
    expect(bad(await look())["master key"]).toContain(`chmod 600 ${home.masterKeyFile}`);
  });
});

test("with an authority that runs and a gateway that does not, the gateway alone is found, with its address", async () => {
  const [authorityPort = 0, gatewayPort = 0] = await freePorts(2);
  write(configured(authorityPort, gatewayPort));
  const authority = await startAuthority(home.config({ domain: "blue.example" }), silentLog);
  try {
    const findings = await look();
    expect(findings.find((f) => f.check.startsWith("authority"))).toMatchObject({
      ok: true,
      detail: expect.stringContaining("spiffe://blue.example/authority, certificate until"),
    });
    const problems = bad(findings);
    expect(Object.keys(problems)).toEqual([`gw at https://127.0.0.1:${gatewayPort}`, "peers of gw"]);
    for (const detail of Object.values(problems)) expect(detail).toContain("nothing listens there");
  } finally {
    await authority.stop();
  }
});

describe("peers of a gateway", () => {
  const core = { url: "https://core", uplinks: [], peers: ["https://gw2.green.example"] };
  const edge = { url: "https://edge", uplinks: ["https://core"], peers: ["https://core"] };
  const peer = (gatewayUri: string, level: number, syncState = "ESTABLISHED") => ({ gatewayUri, level, syncState });
  const expected = neighboursOf(core, [core, edge]);

  test("neighbours are those that it names and those that name it, each once", () => {
    expect([...expected]).toEqual(["https://gw2.green.example", "https://edge"]);
    expect([...neighboursOf(edge, [core, edge])]).toEqual(["https://core"]);
  });

  test("a registry does not stand in for a neighbour that was never reached", () => {
    expect(() => describePeers(expected, [peer("edge", 1), peer("registry", 0)])).toThrow(
      "1 of 2 configured peers are connected (https://gw2.green.example, https://edge)",
    );
    expect(describePeers(expected, [peer("edge", 1), peer("gw2", 2), peer("registry", 0)])).toBe("2 established");
  });

  test("one that was lost is named with its state", () => {
    expect(() => describePeers(expected, [peer("edge", 1), peer("gw2", 2, "OFFLINE")])).toThrow("gw2 is OFFLINE");
  });
});
