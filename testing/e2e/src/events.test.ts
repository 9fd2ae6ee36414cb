/** Events of a running domain, on the operator's command line (AGP-11). */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorld, until, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await startWorld();
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

test("`causeway events --json` prints agents that come, messages that fail and agents that go, until it is ended [AGP-11]", {
  timeout: 120_000,
}, async () => {
  const program = fileURLToPath(new URL("../../../apps/cli/src/main.ts", import.meta.url));
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
