/** Faults of machines and networks while messages flow: what was acknowledged arrived once, and nobody has to help. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect as dialTcp, type Socket } from "node:net";
import type { Agent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectAgent } from "../../../apps/cli/src/processes/agents.ts";
import { WeatherProxy } from "./weather.ts";
import { startWorld, until, type World } from "./world.ts";

let world: World;
let proxy: WeatherProxy;
let alice: Agent;
let bob: Agent;
const heard = new Map<string, number>();
const order: string[] = [];

beforeAll(async () => {
  world = await startWorld();
  const [blue] = world.network.configs;
  const [first] = blue.gateways.toSorted((a, b) => a.level - b.level);
  if (first === undefined) throw new Error("blue.example has no gateway");
  proxy = await WeatherProxy.before(Number(new URL(first.url).port));
  // No other gateway: in bad weather alice would move there, where the proxy is not.
  const config = { ...blue, gateways: [{ ...first, url: proxy.url }] };
  alice = await connectAgent({ home: world.home, config, name: "blue.example/people/alice" });
  bob = await world.agent("green.example/people/bob");
  bob.onMessage((message) => {
    const text = String(message.data);
    heard.set(text, (heard.get(text) ?? 0) + 1);
    order.push(text);
  });
  await bob.register({
    name: "Bob",
    description: "Listens",
    version: "1",
    skills: [{ id: "listen", description: "Listens" }],
  });
  await until("the way to bob", async () =>
    alice.send(bob.id, "first contact", { timeoutMs: 2_000 }).then(
      () => true,
      () => false,
    ),
  );
}, 120_000);

afterAll(async () => {
  await alice?.close();
  await world?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  proxy.weather = { delayMs: 0, loss: 0 };
  proxy.isSilent = false;
});

/** Sends `count` messages, `width` under way at once; each is settled as taken or with a code. */
async function flow(label: string, count: number, width: number): Promise<{ taken: string[]; codes: string[] }> {
  const taken: string[] = [];
  const codes: string[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const text = `${label} ${index}`;
      try {
        await alice.send(bob.id, text, { timeoutMs: 60_000 });
        taken.push(text);
      } catch (thrown) {
        codes.push(CausewayError.from(thrown).code);
      }
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return { taken, codes };
}

function check(label: string, { taken, codes }: { taken: string[]; codes: string[] }): void {
  expect(taken.filter((text) => heard.get(text) !== 1)).toEqual([]);
  expect([...heard].filter(([text, times]) => text.startsWith(label) && times > 1)).toEqual([]);
  for (const code of codes) expect(code).toMatch(/^CAUSEWAY_(TIMEOUT|UNREACHABLE|FORWARDING_|ATTACHMENT_|LIMIT_)/);
}

describe("bad networks", () => {
  test("200 ms of delay and 5 % of loss: every message arrives once", { timeout: 120_000 }, async () => {
    proxy.weather = { delayMs: 200, loss: 0.05 };
    const result = await flow("weather", 60, 10);
    check("weather", result);
    expect(result.codes).toEqual([]);
  });

  test("a link that is half-open: both ends notice, the agent attaches anew and goes on", {
    timeout: 180_000,
  }, async () => {
    const events: string[] = [];
    const end = alice.onEvent((event) => void events.push(event.type));
    proxy.isSilent = true;
    const sending = flow("half-open", 5, 1);
    await until("the agent to notice", () => events.includes("detached"), 90_000);
    proxy.isSilent = false;
    const result = await sending;
    check("half-open", result);
    const after = await flow("afterwards", 5, 1);
    check("afterwards", after);
    expect(after.codes).toEqual([]);
    end();
  });
});

describe("machines in trouble", () => {
  test("a gateway that is stopped for a while and goes on: what was acknowledged arrived once", {
    timeout: 120_000,
  }, async () => {
    const { pid = 0 } = world.service("blue.example/gw2");
    const sending = flow("stopped", 40, 4);
    await until("messages to flow", () => heard.has("stopped 3"));
    process.kill(pid, "SIGSTOP");
    try {
      // As long as a machine that swaps, or is moved to another host.
      await new Promise((resolve) => setTimeout(resolve, 6_000));
    } finally {
      process.kill(pid, "SIGCONT");
    }
    check("stopped", await sending);
    const after = await flow("continued", 5, 1);
    expect(after.codes).toEqual([]);
  });

  test("a gateway without file descriptors left: who is attached is served, newcomers are when there are some again", {
    timeout: 120_000,
  }, async () => {
    const { pid = 0 } = world.service("blue.example/gw1");
    const openFiles = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const before = /Max open files\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.[1] ?? "";
    const limit = (soft: string): void => void execFileSync("prlimit", [`--pid=${pid}`, `--nofile=${soft}`]);
    const port = Number(new URL(world.network.configs[0].gateways[0]?.url ?? "").port);
    const crowd: Socket[] = [];
    limit(`${openFiles() + 8}:`);
    try {
      for (let index = 0; index < 60; index++) {
        const socket = dialTcp(port, "127.0.0.1");
        socket.on("error", () => undefined);
        crowd.push(socket);
      }
      const result = await flow("no files", 20, 4);
      check("no files", result);
      expect(result.codes).toEqual([]);
      expect(world.service("blue.example/gw1").pid).toBe(pid);
    } finally {
      limit(`${before}:`);
      for (const socket of crowd) socket.destroy();
    }
    await using late = await world.agent("blue.example/people/late");
    await late.send(bob.id, "late", { timeoutMs: 30_000 });
    expect(heard.get("late")).toBe(1);
  });
});
