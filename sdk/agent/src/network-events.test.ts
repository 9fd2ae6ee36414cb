import { expect, test } from "vitest";
import type { NetworkEvent } from "./api.ts";
import { TestNetwork } from "./testing/index.ts";

test("each watcher hears the types that it asked for, over reconnections, until it is closed [AGP-11]", async () => {
  const network = new TestNetwork();
  const agent = await network.connect("blue.example/travel/watcher");
  const peers: NetworkEvent[] = [];
  const both: NetworkEvent[] = [];
  const first = await network.clock.until(agent.watch(["peer."], (event) => void peers.push(event)));
  const second = await network.clock.until(agent.watch(["peer.up", "topic."], (event) => void both.push(event)));
  expect(network.hub.watches.get(agent.id)).toEqual(["peer.", "peer.up", "topic."]);
  const tellAll = async (): Promise<void> => {
    for (const type of ["peer.up", "peer.down", "topic.created", "agent.left"]) network.hub.tell(agent.id, type, "x");
    await network.clock.advance(100);
  };
  await tellAll();
  expect(peers.map(({ type, subject, cause }) => [type, subject, cause])).toEqual([
    ["peer.up", "x", "a test"],
    ["peer.down", "x", "a test"],
  ]);
  expect(both.map(({ type }) => type)).toEqual(["peer.up", "topic.created"]);
  network.hub.watches.clear();
  network.hub.cut(agent.id);
  await network.clock.advance(30_000);
  expect(network.hub.watches.get(agent.id)).toEqual(["peer.", "peer.up", "topic."]);
  await network.clock.until(first.close());
  expect(network.hub.watches.get(agent.id)).toEqual(["peer.up", "topic."]);
  await network.clock.until(second.close());
  expect(network.hub.watches.get(agent.id)).toEqual([]);
  await tellAll();
  expect([peers.length, both.length]).toEqual([2, 2]);
});

test("a listener that throws is a warning, and the others still hear", async () => {
  const network = new TestNetwork();
  const agent = await network.connect("blue.example/travel/watcher");
  const warnings: string[] = [];
  agent.onEvent((event) => {
    if (event.type === "warning") warnings.push(event.error.message);
  });
  let heard = 0;
  await network.clock.until(
    agent.watch(["peer."], () => {
      throw new Error("broken listener");
    }),
  );
  await network.clock.until(agent.watch(["peer."], () => void heard++));
  network.hub.tell(agent.id, "peer.up", "x");
  await network.clock.advance(100);
  expect([heard, warnings.length]).toEqual([1, 1]);
});
