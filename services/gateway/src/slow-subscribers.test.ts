import { Lane, TargetKind } from "@causeway/core-wire";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { gatewayLimits } from "./limits.ts";
import { LinkEntry } from "./links.ts";
import { Overflow, overflowOf, SlowSubscribers } from "./slow-subscribers.ts";
import { settle } from "./testing/manual-scheduler.ts";
import type { TestAgent } from "./testing/test-agent.ts";
import { World } from "./testing/world.ts";

const topic = "blue.example/travel/alice/deals";
let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let slow: TestAgent;
let quick: TestAgent;

/** Small bounds, so that the tests need few messages. */
const limits = { topicLinkBytesMax: 2_000, topicQueueMessagesMax: 10, topicQueueBytesMax: 100_000 };

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  await world.kill(net.blue1);
  net.blue1.limits = limits;
  await world.start(net.blue1);
  await world.scheduler.advance(5_000);
  const attach = (name: string) => world.agent(net.blue1, `blue.example/travel/${name}`).attach();
  alice = await attach("alice");
  slow = await attach("slow");
  quick = await attach("quick");
  for (const each of [slow, quick]) expect((await each.subscribe(topic)).error).toBeUndefined();
});

/** The gateway's end of the agent's link. */
function stall(agent: TestAgent, isStalled: boolean): void {
  const end = agent.far;
  if (end === undefined) throw new Error("not attached");
  end.stalled = isStalled;
  if (!isStalled) end.flush();
}

const publishOne = (index: number, overflow: number): Promise<Uint8Array> =>
  alice.message(topic, `x${index} ${"x".repeat(500)}`, { targetKind: TargetKind.topic, flags: overflow << 4 });

async function publish(count: number, overflow: number): Promise<void> {
  for (let index = 0; index < count; index++) await publishOne(index, overflow);
  await settle();
}

const numbers = (agent: TestAgent): number[] => agent.messages.map((text) => Number(/x(\d+) /.exec(text)?.[1]));

describe("a subscriber that stopped reading [AGP-8]", () => {
  test("costs the others nothing; it misses the oldest, gets the newest in order, and the publisher is told", async () => {
    stall(slow, true);
    await publish(100, Overflow.dropOldest);
    expect(numbers(quick)).toEqual(Array.from({ length: 100 }, (_, index) => index));
    expect(alice.reports.map((each) => each.code)).toContain("CAUSEWAY_FORWARDING_OVERLOADED");
    expect(alice.reports[0]?.message).toContain("blue.example/travel/slow");
    // One report about the first message lost, and no second one within a second.
    expect(alice.reports).toHaveLength(1);
    stall(slow, false);
    await settle();
    const got = numbers(slow);
    expect(got.slice(-10)).toEqual(Array.from({ length: 10 }, (_, index) => 90 + index));
    expect(got).toEqual([...got].sort((a, b) => a - b));
    expect(got.length).toBeLessThan(100);
    await publish(1, Overflow.dropOldest);
    expect(numbers(slow).at(-1)).toBe(0);
  });

  test("holds its publisher back where the policy is to wait, and loses nothing", async () => {
    stall(slow, true);
    await publish(9, Overflow.block);
    stall(slow, false);
    await settle();
    expect(numbers(slow)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    stall(slow, true);
    // At once: from the first that has to wait on, the publisher is not read from any more.
    await Promise.all(Array.from({ length: 14 }, (_, index) => publishOne(index, Overflow.block)));
    await settle();
    expect(alice.far?.isPaused).toBe(true);
    expect(alice.reports).toEqual([]);
    stall(slow, false);
    await settle();
    expect(alice.far?.isPaused).toBe(false);
    expect(numbers(slow).slice(9)).toEqual(Array.from({ length: 14 }, (_, index) => index));
  });

  test("is disconnected with a reason where the policy says so, and the publisher is told", async () => {
    stall(slow, true);
    await publish(100, Overflow.disconnect);
    expect(slow.far?.isClosed).toBe(true);
    expect(slow.far?.closedWith?.code).toBe("CAUSEWAY_FORWARDING_OVERLOADED");
    expect(alice.reports[0]?.message).toContain("disconnected");
    expect(numbers(quick)).toHaveLength(100);
  });

  test("is an event for the topic's owner [AGP-11]", async () => {
    await alice.request(
      { case: "eventWatch", value: { request: 1n, types: ["topic.overflowed"] } },
      "subscriptionResult",
    );
    stall(slow, true);
    await publish(100, Overflow.dropOldest);
    const events = alice.inbox.flatMap((each) => (each.case === "event" ? [each.value] : []));
    expect(events.map((each) => [each.type, each.subject])).toEqual([["topic.overflowed", topic]]);
  });
});

test("unknown policies drop the oldest", () => {
  expect([0, 16, 32, 48, 0xffff_ff0f].map(overflowOf)).toEqual([
    Overflow.dropOldest,
    Overflow.block,
    Overflow.disconnect,
    Overflow.dropOldest,
    Overflow.dropOldest,
  ]);
});

test("whatever comes and goes: the bounds hold, order is kept, and sent, waiting and dropped add up", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.record({ bytes: fc.integer({ min: 1, max: 400 }) }), fc.constant("writable" as const)), {
        maxLength: 200,
      }),
      (inputs) => {
        const small = {
          ...gatewayLimits,
          topicLinkBytesMax: 500,
          topicQueueMessagesMax: 5,
          topicQueueBytesMax: 1_000,
          topicToldEveryMs: 0,
        };
        const sent: number[] = [];
        let buffered = 0;
        const link = {
          peer: slow.identity.tls,
          get bufferedBytes() {
            return buffered;
          },
          send(frame: Uint8Array) {
            buffered += frame.length;
            sent.push(new DataView(frame.buffer).getUint32(0));
            return false;
          },
        };
        const now = world.scheduler.now();
        const entry = new LinkEntry(1 as never, link as never, { kind: "agent-handshake" }, small, now.instant);
        const queues = new SlowSubscribers(small);
        let offered = 0;
        let dropped = 0;
        for (const input of inputs) {
          if (input === "writable") {
            buffered = 0;
            queues.handleWritable(entry);
            continue;
          }
          const frame = new Uint8Array(input.bytes + 4);
          new DataView(frame.buffer).setUint32(0, offered++);
          if (queues.isBehind(entry, Lane.urgent))
            dropped += queues.offer(entry, frame, Overflow.dropOldest, now, Lane.urgent).toTell;
          else link.send(frame);
        }
        for (let round = 0; round < 300 && queues.isBehind(entry, Lane.urgent); round++) {
          buffered = 0;
          queues.handleWritable(entry);
          buffered = 0;
        }
        expect(sent).toEqual([...sent].sort((a, b) => a - b));
        expect(sent.length + dropped).toBe(offered);
      },
    ),
    { numRuns: 300 },
  );
});
