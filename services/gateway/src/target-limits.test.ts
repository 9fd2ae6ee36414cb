/** What protects agents and gateway from too many requests (ANA-49, AAP-102). */
import { beforeEach, expect, test } from "vitest";
import { TestAgent } from "./testing/test-agent.ts";
import { World } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;

beforeEach(async () => {
  world = new World();
  net = await world.chain();
});

test("a flooded target gets no more than the limit that it declared, the senders hear when to retry, others are unaffected [ANA-49]", async () => {
  const busy = await world.agent(net.green1, "green.example/hotels/busy", { messagesPerSecondMax: 10 }).attach();
  const calm = await world.agent(net.green1, "green.example/hotels/calm").attach();
  for (const each of [busy, calm]) await each.advertise();
  await world.scheduler.advance(1_000);
  const flooders = [];
  for (let index = 0; index < 5; index++)
    flooders.push(await world.agent(net.blue1, `blue.example/crowd/a${index}`).attach());
  let sent = 0;
  for (let second = 0; second < 5; second++) {
    for (const flooder of flooders) {
      for (let each = 0; each < 20; each++) {
        await flooder.message(busy.agentId, "work for me");
        sent++;
      }
    }
    await flooders[0]?.message(calm.agentId, `tick ${second}`);
    await world.scheduler.advance(1_000);
  }
  expect(sent).toBe(500);
  // A burst of one second at first, then what five seconds allow.
  expect(busy.messages.length).toBeLessThanOrEqual(10 * 6);
  expect(busy.messages.length).toBeGreaterThanOrEqual(10 * 5);
  expect(calm.messages).toEqual([0, 1, 2, 3, 4].map((second) => `tick ${second}`));
  const reports = flooders.flatMap((each) => each.reports);
  expect(reports.length).toBe(500 - busy.messages.length);
  expect(new Set(reports.map((each) => each.code))).toEqual(new Set(["CAUSEWAY_LIMIT_RATE"]));
  expect(reports[0]?.message).toMatch(
    /green\.example\/hotels\/busy takes no more messages for now; send again in \d+ ms/,
  );
});

test("an agent that attaches over and over is refused with the time to wait, and attaches when it has waited", async () => {
  await world.kill(net.blue1);
  net.blue1.limits = { attachesPerMinute: 5 };
  await world.start(net.blue1);
  const { identity } = world.agent(net.blue1, "blue.example/travel/restless");
  const attach = async (instance: number): Promise<TestAgent> =>
    new TestAgent(world, net.blue1, identity, { instance: `i${instance}` }).attach();
  const states: string[] = [];
  for (let index = 0; index < 8; index++) states.push((await attach(index)).state);
  expect(states.filter((each) => each === "attached")).toHaveLength(5);
  const others = await world.agent(net.blue1, "blue.example/travel/other").attach();
  expect(others.state).toBe("attached");
  expect(net.blue1.log.some((line) => line.event === "attachment.rate_exceeded")).toBe(true);
  await world.scheduler.advance(60_000);
  expect((await attach(9)).state).toBe("attached");
});
