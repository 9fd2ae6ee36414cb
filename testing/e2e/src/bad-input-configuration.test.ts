import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { causeway, refusalIn } from "./adversary/program.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-configuration-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const good = {
  domain: "blue.example",
  masterKeyFile: "../keys/master.key",
  authority: { listen: "127.0.0.1:7400" },
  gateways: [{ name: "edge", level: 1, listen: "127.0.0.1:7402", uplinks: [] as string[] }],
};

/** Starts a service with a configuration; its exit code and what it said. */
async function startWith(configuration: object | string, ...args: readonly string[]) {
  const file = join(folder, "causeway.yaml");
  writeFileSync(file, typeof configuration === "string" ? configuration : JSON.stringify(configuration));
  return await causeway(
    ...(args.length > 0 ? args : ["gateway", "edge"]),
    "--config",
    file,
    "--home",
    join(folder, "home"),
    "--json",
  );
}

describe("a configuration with a mistake", () => {
  const [edge] = good.gateways;
  test.for([
    [
      "a typo at the top",
      { ...good, dataDirr: "data" },
      /unknown key "dataDirr" at top level; did you mean "dataDir"\?/,
    ],
    [
      "a typo in a gateway",
      { ...good, gateways: [{ ...edge, uplink: [] }] },
      /unknown key "uplink" at gateways\.0; did you mean "uplinks"\?/,
    ],
    [
      "a key that is like none",
      { ...good, colour: "blue" },
      /unknown key "colour" at top level; known are domain, dataDir/,
    ],
    [
      "a wrong level",
      { ...good, gateways: [{ ...edge, level: 3 }] },
      /gateways\.0\.level must be one of \[1,2\], got 3/,
    ],
    [
      "a gateway that does not exist",
      { ...good, gateways: [{ ...edge, uplinks: ["core"] }] },
      /uplinks names "core", which is no gateway here \(known: edge\)/,
    ],
    [
      "a master key beside the data that it protects",
      { ...good, masterKeyFile: "data/master.key" },
      /masterKeyFile lies inside dataDir/,
    ],
    ["no YAML", "domain: [blue", /causeway\.yaml: /],
  ] as const)("%s: exit code 2 and the code, and it says where", async ([, configuration, message]) => {
    const outcome = await startWith(configuration);
    expect(outcome.exitCode).toBe(2);
    expect(refusalIn(outcome)).toMatchObject({
      code: "CAUSEWAY_CONFIG_INVALID",
      message: expect.stringMatching(message),
    });
    expect(readdirSync(folder)).toEqual(["causeway.yaml"]);
  });

  test("a switch that turns verification off does not exist, in no place of the file", async () => {
    for (const name of ["insecure", "skipVerify", "allowPlaintext", "tls", "rejectUnauthorized"]) {
      const everywhere = [
        { ...good, [name]: true },
        { ...good, authority: { ...good.authority, [name]: true } },
        { ...good, gateways: [{ ...edge, [name]: true }] },
      ];
      const outcomes = await Promise.all(everywhere.map((configuration) => inProcess(configuration)));
      for (const outcome of outcomes) expect(outcome).toMatch(new RegExp(`unknown key "${name}"`));
    }
  });

  test("the name of a service that the file does not have", async () => {
    const outcome = await startWith(good, "gateway", "egde");
    expect(outcome.exitCode).toBe(2);
    expect(refusalIn(outcome).message).toMatch(/has no gateway "egde" \(known: edge\)/);
  });

  test("people read the same in a sentence", async () => {
    const file = join(folder, "causeway.yaml");
    writeFileSync(file, JSON.stringify({ ...good, dataDirr: "data" }));
    const { exitCode, stdout, stderr } = await causeway("gateway", "edge", "--config", file);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(/^causeway: .*did you mean "dataDir"\? \[CAUSEWAY_CONFIG_INVALID\]$/m);
  });
});

async function inProcess(configuration: object): Promise<string> {
  const { parseDomainConfig } = await import("../../../apps/cli/src/config/domain.ts");
  try {
    parseDomainConfig(JSON.stringify(configuration), "causeway.yaml");
    return "accepted";
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}
