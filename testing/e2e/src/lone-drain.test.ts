/** A gateway that is drained with nowhere for its agents to go, as a process: it says so, ends soon, and loses nothing. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { Home } from "../../../apps/cli/src/home.ts";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import { startDomain } from "../../../apps/cli/src/processes/domain.ts";
import { freePorts } from "../../../apps/cli/src/processes/free-ports.ts";
import { Supervisor } from "../../../apps/cli/src/processes/supervisor.ts";
import { causeway } from "./adversary/program.ts";
import { until } from "./world.ts";

const domain = "blue.example";

test("the only gateway of a domain says so when it is drained, ends before its deadline, and every reliable message arrives once, in order, after its next start [AGP-6]", {
  timeout: 180_000,
}, async () => {
  await using resources = new AsyncDisposableStack();
  const home = new Home(mkdtempSync(join(tmpdir(), "causeway-drain-")));
  resources.defer(() => rmSync(home.directory, { recursive: true, force: true }));
  const file = home.configFile(domain);
  const [authority, registry, gateway] = await freePorts(3);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    `domain: ${domain}
masterKeyFile: ${JSON.stringify(home.masterKeyFile)}
authority: { listen: "127.0.0.1:${authority}" }
registry: { listen: "127.0.0.1:${registry}", gateway: gw }
gateways:
  - { name: gw, level: 2, listen: "127.0.0.1:${gateway}", limits: { drainAloneMs: 1500 } }
`,
  );
  const config = home.config({});
  const first = resources.use(new Supervisor());
  await startDomain({ home, config, configFile: file, supervisor: first });
  const service = first.services.find(({ name }) => name === `${domain}/gw`);
  const agent = async (name: string) => {
    const made = resources.use(await connectAgent({ home, config, name: `${domain}/lone/${name}` }));
    const skills = [{ id: "test", description: "Takes part in a test" }];
    await made.register({ name, description: "Takes part in a test", version: "1", skills });
    return made;
  };
  const writer = await agent("writer");
  const reader = await agent("reader");
  const heard: unknown[] = [];
  reader.onMessage(({ data }) => void heard.push(data));
  let isOver = false;
  let sent = 0;
  const writing = (async () => {
    while (!isOver) await writer.send(reader.id, `message ${sent++}`, { timeoutMs: 120_000 });
  })();
  await until("traffic", () => heard.length > 5);

  const { exitCode, stdout } = await causeway("drain", "gw", "--json", "--home", home.directory);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ ok: true, gateway: "gw", deadlineMs: 1_500, alone: true });
  await until("the process to end", () => service?.pid === undefined);
  const log = readFileSync(home.logFile(`${domain}/gw`), "utf8");
  expect(log).toMatch(/"event":"gateway\.drain_alone"/);

  const again = resources.use(new Supervisor());
  const args = ["gateway", "gw", "--config", file, "--home", home.directory];
  await again.start({ name: `${domain}/gw`, args, logFile: home.logFile(`${domain}/gw-again`) });
  const before = heard.length;
  await until("traffic after the next start", () => heard.length > before + 5, 60_000);
  isOver = true;
  await writing;
  await until("the last message", () => heard.length >= sent);
  expect(heard).toEqual(Array.from({ length: sent }, (_, i) => `message ${i}`));
});
