import type { Agent } from "@causeway/agent/node";
import { CausewayError } from "@causeway/core-base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startWorld, until, type World } from "./world.ts";

let world: World;
let alice: Agent;
let bob: Agent;
const heard = new Map<string, number>();

beforeAll(async () => {
  world = await startWorld();
  [alice, bob] = await Promise.all([world.agent("blue.example/people/alice"), world.agent("green.example/people/bob")]);
  bob.onMessage((message) => {
    const text = String(message.data);
    heard.set(text, (heard.get(text) ?? 0) + 1);
  });
  await bob.register({
    name: "Bob",
    description: "Listens",
    version: "1",
    skills: [{ id: "listen", description: "Listens" }],
  });
  await until("the way to bob", async () =>
    (await alice.discover("listens")).matches.some((m) => m.agentId === bob.id),
  );
  await alice.send(bob.id, "first contact");
}, 120_000);

afterAll(() => world?.[Symbol.asyncDispose]());

/** Sends one message after the other until told to stop; every one is settled as taken or as an error with a code. */
function flow(label: string): {
  stop(): Promise<{ readonly taken: string[]; readonly failed: { text: string; code: string }[] }>;
} {
  let stopped = false;
  const taken: string[] = [];
  const failed: { text: string; code: string }[] = [];
  const running = (async () => {
    for (let i = 0; !stopped; i += 1) {
      const text = `${label} ${i}`;
      try {
        await alice.send(bob.id, text, { timeoutMs: 20_000 });
        taken.push(text);
      } catch (thrown) {
        failed.push({ text, code: CausewayError.from(thrown).code });
      }
    }
  })();
  return {
    async stop() {
      stopped = true;
      await running;
      return { taken, failed };
    },
  };
}

const services = ["authority", "registry", "gw1", "gw2"].flatMap((name) => [
  `blue.example/${name}`,
  `green.example/${name}`,
]);

describe("kill -9 while messages flow", () => {
  test.for(services)(
    "%s: what was acknowledged arrived once, the rest is reported, and it heals by itself [AGP-6]",
    { timeout: 120_000 },
    async (name) => {
      const service = world.service(name);
      const { pid, restarts } = service;
      expect(pid).toBeDefined();
      const sending = flow(name);
      await until("a first message", () => [...heard.keys()].some((text) => text.startsWith(name)));
      process.kill(pid ?? 0, "SIGKILL");
      await until(
        `the restart of ${name}`,
        () => service.restarts > restarts && service.pid !== undefined && service.pid !== pid,
      );
      // It heals: messages of after the restart arrive.
      const before = heard.size;
      await until("messages after the restart", () => heard.size > before + 3, 60_000);
      const { taken, failed } = await sending.stop();
      expect(taken.length).toBeGreaterThan(0);
      expect(taken.filter((text) => heard.get(text) !== 1)).toEqual([]);
      for (const { code } of failed)
        expect(code).toMatch(/^CAUSEWAY_(TIMEOUT|UNREACHABLE|FORWARDING_|ATTACHMENT_|GATEWAY_|LIMIT_)/);
    },
  );

  test("after all of it every registered agent is still known and found [AMSP-60]", async () => {
    await until("discovery of bob", async () =>
      (await alice.discover("listens")).matches.some((m) => m.agentId === bob.id),
    );
  });
});
