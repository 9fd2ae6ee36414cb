/** The commands that say how a gateway is found, against a real domain. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorld, until, type World } from "./world.ts";

const program = fileURLToPath(new URL("../../../apps/cli/src/main.ts", import.meta.url));
let world: World;
let gateway: string;

beforeAll(async () => {
  world = await startWorld();
  gateway = world.network.configs[0].gateways[0]?.url ?? "";
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

const causeway = async (...args: readonly string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...args, "--home", world.home.directory]);
  return stdout;
};

test("causeway find-gateway says which gateway was found, how, and why it and not the others [AAP-61]", {
  timeout: 90_000,
}, async () => {
  const [first, second] = world.network.configs[0].gateways;
  const both = `static:${first?.url},${second?.url}`;
  const via = ["--via", "dhcp:/nowhere/lease", both];
  const said = JSON.parse(await causeway("find-gateway", "blue.example/cli/visitor", ...via, "--once", "--json"));
  expect(said).toMatchObject({
    agent: "spiffe://blue.example/cli/visitor",
    state: "attached",
    gateway: expect.stringMatching(/^spiffe:\/\/blue\.example\/gateway\/gw[12]$/),
    discovery: {
      chosen: {
        method: "static",
        endpoint: expect.stringMatching(/^https:\/\/127\.0\.0\.1:/),
        reason: expect.stringMatching(/^it (has the lowest load|answered fastest)$/),
      },
      passedOver: [{ method: "dhcp", endpoint: "", why: "it named no gateway" }],
    },
  });
});

test("the gateways that the registry names for the domain are hints like others", {
  timeout: 90_000,
}, async () => {
  // The certified names of the test's gateways have no addresses: what the registry named is what is looked up.
  const registered = await world.agent("blue.example/cli/known");
  await registered.register({
    name: "Known",
    description: "Known to the registry",
    version: "1",
    skills: [{ id: "known", description: "Is known" }],
  });
  const registry = world.network.configs[0].registry?.url ?? "";
  let said: { discovery: { passedOver: { method: string; endpoint: string }[] } } | undefined;
  await until("the registry's word", async () => {
    const via = ["--via", "directory", `static:${gateway}`, "--registry", registry];
    said = JSON.parse(await causeway("find-gateway", "blue.example/cli/asker", ...via, "--once", "--json"));
    return said?.discovery.passedOver.some(({ endpoint }) => endpoint !== "") ?? false;
  });
  expect(said?.discovery.passedOver.map(({ method, endpoint }) => `${method} ${endpoint}`)).toContain(
    "directory https://gw1.blue.example:7443",
  );
});

test("causeway doctor tries the ways to a gateway and says what it came upon", { timeout: 90_000 }, async () => {
  const { ok, findings } = JSON.parse(
    await causeway("doctor", "--domain", "blue.example", "--via", `static:${gateway}`, "--json"),
  ) as { ok: boolean; findings: { check: string; detail: string }[] };
  expect(ok).toBe(true);
  expect(findings.find(({ check }) => check === "finding a gateway by static")?.detail).toMatch(
    /^attached to spiffe:\/\/blue\.example\/gateway\/gw1 at https:.*, found by static: no other is left$/,
  );
});
