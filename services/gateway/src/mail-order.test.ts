/** Messages that wait at a gateway: nothing newer goes before them, and they follow their agent (AGP-58, AAP-15). */
import { mailboxFeature } from "@causeway/core-attachment";
import { agp, HeaderFlag } from "@causeway/core-wire";
import { expect, test } from "vitest";
import { TestAgent } from "./testing/test-agent.ts";
import { World } from "./testing/world.ts";

const noticed = { deliveryMode: agp.DeliveryMode.RELIABLE, flags: HeaderFlag.storedNotice };
const features = { features: [mailboxFeature] };
const numbers = (word: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${word} ${n}`);

/** Alice of blue.example, and an agent at both gateways of green.example, of which the Level-1 gateway is the newer one. */
async function atTwo() {
  const world = new World();
  const net = await world.chain();
  const alice = await world.agent(net.blue1, "blue.example/travel/alice", features).attach();
  await alice.advertise();
  const second = await world.agent(net.green2, "green.example/hotels/double", features).attach();
  await second.advertise();
  await world.scheduler.advance(1_000);
  const first = await new TestAgent(world, net.green1, second.identity, features).attach();
  await first.advertise();
  await world.scheduler.advance(1_000);
  return { world, net, alice, first, second };
}

test("what is sent while an agent's newest gateway is back, and the agent is not there, reaches it where it is [AAP-15]", async () => {
  const { world, net, alice, first, second } = await atTwo();
  await alice.message(first.agentId, "newest", noticed);
  expect([first.messages, second.messages]).toEqual([["newest"], []]);
  await world.kill(net.green1);
  await first.crash();
  await world.scheduler.advance(2_000);
  await alice.message(first.agentId, "other", noticed);
  expect(second.messages).toEqual(["other"]);
  await world.start(net.green1);
  for (let n = 0; n < 40; n++) {
    await world.scheduler.advance(100);
    await alice.message(first.agentId, `back ${n}`, noticed);
  }
  // One message in a hundred milliseconds: what waits at most is what was sent before the first answer.
  await world.scheduler.advance(1);
  expect([...second.messages].sort()).toEqual(["other", ...numbers("back", 40)].sort());
  // The gateway that is back has taken its record back, so that nothing comes its way any more.
  await alice.message(first.agentId, "best effort");
  await world.scheduler.advance(1);
  expect(second.messages.at(-1)).toBe("best effort");
});

test("what was held in memory does not overtake what was stored before it [AGP-58]", async () => {
  const { world, net, alice, first, second } = await atTwo();
  await second.crash();
  await world.kill(net.green1);
  await first.crash();
  await world.start(net.green1);
  await world.scheduler.advance(1_000);
  for (const each of numbers("reliable", 4)) await alice.message(first.agentId, each, noticed);
  await alice.message(first.agentId, "best effort, sent last");
  const again = await new TestAgent(world, net.green1, first.identity, features).attach();
  await again.advertise();
  await world.scheduler.advance(100);
  expect(again.messages).toEqual([...numbers("reliable", 4), "best effort, sent last"]);
});

test("what comes in the turn in which an agent is back does not overtake what is stored for it [AGP-58]", async () => {
  const world = new World();
  const net = await world.chain();
  const alice = await world.agent(net.green1, "green.example/hotels/alice", features).attach();
  const bob = await world.agent(net.green1, "green.example/hotels/bob", features).attach();
  await bob.advertise({ awayMs: 86_400_000 });
  await world.scheduler.advance(1_000);
  await bob.crash();
  for (const each of numbers("stored", 3)) await alice.message(bob.agentId, each, noticed);
  await world.scheduler.advance(10);
  const ends: (() => void)[] = [];
  world.endsOfTurns = ends;
  const again = await new TestAgent(world, net.green1, bob.identity, features).attach();
  await alice.message(bob.agentId, "newer, reliable", noticed);
  await alice.message(bob.agentId, "newer, best effort");
  world.endsOfTurns = undefined;
  for (const end of ends) end();
  await world.scheduler.advance(10);
  expect(again.messages).toEqual([...numbers("stored", 3), "newer, reliable", "newer, best effort"]);
});

/** Like `atTwo`, with two Level-2 gateways, which hear of each other's agents. */
async function atTwoOfLevel2() {
  const world = new World();
  const net = await world.chain();
  const green3 = world.add("l3", "green.example", 2);
  green3.peers = [{ url: net.green2.url, kind: "peer" }];
  await world.start(green3);
  await world.scheduler.advance(5_000);
  const alice = await world.agent(net.blue1, "blue.example/travel/alice", features).attach();
  await alice.advertise();
  const second = await world.agent(net.green2, "green.example/hotels/double", features).attach();
  await second.advertise({ awayMs: 86_400_000 });
  await world.scheduler.advance(1_000);
  const first = await new TestAgent(world, green3, second.identity, features).attach();
  await first.advertise({ awayMs: 86_400_000 });
  await world.scheduler.advance(1_000);
  return { world, net, green3, alice, first, second };
}

/** A message that is sent some time after both gateways of its agent were killed and started, and the agent back later. */
async function sentAfterBothRestart(afterMs: number) {
  const { world, net, green3, alice, first, second } = await atTwoOfLevel2();
  await world.kill(net.green2);
  await world.kill(green3);
  await first.crash();
  await second.crash();
  await world.start(net.green2);
  await world.start(green3);
  await world.scheduler.advance(afterMs);
  await alice.message(first.agentId, "while both wait", noticed);
  await world.scheduler.advance(1_000);
  const again = await new TestAgent(world, green3, first.identity, features).attach();
  await again.advertise({ awayMs: 86_400_000 });
  await world.scheduler.advance(5_000);
  return { codes: alice.reports.map(({ code }) => code), messages: again.messages };
}

test.each([500, 2_000, 4_000, 6_000])(
  "an agent whose two gateways both restart stays known: neither leaves it to the other, %i ms after that",
  async (afterMs) => {
    expect(await sentAfterBothRestart(afterMs)).toEqual({ codes: [], messages: ["while both wait"] });
  },
);

test("before the gateways of both domains have met again a message may be repeated", async () => {
  expect(await sentAfterBothRestart(50)).toEqual({ codes: ["CAUSEWAY_FORWARDING_PEER_LOST"], messages: [] });
});

test("a message for an agent that has just lost both its gateways' links is not handed to and fro between them", async () => {
  const { world, net, green3, alice, first, second } = await atTwoOfLevel2();
  const before = [green3, net.green2].map((each) => each.gateway?.status().counters["mailbox_stored"] ?? 0);
  await Promise.all([first.crash(), second.crash(), alice.message(first.agentId, "in between", noticed)]);
  await world.scheduler.advance(1_000);
  const stores = [green3, net.green2].map(
    (each, i) => (each.gateway?.status().counters["mailbox_stored"] ?? 0) - (before[i] ?? 0),
  );
  expect(stores.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(4);
  const again = await new TestAgent(world, green3, first.identity, features).attach();
  await again.advertise({ awayMs: 86_400_000 });
  await world.scheduler.advance(60_000);
  expect(again.messages).toEqual(["in between"]);
});
