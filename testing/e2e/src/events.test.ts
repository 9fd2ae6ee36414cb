/** Events of a running domain, on the operator's command line (AGP-11). */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import { causeway, refusalIn } from "./adversary/program.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

test("`causeway events --json` prints agents that come, messages that fail and agents that go, until it is ended [AGP-11]", {
  timeout: 120_000,
}, async () => {
  const args = [program, "events", "--json", "--home", world.home.directory, "--domain", "blue.example"];
  const cli = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const events: { type: string; subject: string; cause: string; at: string; gateway: string }[] = [];
  createInterface({ input: cli.stdout }).on("line", (line) => events.push(JSON.parse(line)));
  const exited = new Promise<number | null>((resolve) => cli.on("exit", resolve));
  try {
    const agent = await world.agent("blue.example/events/eve");
    await until("a failure to be told", async () => {
      // Only what happens after the feed stands is seen.
      await agent.send("blue.example/events/nobody", "hello", { timeoutMs: 1_000 }).catch(() => undefined);
      return events.some((event) => event.type === "delivery.failed");
    });
    const failed = events.find((event) => event.type === "delivery.failed");
    expect(failed?.subject).toMatch(/^[0-9a-f]{32}$/);
    expect(failed?.cause).toMatch(/CAUSEWAY_FORWARDING_/);
    await agent.close();
    await until("the agent to go", async () =>
      events.some((event) => event.type === "agent.left" && event.subject.includes("blue.example/events/eve")),
    );
    expect(events.every((event) => Math.abs(Date.parse(event.at) - Date.now()) < 120_000)).toBe(true);
  } finally {
    cli.kill("SIGINT");
  }
  expect(await exited).toBe(0);
});

const program = fileURLToPath(new URL("../../../apps/cli/src/main.ts", import.meta.url));

test("a gateway that dies is named, the events of the others go on, and its own are told again when it is back", {
  timeout: 120_000,
}, async () => {
  const args = [program, "events", "--json", "--home", world.home.directory, "--domain", "blue.example"];
  const cli = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const events: { type: string; gateway: string; subject: string; cause: string }[] = [];
  createInterface({ input: cli.stdout }).on("line", (line) => events.push(JSON.parse(line)));
  const exited = new Promise<number | null>((resolve) => cli.on("exit", resolve));
  const seen = (type: string, gateway: string) =>
    events.findLast((event) => event.type === type && event.gateway === gateway);
  try {
    // Only what happens after the feeds stand is seen.
    const agent = await world.agent("blue.example/events/adam");
    await until("the feed to stand", async () => {
      await agent.send("blue.example/events/nobody", "hello", { timeoutMs: 1_000 }).catch(() => undefined);
      return seen("delivery.failed", "gw1") !== undefined || seen("delivery.failed", "gw2") !== undefined;
    });
    process.kill(world.service("blue.example/gw1").pid ?? 0, "SIGKILL");
    await until("the loss to be told", () => seen("gateway.lost", "gw1") !== undefined);
    expect(seen("gateway.lost", "gw1")).toMatchObject({
      subject: "gw1",
      cause: expect.stringMatching(/^gateway gw1: /),
    });
    await until("gw2 to say that its neighbour is gone", () => seen("peer.down", "gw2") !== undefined);
    await until("gw1 to be followed again", () => seen("gateway.back", "gw1") !== undefined);
    const [config] = world.network.configs;
    const gateways = config.gateways.filter(({ name }) => name === "gw1");
    await until("an event of gw1", async () => {
      const name = "blue.example/events/enos";
      await (await connectAgent({ home: world.home, config: { ...config, gateways }, name })).close();
      return events
        .slice(events.findIndex(({ type }) => type === "gateway.back"))
        .some(({ type, gateway, subject }) => type === "agent.left" && gateway === "gw1" && subject.includes(name));
    });
  } finally {
    cli.kill("SIGINT");
  }
  expect(await exited).toBe(0);
});

test("one that is down from the start is named on standard error, and who asks only that one gets its error", {
  timeout: 120_000,
}, async () => {
  const file = world.home.configFile("blue.example");
  const copy = join(dirname(file), "with-more.yaml");
  const more = `  - { name: gw3, level: 1, listen: "127.0.0.1:1", url: "https://127.0.0.1:1", uplinks: [gw2] }\n`;
  writeFileSync(copy, readFileSync(file, "utf8") + more);
  const cli = spawn(process.execPath, [program, "events", "--config", copy], { stdio: ["ignore", "pipe", "pipe"] });
  let [said, told] = ["", ""];
  cli.stderr.on("data", (chunk: Buffer) => void (said += chunk.toString("utf8")));
  cli.stdout.on("data", (chunk: Buffer) => void (told += chunk.toString("utf8")));
  const exited = new Promise<number | null>((resolve) => cli.on("exit", resolve));
  try {
    const agent = await world.agent("blue.example/events/abel");
    await until("an event of another", async () => {
      await agent.send("blue.example/events/nobody", "hello", { timeoutMs: 1_000 }).catch(() => undefined);
      return /gw[12] {2}delivery\.failed/.test(told);
    });
    await until("the name of the one that is down", () => said.includes("gw3"));
    expect(said).toMatch(/^causeway: gateway gw3: .*127\.0\.0\.1:1.* \[CAUSEWAY_UNREACHABLE\]\n$/);
  } finally {
    cli.kill("SIGINT");
  }
  expect(await exited).toBe(0);
  const { exitCode, stdout } = await causeway("events", "--gateway", "gw3", "--json", "--config", copy);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    error: { code: "CAUSEWAY_UNREACHABLE", message: expect.stringMatching(/^gateway gw3: /) },
  });
});

test("a watch that every gateway refuses ends with the refusal", { timeout: 60_000 }, async () => {
  const types = Array.from({ length: 65 }, (_, index) => `topic.t${index}`);
  const outcome = await causeway(
    ...["events", "--json", "--home", world.home.directory, "--domain", "blue.example"],
    ...["--types", ...types],
  );
  expect(outcome.exitCode).toBe(1);
  // Before it, the lines of a gateway that refused first.
  const [refusal] = outcome.stdout.trimEnd().split("\n").slice(-1);
  expect(refusalIn({ ...outcome, stdout: refusal ?? "" })).toMatchObject({
    code: "CAUSEWAY_LIMIT_COUNT",
    message: expect.stringMatching(/^gateway gw[12]: expected at most 64 types of events, got 65/),
  });
});
