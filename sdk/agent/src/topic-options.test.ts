/** Options of a topic: what its owner keeps for latecomers, and what its publishers say of slow subscribers. */
import { FrameKind, FrameScan, scanFrame, TargetKind } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import type { Publication, TopicRights } from "./api.ts";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

async function world(
  rights: TopicRights,
): Promise<{ network: TestNetwork; owner: TestAgent; early: TestAgent; late: TestAgent; topic: string }> {
  const network = new TestNetwork();
  const owner = await network.connect("blue.example/travel/owner");
  const early = await network.connect("blue.example/travel/early");
  const late = await network.connect("green.example/hotels/late");
  const topic = await network.clock.until(owner.createTopic("deals", rights));
  return { network, owner, early, late, topic };
}

const listen = (network: TestNetwork, agent: TestAgent, topic: string, heard: Publication[]) =>
  network.clock.until(agent.subscribe(topic, (publication) => void heard.push(publication)));

const dataOf = (heard: readonly Publication[]): unknown[] => heard.map(({ data }) => data);

describe("retained publications", () => {
  test("reach who joins later: the last ones, in order, with publisher and time, before what follows [AGP-12]", async () => {
    const { network, owner, early, late, topic } = await world({ retained: 3 });
    const first: Publication[] = [];
    const second: Publication[] = [];
    await listen(network, early, topic, first);
    for (const n of [1, 2, 3]) await network.clock.until(owner.publish(topic, n));
    await network.clock.until(early.publish(topic, "from early"));
    await network.clock.advance(500);
    await listen(network, late, topic, second);
    expect(dataOf(second)).toEqual([2, 3, "from early"]);
    expect(second.map(({ from }) => from)).toEqual([owner.id, owner.id, early.id]);
    for (const { retainedUnixMs } of second) expect(retainedUnixMs).toBeGreaterThan(0);
    await network.clock.until(owner.publish(topic, 4));
    await network.clock.advance(500);
    expect(dataOf(second)).toEqual([2, 3, "from early", 4]);
    expect([second.at(-1)?.retainedUnixMs, second.at(-1)?.missed]).toEqual([undefined, 0]);
    // Who was there heard each once, and nothing again.
    expect(dataOf(first)).toEqual([1, 2, 3, 4]);
    for (const frame of network.hub.seen) expect(Buffer.from(frame).includes("from early")).toBe(false);
  });

  test("reach a member that was away for a while, each once", async () => {
    const { network, owner, early, topic } = await world({ retained: 10 });
    const heard: Publication[] = [];
    await listen(network, early, topic, heard);
    await network.clock.until(owner.publish(topic, 1));
    await network.clock.advance(500);
    network.hub.cut(early.id);
    await network.clock.until(owner.publish(topic, 2));
    await network.clock.until(owner.publish(topic, 3));
    await network.clock.advance(30_000);
    await network.clock.until(owner.publish(topic, 4));
    await network.clock.advance(500);
    expect(dataOf(heard)).toEqual([1, 2, 3, 4]);
  });

  test("are forgotten after their time, and none are kept by default", async () => {
    const timed = await world({ retained: 3, retainedMs: 5_000 });
    await timed.network.clock.until(timed.owner.publish(timed.topic, "old"));
    await timed.network.clock.advance(4_000);
    await timed.network.clock.until(timed.owner.publish(timed.topic, "new"));
    await timed.network.clock.advance(2_000);
    const heard: Publication[] = [];
    await listen(timed.network, timed.late, timed.topic, heard);
    expect(dataOf(heard)).toEqual(["new"]);
    const plain = await world({});
    await plain.network.clock.until(plain.owner.publish(plain.topic, "gone"));
    const none: Publication[] = [];
    await listen(plain.network, plain.late, plain.topic, none);
    expect(none).toEqual([]);
  });

  test("do not reach an agent that may publish but not subscribe, and more than 100 are refused", async () => {
    const { network, owner, late } = await world({});
    const rights = { retained: 5, publishers: ["green.example/"], subscribers: ["blue.example/"] };
    const topic = await network.clock.until(owner.createTopic("box", rights));
    await network.clock.until(owner.publish(topic, "internal"));
    await network.clock.until(late.publish(topic, "in"));
    expect(await codeOf(listen(network, late, topic, []))).toBe("CAUSEWAY_TOPIC_NOT_ALLOWED");
    expect(await codeOf(network.clock.until(owner.createTopic("big", { retained: 101 })))).toBe("CAUSEWAY_LIMIT_COUNT");
  });
});

test("publishers say in the header what is to happen to slow subscribers", async () => {
  for (const [overflow, bits] of [
    ["drop-oldest", 0],
    ["block", 1],
    ["disconnect", 2],
  ] as const) {
    const { network, owner, early, topic } = await world({ overflow });
    await listen(network, early, topic, []);
    await network.clock.until(owner.publish(topic, "from the owner"));
    await network.clock.until(early.publish(topic, "from a member"));
    await network.clock.advance(500);
    const scan = new FrameScan();
    const flags = network.hub.seen
      .filter((frame) => scanFrame(frame, 0, frame.length, scan) === undefined)
      .flatMap((frame) => {
        scanFrame(frame, 0, frame.length, scan);
        return scan.kind === FrameKind.message && scan.targetKind === TargetKind.topic ? [(scan.flags >> 4) & 3] : [];
      });
    expect(flags.length).toBeGreaterThanOrEqual(2);
    expect(flags.slice(-2)).toEqual([bits, bits]);
  }
});
