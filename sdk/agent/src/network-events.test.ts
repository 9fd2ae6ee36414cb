import { expect, test } from "vitest";
import type { NetworkEvent } from "./api.ts";
import { TestNetwork } from "./testing/index.ts";

const gateway = "spiffe://blue.example/gateway/gw";
const second = "spiffe://blue.example/gateway/gw2";

test("each watcher hears the types that it asked for, over reconnections, until it is closed [AGP-11]", async () => {
  const network = new TestNetwork();
  const agent = await network.connect("blue.example/travel/watcher");
  const peers: NetworkEvent[] = [];
  const both: NetworkEvent[] = [];
  const first = await network.clock.until(agent.watch(["peer."], (event) => void peers.push(event)));
  const other = await network.clock.until(agent.watch(["peer.up", "topic."], (event) => void both.push(event)));
  expect(network.hub.watchAt(agent.id, gateway)).toEqual(["peer.", "peer.up", "topic."]);
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
  network.hub.cut(agent.id);
  await network.clock.advance(30_000);
  expect(network.hub.watchAt(agent.id, gateway)).toEqual(["peer.", "peer.up", "topic."]);
  await network.clock.until(first.close());
  expect(network.hub.watchAt(agent.id, gateway)).toEqual(["peer.up", "topic."]);
  await network.clock.until(other.close());
  expect(network.hub.watchAt(agent.id, gateway)).toEqual([]);
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

test("with two gateways both are watched and each event is heard once; when the preferred one is killed the other one tells [AAP-15] [AGP-11]", async () => {
  const network = new TestNetwork();
  const gateways = ["https://127.0.0.1:7401", "https://127.0.0.1:7402"];
  const agent = await network.connect("blue.example/travel/watcher", { gateways, attachments: 2 });
  await network.clock.advance(1_000);
  const heard: string[] = [];
  await network.clock.until(agent.watch(["peer."], ({ subject }) => void heard.push(subject)));
  expect([gateway, second].map((each) => network.hub.watchAt(agent.id, each))).toEqual([["peer."], ["peer."]]);
  network.hub.tell(agent.id, "peer.up", "one");
  await network.clock.advance(100);
  expect(heard).toEqual(["one"]);
  network.hub.kill(gateway);
  await network.clock.advance(100);
  network.hub.tell(agent.id, "peer.up", "two");
  await network.clock.advance(100);
  expect(heard).toEqual(["one", "two"]);
  // The one that comes back is asked as well, and preferred again.
  network.hub.down.delete(gateway);
  await network.clock.advance(60_000);
  expect(network.hub.watchAt(agent.id, gateway)).toEqual(["peer."]);
  network.hub.tell(agent.id, "peer.up", "three");
  await network.clock.advance(100);
  expect(heard).toEqual(["one", "two", "three"]);
});
