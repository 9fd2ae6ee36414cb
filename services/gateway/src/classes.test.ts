import { create } from "@bufbuild/protobuf";
import { agp, decodeFrame, type FrameBody, FrameKind, Lane, laneOf, TargetKind } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import { settle } from "./testing/manual-scheduler.ts";
import { requestId, type TestAgent } from "./testing/test-agent.ts";
import { World } from "./testing/world.ts";

const { BULK, INTERACTIVE, CONTROL } = agp.TrafficClass;
let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let sender: TestAgent;
let receiver: TestAgent;

/** Small bounds, so that the tests need few messages. */
const limits = { linkBulkBytesMax: 2_500_000, bulkAfterStopBytesMax: 300_000 };

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  await restart(limits);
});

async function restart(with_: Partial<typeof net.blue1.limits>): Promise<void> {
  await world.kill(net.blue1);
  net.blue1.limits = with_;
  await world.start(net.blue1);
  await world.scheduler.advance(5_000);
  sender = await world.agent(net.blue1, "blue.example/travel/sender").attach();
  receiver = await world.agent(net.blue1, "blue.example/travel/receiver").attach();
}

const padded = (text: string, bytes: number): string => `${text} `.padEnd(bytes, "x");
const say = (to: TestAgent, text: string, trafficClass: agp.TrafficClass, bytes = 100_000): Promise<Uint8Array> =>
  sender.message(to.agentId, padded(text, bytes), { trafficClass });
const heard = (agent: TestAgent): string[] => agent.messages.map((text) => /([bio]\d+) x/.exec(text)?.[1] ?? "");

/** The gateway's end of an agent's link. */
function end(agent: TestAgent) {
  if (agent.far === undefined) throw new Error("not attached");
  return agent.far;
}

/** What the gateway said about bulk on the agent's link. */
const flows = (agent: TestAgent): string[] =>
  agent.inbox.flatMap((each) =>
    each.case === "credit" && each.value.trafficClass === BULK && each.value.flow !== 0
      ? [agp.FlowState[each.value.flow]]
      : [],
  );

test("bulk is what says so in its header and is a message; all else is urgent", () => {
  const lane = (kind: FrameKind, trafficClass: number) => laneOf({ kind, trafficClass });
  expect([0, INTERACTIVE, CONTROL, 4, 77].map((each) => lane(FrameKind.message, each))).toEqual(
    Array.from({ length: 5 }, () => Lane.urgent),
  );
  expect(lane(FrameKind.message, BULK)).toBe(Lane.bulk);
  expect(lane(FrameKind.control, BULK)).toBe(Lane.urgent);
});

describe("a receiver whose bulk lane is full [BEY-1]", () => {
  test("stops bulk of its sender and nothing else; the sender goes on when there is room, and nothing is lost", async () => {
    end(receiver).stalledBulk = true;
    for (let i = 0; i < 12; i++) await say(receiver, `b${i}`, BULK);
    expect(flows(sender)).toEqual(["STOP"]);
    expect(end(sender).isPaused).toBe(false);
    // Interactive messages of the same sender to the same receiver pass meanwhile, and to others too.
    for (let i = 0; i < 5; i++) await say(receiver, `i${i}`, INTERACTIVE, 1_000);
    expect(heard(receiver)).toEqual(["i0", "i1", "i2", "i3", "i4"]);
    end(receiver).stalledBulk = false;
    end(receiver).flush();
    await settle();
    expect(flows(sender)).toEqual(["STOP", "GO"]);
    expect(heard(receiver).slice(5)).toEqual(Array.from({ length: 12 }, (_, i) => `b${i}`));
    expect(sender.reports).toEqual([]);
  });

  test("holds back a sender altogether that goes on after it was told to stop, and refuses bulk at the bound", async () => {
    end(receiver).stalledBulk = true;
    for (let i = 0; i < 15; i++) await say(receiver, `b${i}`, BULK);
    expect(flows(sender)).toEqual(["STOP"]);
    expect(end(sender).isPaused).toBe(true);
    expect(net.blue1.log.some((line) => line.event === "limits.bulk_not_stopped")).toBe(true);
    // It is read from again when a pause has its end; by and by the lane reaches its bound, which refuses bulk only.
    for (let i = 15; i < 40; i++) {
      await say(receiver, `b${i}`, BULK);
      await world.scheduler.advance(5_000);
    }
    expect(end(receiver).bufferedBulkBytes).toBeLessThan(limits.linkBulkBytesMax + 200_000);
    expect(new Set(sender.reports.map((each) => each.code))).toEqual(new Set(["CAUSEWAY_FORWARDING_OVERLOADED"]));
    expect(sender.reports[0]?.message).toContain("queue for bulk");
    const before = sender.reports.length;
    await say(receiver, "i0", INTERACTIVE, 1_000);
    await world.scheduler.advance(5_000);
    expect([heard(receiver), sender.reports.length]).toEqual([["i0"], before]);
  });

  test("holds back a sender that was told to stop whoever it goes on to: bulk to others counts too", async () => {
    const other = await world.agent(net.blue1, "blue.example/travel/other").attach();
    end(receiver).stalledBulk = true;
    for (let i = 0; i < 11; i++) await say(receiver, `b${i}`, BULK);
    expect(flows(sender)).toEqual(["STOP"]);
    for (let i = 0; i < 2; i++) await say(other, `o${i}`, BULK);
    // What can be on its way is taken for that.
    expect(heard(other)).toEqual(["o0", "o1"]);
    expect(end(sender).isPaused).toBe(false);
    await say(other, "o2", BULK);
    expect(end(sender).isPaused).toBe(true);
    expect(net.blue1.log.filter((line) => line.event === "limits.bulk_not_stopped")).toHaveLength(1);
    end(receiver).stalledBulk = false;
    end(receiver).flush();
    await settle();
    expect(flows(sender)).toEqual(["STOP", "GO"]);
    expect(end(sender).isPaused).toBe(false);
    await say(other, "o3", BULK);
    expect(heard(other)).toEqual(["o0", "o1", "o2", "o3"]);
  });

  test("stays stopped when only what is urgent has room again, and what is sent meanwhile still counts", async () => {
    end(receiver).stalledBulk = true;
    for (let i = 0; i < 11; i++) await say(receiver, `b${i}`, BULK);
    for (let i = 11; i < 13; i++) {
      await say(receiver, `b${i}`, BULK);
      // The urgent lane fills and empties.
      await say(receiver, `i${i}`, INTERACTIVE, 1_100_000);
    }
    expect(flows(sender)).toEqual(["STOP"]);
    expect(end(sender).isPaused).toBe(false);
    await say(receiver, "b13", BULK);
    expect([flows(sender), end(sender).isPaused]).toEqual([["STOP"], true]);
    await say(receiver, "i13", INTERACTIVE, 1_000);
    expect(heard(receiver)).toEqual(["i11", "i12"]);
    await world.scheduler.advance(5_000);
    expect(heard(receiver)).toEqual(["i11", "i12", "i13"]);
  });

  test("does not stop bulk for longer than a pause may last: other receivers get theirs", async () => {
    const other = await world.agent(net.blue1, "blue.example/travel/other").attach();
    end(receiver).stalledBulk = true;
    for (let i = 0; i < 12; i++) await say(receiver, `b${i}`, BULK);
    await world.scheduler.advance(5_000);
    expect(flows(sender)).toEqual(["STOP", "GO"]);
    await say(other, "o0", BULK);
    expect(heard(other)).toEqual(["o0"]);
  });
});

test("over its rate of bulk an agent hears which limit and when to retry; what is interactive passes [BEY-1]", async () => {
  await restart({ agentBulkMessagesPerSecond: 5, rateBurstSeconds: 1 });
  for (let i = 0; i < 8; i++) await say(receiver, `b${i}`, BULK, 100);
  await say(receiver, "i0", INTERACTIVE, 100);
  expect(heard(receiver)).toEqual(["b0", "b1", "b2", "b3", "b4", "i0"]);
  expect(flows(sender)).toEqual(["STOP"]);
  const refused = sender.inbox.flatMap((each) =>
    each.case === "control" && each.value.body.case === "deliveryReport" ? [each.value.body.value.error] : [],
  );
  expect(refused).toHaveLength(3);
  expect(refused[0]).toMatchObject({ code: "CAUSEWAY_LIMIT_RATE", details: { limit: "agentBulkMessagesPerSecond" } });
  expect(Number(refused[0]?.retryAfterMs)).toBeGreaterThan(0);
  await world.scheduler.advance(1_000);
  expect(flows(sender)).toEqual(["STOP", "GO"]);
  await say(receiver, "b8", BULK, 100);
  expect(heard(receiver).at(-1)).toBe("b8");
});

test("bulk never has more than three quarters of an agent's rate, whatever that is set to: the rest is left for what is interactive [BEY-1]", async () => {
  await restart({ agentMessagesPerSecond: 40, rateBurstSeconds: 1 });
  for (let i = 0; i < 35; i++) await say(receiver, `b${i}`, BULK, 100);
  expect(heard(receiver)).toHaveLength(30);
  expect(sender.reports).toHaveLength(5);
  // Bulk that was refused has used up nothing.
  for (let i = 0; i < 12; i++) await say(receiver, `i${i}`, INTERACTIVE, 100);
  expect(heard(receiver).slice(30)).toEqual(Array.from({ length: 10 }, (_, i) => `i${i}`));
});

test("a message of bulk that is larger than a second of its rate passes all the same, and the next one waits", async () => {
  await restart({ agentBulkBytesPerSecond: 10_000, rateBurstSeconds: 1 });
  await say(receiver, "b0", BULK, 100_000);
  await say(receiver, "b1", BULK, 100);
  expect(heard(receiver)).toEqual(["b0"]);
  expect(sender.reports.map(({ code }) => code)).toEqual(["CAUSEWAY_LIMIT_RATE"]);
  await world.scheduler.advance(11_000);
  await say(receiver, "b2", BULK, 100_000);
  expect(heard(receiver)).toEqual(["b0", "b2"]);
});

describe("control frames and messages have rates of their own [BEY-1]", () => {
  const ask = (id: number): Promise<void> =>
    sender.control(
      receiver.agentId,
      { case: "keyPackageFetch", value: create(agp.KeyPackageFetchSchema) },
      requestId(id),
    );
  const answered = (): number =>
    sender.inbox.filter((each) => each.case === "control" && each.value.body.case === "keyPackageResult").length;
  /** Limits that were named in refusals. */
  const limitsNamed = (): unknown[] =>
    sender.inbox.flatMap((each) =>
      each.case === "control" && each.value.body.case === "deliveryReport"
        ? [each.value.body.value.error?.details["limit"]]
        : [],
    );
  const readOn = async (): Promise<void> => {
    end(sender).resume();
    await settle();
  };

  test("a flood of messages does not get control frames refused", async () => {
    await restart({ agentMessagesPerSecond: 10, rateBurstSeconds: 1 });
    for (let i = 0; i < 13; i++) {
      await say(receiver, `i${i}`, INTERACTIVE, 100);
      await readOn();
    }
    expect(limitsNamed()).toEqual(Array(3).fill("agentMessagesPerSecond"));
    for (let i = 0; i < 10; i++) {
      await ask(i);
      await readOn();
    }
    expect([answered(), limitsNamed().length]).toEqual([10, 3]);
    // There are never more of them than messages.
    await ask(10);
    expect(limitsNamed().slice(3)).toEqual(["agentControlMessagesPerSecond"]);
  });

  test("a flood of control frames does not get messages refused", async () => {
    await restart({ agentControlMessagesPerSecond: 2, rateBurstSeconds: 1 });
    for (let i = 0; i < 5; i++) {
      await ask(i);
      await readOn();
    }
    expect(answered()).toBe(2);
    expect(limitsNamed()).toEqual(Array(3).fill("agentControlMessagesPerSecond"));
    for (let i = 0; i < 10; i++) await say(receiver, `i${i}`, INTERACTIVE, 100);
    expect(heard(receiver)).toHaveLength(10);
    await world.scheduler.advance(1_000);
    await ask(5);
    expect(answered()).toBe(3);
  });

  test("a control frame that is larger than a second of its rate passes all the same, and the next one waits", async () => {
    await restart({ agentControlBytesPerSecond: 10, rateBurstSeconds: 1 });
    await ask(0);
    await ask(1);
    expect([answered(), limitsNamed()]).toEqual([1, ["agentControlBytesPerSecond"]]);
  });
});

test("over its rate of bytes of bulk an agent that goes on is not read from, as without classes", async () => {
  await restart({ agentBulkBytesPerSecond: 100_000, rateBurstSeconds: 1, bulkAfterStopBytesMax: 20_000 });
  for (let i = 0; i < 14; i++) await say(receiver, `b${i}`, BULK, 10_000);
  expect(flows(sender)).toEqual(["STOP"]);
  expect(sender.reports[0]?.message).toContain("agentBulkBytesPerSecond");
  expect(end(sender).isPaused).toBe(true);
  await world.scheduler.advance(1_000);
  expect(end(sender).isPaused).toBe(false);
});

test("bulk that was taken is acknowledged, and acknowledgements of the other side reach its link [BEY-1]", async () => {
  await say(receiver, "b0", BULK, 100_000);
  const credit = sender.inbox.find((each) => each.case === "credit");
  expect(credit?.value).toMatchObject({ trafficClass: BULK, flow: agp.FlowState.UNSPECIFIED });
  expect(credit?.case === "credit" && credit.value.bytes).toBeGreaterThan(100_000);
  await receiver.send({ case: "credit", value: { trafficClass: BULK, bytes: 4_711 } });
  expect(end(receiver).bulkTaken).toBe(4_711);
  // Interactive messages are not acknowledged.
  await say(receiver, "i0", INTERACTIVE, 100_000);
  expect(sender.inbox.filter((each) => each.case === "credit")).toHaveLength(1);
});

/** Bytes of bulk that the other side of a link was told are taken. */
const acknowledged = (inbox: readonly FrameBody[]): number =>
  inbox.reduce((sum, each) => sum + (each.case === "credit" ? each.value.bytes : 0), 0);

describe("bulk that is refused is acknowledged all the same: it is not on its way any more [BEY-1]", () => {
  const size = 100_000;

  test("when its sender is over its rate of everything", async () => {
    await restart({ agentMessagesPerSecond: 40, rateBurstSeconds: 1 });
    for (let i = 0; i < 40; i++) await say(receiver, `i${i}`, INTERACTIVE, 100);
    for (let i = 0; i < 30; i++) {
      await say(receiver, `b${i}`, BULK, size);
      // So that it is read from again, and refused again.
      end(sender).resume();
      await settle();
    }
    expect(sender.reports).toHaveLength(30);
    expect(sender.reports.every(({ message }) => message.includes("agentMessagesPerSecond"))).toBe(true);
    await world.scheduler.advance(5_000);
    await say(receiver, "b30", BULK, size);
    expect(heard(receiver).at(-1)).toBe("b30");
    expect(acknowledged(sender.inbox)).toBeGreaterThan(31 * size);
  });

  test("when the peer that it comes from is over its rate of everything", async () => {
    await restart({ agentMessagesPerSecond: 40, peerRateFactor: 1, rateBurstSeconds: 1 });
    await receiver.advertise();
    const far = await world.agent(net.green1, "green.example/hotels/far").attach();
    await far.advertise();
    await world.scheduler.advance(5_000);
    const between = [...net.blue1.peerLinks.values()][0];
    if (between === undefined) throw new Error("no link to the peer");
    const send = (text: string, trafficClass: agp.TrafficClass, bytes: number) =>
      far.message(receiver.agentId, padded(text, bytes), { trafficClass });
    for (let i = 0; i < 40; i++) await send(`i${i}`, INTERACTIVE, 100);
    for (let i = 0; i < 30; i++) {
      await send(`b${i}`, BULK, size);
      between.resume();
      await settle();
    }
    expect(heard(receiver).filter((text) => text.startsWith("b"))).toEqual([]);
    expect(acknowledged(between.sent.map((frame) => decodeFrame(frame)))).toBeGreaterThan(30 * size);
  });

  test("when its header is wrong", async () => {
    for (let i = 0; i < 3; i++)
      await sender.message(receiver.agentId, padded("b", size), { trafficClass: BULK, hopTtl: 0 });
    expect(heard(receiver)).toEqual([]);
    expect(acknowledged(sender.inbox)).toBeGreaterThan(3 * size);
  });
});

test("a full bulk lane between gateways refuses bulk only [BEY-1]", async () => {
  const far = await world.agent(net.green1, "green.example/hotels/far").attach();
  await far.advertise();
  await world.scheduler.advance(5_000);
  const between = [...net.blue2.peerLinks].find(([name]) => name.includes("green"))?.[1];
  if (between === undefined) throw new Error("no link between the domains");
  between.stalledBulk = true;
  for (let i = 0; i < 90; i++) await say(far, `b${i}`, BULK);
  await say(far, "i0", INTERACTIVE, 1_000);
  expect(heard(far)).toEqual(["i0"]);
  // The gateway before it carries others' messages too, so that nobody stops it.
  expect(flows(sender)).toEqual([]);
  expect(new Set(sender.reports.map((each) => each.code))).toEqual(new Set(["CAUSEWAY_FORWARDING_OVERLOADED"]));
  between.stalledBulk = false;
  between.flush();
  await settle();
  expect(heard(far).slice(1)).toEqual(Array.from({ length: 90 - sender.reports.length }, (_, i) => `b${i}`));
});

test("a subscriber that is behind with bulk topics still gets interactive ones [BEY-1]", async () => {
  await restart({ topicLinkBytesMax: 2_000, topicQueueMessagesMax: 100, topicQueueBytesMax: 1_000_000 });
  const [bulky, quick] = ["blue.example/travel/sender/bulky", "blue.example/travel/sender/quick"];
  for (const topic of [bulky, quick]) expect((await receiver.subscribe(topic)).error).toBeUndefined();
  end(receiver).stalledBulk = true;
  const publish = (topic: string, text: string, trafficClass: agp.TrafficClass): Promise<Uint8Array> =>
    sender.message(topic, padded(text, 1_000), { targetKind: TargetKind.topic, trafficClass });
  for (let i = 0; i < 10; i++) await publish(bulky, `b${i}`, BULK);
  for (let i = 0; i < 3; i++) await publish(quick, `i${i}`, INTERACTIVE);
  expect(heard(receiver)).toEqual(["i0", "i1", "i2"]);
  end(receiver).stalledBulk = false;
  for (let i = 0; i < 4; i++) {
    end(receiver).flush();
    await settle();
  }
  expect(heard(receiver).slice(3)).toEqual(Array.from({ length: 10 }, (_, i) => `b${i}`));
});
