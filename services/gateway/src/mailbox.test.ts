import { mailboxFeature } from "@causeway/core-attachment";
import { defaults, refuse } from "@causeway/core-base";
import { agp, HeaderFlag } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import type { GatewayLimits } from "./ports.ts";
import { settle } from "./testing/manual-scheduler.ts";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let net: Awaited<ReturnType<World["chain"]>>;
let alice: TestAgent;
let bob: TestAgent;

const reliable = { deliveryMode: agp.DeliveryMode.RELIABLE };
const stored = { ...reliable, flags: HeaderFlag.stored };
const noticed = { ...reliable, flags: HeaderFlag.storedNotice };
const options = { features: [mailboxFeature] };
const dayMs = 86_400_000;

async function known(at: WorldGateway, name: string, more = options, awayMs = dayMs): Promise<TestAgent> {
  const agent = await world.agent(at, name, more).attach();
  expect((await agent.advertise({ awayMs })).error).toBeUndefined();
  await world.scheduler.advance(1_000);
  return agent;
}

/** The same agent in a new process. */
async function back(agent: TestAgent, at: WorldGateway = net.green1, more = options): Promise<TestAgent> {
  await world.scheduler.advance(10);
  const again = await new TestAgent(world, at, agent.identity, more).attach();
  await again.advertise({ awayMs: dayMs });
  return again;
}

/** Restarts blue's and green's edge gateways, and the agents on them, with these limits. */
async function restartWith(limits: Partial<GatewayLimits>): Promise<void> {
  net.green1.limits = limits;
  await world.kill(net.green1);
  await world.start(net.green1);
  await world.scheduler.advance(40_000);
}

const mailboxesOf = (at: WorldGateway) => at.gateway?.inspect().mailboxes.machine;
const held = (at: WorldGateway): number => mailboxesOf(at)?.totals().messages ?? -1;
const dead = (at: WorldGateway): readonly (string | undefined)[] =>
  mailboxesOf(at)
    ?.deadLetters({})
    .map((each) => each.dead?.error.code) ?? [];

beforeEach(async () => {
  world = new World();
  net = await world.chain();
  alice = await known(net.blue1, "blue.example/travel/alice");
  bob = await known(net.green1, "green.example/hotels/bob");
});

describe("a reliable message for an agent that is away", () => {
  test("is stored, its sender is told if it asked, and it arrives in order when the agent is back [AGP-58]", async () => {
    await bob.crash();
    await alice.message(bob.agentId, "one", noticed);
    await alice.message(bob.agentId, "two", stored);
    await alice.message(bob.agentId, "three", reliable);
    expect(alice.reports).toEqual([]);
    expect(alice.fates).toEqual(["STORED 1", "STORED 1"]);
    expect(held(net.green1)).toBe(3);
    const again = await back(bob);
    expect(again.messages).toEqual(["one", "two", "three"]);
    expect(held(net.green1)).toBe(3);
    await again.acknowledge(alice.agentId);
    expect(held(net.green1)).toBe(0);
    expect(net.green1.gateway?.status().counters).toMatchObject({
      mailbox_stored: 3,
      mailbox_delivered: 3,
      mailbox_acknowledged: 3,
      mailbox_unacknowledged: 0,
    });
  });

  test("survives kill -9 of its gateway and of the agent's process again and again [AGP-58]", async () => {
    await bob.crash();
    for (let n = 0; n < 5; n++) await alice.message(bob.agentId, `m${n}`, noticed);
    await world.kill(net.green1);
    await world.start(net.green1);
    await world.scheduler.advance(40_000);
    const second = await back(bob);
    expect(second.messages).toEqual(["m0", "m1", "m2", "m3", "m4"]);
    await second.crash();
    await world.kill(net.green1);
    await world.start(net.green1);
    await world.scheduler.advance(40_000);
    const third = await back(bob);
    expect(third.messages).toEqual(["m0", "m1", "m2", "m3", "m4"]);
    await third.acknowledge(alice.agentId);
    await third.crash();
    expect((await back(bob)).messages).toEqual([]);
  });

  test("comes before newer messages of its sender, also while it is being handed over [AGP-58]", async () => {
    await restartWith({ mailboxWindowMessages: 2 });
    bob = await back(bob);
    await bob.crash();
    for (let n = 0; n < 4; n++) await alice.message(bob.agentId, `old ${n}`, noticed);
    const again = await back(bob);
    expect(again.messages).toEqual(["old 0", "old 1"]);
    await alice.message(bob.agentId, "new", reliable);
    await again.acknowledge(alice.agentId);
    await again.acknowledge(alice.agentId);
    expect(again.messages).toEqual(["old 0", "old 1", "old 2", "old 3", "new"]);
    await again.acknowledge(alice.agentId);
    await alice.message(bob.agentId, "direct", reliable);
    expect(again.messages.at(-1)).toBe("direct");
    expect(held(net.green1)).toBe(0);
  });

  test("waits a day for an agent that said that it may be away, however it left [AGP-58]", async () => {
    await bob.detach({ away: true });
    await world.scheduler.advance(3_600_000);
    await alice.message(bob.agentId, "after an hour", noticed);
    expect(alice.fates).toEqual(["STORED 1"]);
    const again = await back(bob);
    expect(again.messages).toEqual(["after an hour"]);
    await again.acknowledge(alice.agentId);
    await again.crash();
    await world.scheduler.advance(defaults.staleAfterMs + defaults.removeAfterStaleMs + 3_600_000);
    await alice.message(bob.agentId, "long after removal", noticed);
    expect(alice.fates).toHaveLength(2);
    expect((await back(bob)).messages).toEqual(["long after removal"]);
  });

  test("is refused when the agent ended its session for good, or may be away no longer [AAP-87]", async () => {
    const carol = await known(net.green1, "green.example/hotels/carol", options, 3_600_000);
    await bob.detach();
    await world.scheduler.advance(1_000);
    await alice.message(bob.agentId, "gone", noticed);
    await carol.crash();
    await world.scheduler.advance(2 * 3_600_000);
    await alice.message(carol.agentId, "too late", noticed);
    expect(alice.fates).toEqual([]);
    expect(alice.reports.map((each) => each.code)).toEqual([
      "CAUSEWAY_FORWARDING_NO_ROUTE",
      "CAUSEWAY_FORWARDING_NO_ROUTE",
    ]);
  });

  test("is not stored when it is best effort: it waits a while in memory, as before", async () => {
    await bob.crash();
    await alice.message(bob.agentId, "light");
    expect(held(net.green1)).toBe(0);
    expect((await back(bob)).messages).toEqual(["light"]);
  });

  test("that is not wanted by the target's record is refused and not stored [AMSP-19]", async () => {
    const picky = await world.agent(net.green1, "green.example/hotels/picky", options).attach();
    await picky.advertise({ allowedDomains: ["red.example"], awayMs: dayMs });
    await world.scheduler.advance(1_000);
    await picky.crash();
    await alice.message(picky.agentId, "unwanted", noticed);
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED"]);
    expect(held(net.green1)).toBe(0);
  });

  test("that expires is answered, and is a dead letter [AGP-58]", async () => {
    await bob.crash();
    const soon = world.scheduler.now().unix + 60_000;
    await alice.message(bob.agentId, "soon stale", { ...noticed, expiresUnixMs: BigInt(soon) });
    await world.scheduler.advance(120_000);
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_EXPIRED"]);
    expect(dead(net.green1)).toEqual(["CAUSEWAY_FORWARDING_EXPIRED"]);
    expect((await back(bob)).messages).toEqual([]);
  });

  test("over a quota is refused with the limit and when to try again [AGP-58] [ANA-49]", async () => {
    await restartWith({ mailboxSenderMessagesMax: 2 });
    bob = await back(bob);
    const carol = await known(net.blue1, "blue.example/travel/carol");
    await bob.crash();
    for (let n = 0; n < 3; n++) await alice.message(bob.agentId, `m${n}`, noticed);
    await carol.message(bob.agentId, "another's share", noticed);
    const report = alice.inbox.flatMap((each) =>
      each.case === "control" && each.value.body.case === "deliveryReport" && each.value.body.value.error
        ? [each.value.body.value.error]
        : [],
    );
    expect(report).toHaveLength(1);
    expect(report[0]).toMatchObject({
      code: "CAUSEWAY_MAILBOX_FULL",
      retryable: true,
      details: { limit: "mailboxSenderMessagesMax" },
    });
    expect(report[0]?.retryAfterMs).toBeGreaterThan(0);
    expect(carol.fates).toEqual(["STORED 1"]);
    expect((await back(bob)).messages).toEqual(["m0", "m1", "another's share"]);
  });

  test("is stored once, however often it is sent [AGP-58]", async () => {
    await bob.crash();
    const messageId = await alice.message(bob.agentId, "once", noticed);
    await alice.message(bob.agentId, "once", { ...noticed, messageId });
    expect(alice.fates).toEqual(["STORED 1", "STORED 1"]);
    const again = await back(bob);
    expect(again.messages).toEqual(["once"]);
    // Handed over and sent once more: the receiver may need this copy, and removes duplicates itself.
    await alice.message(bob.agentId, "once", { ...noticed, messageId });
    expect(again.messages).toEqual(["once", "once"]);
  });

  test("that could not be written is refused, and nobody is told that it was stored [AGP-58]", async () => {
    await bob.crash();
    net.green1.mailboxes.failure = Object.assign(new Error("no space"), {});
    await alice.message(bob.agentId, "lost", { ...noticed, flags: HeaderFlag.storedNotice | HeaderFlag.accepted });
    expect(alice.fates).toEqual(["ACCEPTED 1"]);
    expect(alice.reports).toHaveLength(1);
    net.green1.mailboxes.failure = undefined;
    await alice.message(bob.agentId, "kept", noticed);
    expect(alice.fates).toEqual(["ACCEPTED 1", "STORED 1"]);
    expect((await back(bob)).messages).toEqual(["kept"]);
  });

  test("what became of it is written as soon as the disk takes it, also when nothing else happens [AGP-58]", async () => {
    await bob.crash();
    const soon = world.scheduler.now().unix + 60_000;
    await alice.message(bob.agentId, "soon stale", { ...noticed, expiresUnixMs: BigInt(soon) });
    const { mailboxes } = net.green1;
    const deadOnDisk = () => mailboxes.afterCrash().load().dead.length;
    mailboxes.failure = refuse("CAUSEWAY_STORE_FULL", "no space");
    await world.scheduler.advance(120_000);
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_EXPIRED"]);
    expect(deadOnDisk()).toBe(0);
    mailboxes.failure = undefined;
    await world.scheduler.advance(5_000);
    expect(deadOnDisk()).toBe(1);
  });

  test("that had expired when it came and could not be written leaves no dead letter behind [AGP-58]", async () => {
    net.green1.mailboxes.failure = refuse("CAUSEWAY_STORE_FULL", "no space");
    // In the very millisecond in which it expires it is still forwarded, and no longer kept.
    const expiresUnixMs = BigInt(world.scheduler.now().unix);
    await alice.message(bob.agentId, "late", { ...stored, expiresUnixMs });
    net.green1.mailboxes.failure = undefined;
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_STORE_FULL"]);
    expect(dead(net.green1)).toEqual([]);
    expect(held(net.green1)).toBe(0);
  });
});

describe("what senders can ask for", () => {
  test("accepted: the sender's own gateway says that it passed the message on [AGP-58]", async () => {
    await alice.message(bob.agentId, "hello", { flags: HeaderFlag.accepted });
    expect(alice.fates).toEqual(["ACCEPTED 1"]);
    const report = alice.inbox.find((each) => each.case === "control");
    expect(report?.case === "control" && report.value.header?.source).toBe(net.blue1.identity.spiffeId);
    expect(bob.messages).toEqual(["hello"]);
  });

  test("stored: it is on the disk before it is delivered, also when the target is attached [AGP-58]", async () => {
    const commits = net.green1.mailboxes.commits;
    await alice.message(bob.agentId, "hello", stored);
    expect(net.green1.mailboxes.commits).toBeGreaterThan(commits);
    expect(alice.fates).toEqual(["STORED 1"]);
    expect(bob.messages).toEqual(["hello"]);
    // Unacknowledged, it comes again.
    await bob.crash();
    const again = await back(bob);
    expect(again.messages).toEqual(["hello"]);
    await again.acknowledge(alice.agentId);
    expect(held(net.green1)).toBe(0);
  });

  test("messages of one turn are answered by one report and written by one commit [AGP-58]", async () => {
    const commits = net.green1.mailboxes.commits;
    await Promise.all(Array.from({ length: 40 }, (_, n) => alice.message(bob.agentId, `m${n}`, stored)));
    expect(net.green1.mailboxes.commits).toBe(commits + 1);
    expect(alice.fates).toEqual(["STORED 40"]);
    expect(bob.messages).toHaveLength(40);
  });

  test("storing is for reliable messages to agents; anything else that asks for it is refused [AGP-58]", async () => {
    await alice.message(bob.agentId, "light", { flags: HeaderFlag.stored });
    await alice.message("blue.example/travel/alice/news", "topic", stored);
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_HEADER_INVALID", "CAUSEWAY_HEADER_INVALID"]);
    expect(bob.messages).toEqual([]);
  });
});

describe("what leaves a mailbox", () => {
  test("for a receiver that does not acknowledge: what was handed over", async () => {
    const plain = await known(net.green1, "green.example/hotels/plain", { features: [] });
    await plain.crash();
    for (let n = 0; n < 3; n++) await alice.message(plain.agentId, `m${n}`, noticed);
    const again = await back(plain, net.green1, { features: [] });
    expect(again.messages).toEqual(["m0", "m1", "m2"]);
    await world.scheduler.advance(10);
    expect(held(net.green1)).toBe(0);
    expect(net.green1.gateway?.status().counters).toMatchObject({
      mailbox_delivered: 3,
      mailbox_acknowledged: 0,
      mailbox_unacknowledged: 3,
    });
    await world.kill(net.green1);
    await world.start(net.green1);
    expect(held(net.green1)).toBe(0);
  });

  test("what the receiver can never take is a dead letter, and its sender is not told by the gateway", async () => {
    await bob.crash();
    await alice.message(bob.agentId, "garbled", noticed);
    const again = await back(bob);
    await again.acknowledge(alice.agentId, { code: "CAUSEWAY_E2EE_DECRYPT_FAILED", message: "it does not decrypt" });
    expect(dead(net.green1)).toEqual(["CAUSEWAY_E2EE_DECRYPT_FAILED"]);
    expect(alice.reports).toEqual([]);
  });

  test("nobody acknowledges what waits for another [ANA-43]", async () => {
    const mallory = await known(net.green1, "green.example/hotels/mallory");
    await bob.crash();
    const messageId = await alice.message(bob.agentId, "mine", noticed);
    await mallory.send({
      case: "mailboxAck",
      value: { entries: [{ source: alice.agentId, messageIds: [messageId] }] },
    });
    expect(held(net.green1)).toBe(1);
  });

  test("an acknowledgement of too many messages at once is refused", async () => {
    await bob.crash();
    await alice.message(bob.agentId, "waiting", noticed);
    const again = await back(bob);
    const messageIds = Array.from({ length: 1_025 }, () => new Uint8Array(16));
    await again.send({ case: "mailboxAck", value: { entries: [{ source: alice.agentId, messageIds }] } });
    expect(again.errors).toEqual(["CAUSEWAY_LIMIT_COUNT"]);
    expect(held(net.green1)).toBe(1);
  });

  test("a revoked agent's mailbox is given up, whether it is attached or away [AGP-58] [ANA-43]", async () => {
    await bob.crash();
    await alice.message(bob.agentId, "in vain", noticed);
    await world.revoke("green.example", bob.identity);
    await world.scheduler.advance(1_000);
    expect(dead(net.green1)).toEqual(["CAUSEWAY_MAILBOX_CLOSED"]);
    expect(alice.reports.map((each) => each.code)).toContain("CAUSEWAY_MAILBOX_CLOSED");
  });

  test("a deregistered agent's mailbox is given up when it leaves [AGP-58] [ANA-104]", async () => {
    await alice.message(bob.agentId, "unread", stored);
    await bob.request({ case: "advertise", value: { request: bob.nextRequest(), withdraw: true } }, "advertiseResult");
    await bob.detach();
    await world.scheduler.advance(1_000);
    expect(dead(net.green1)).toEqual(["CAUSEWAY_MAILBOX_CLOSED"]);
    expect(held(net.green1)).toBe(0);
  });
});

describe("mobility", () => {
  let green3: WorldGateway;

  beforeEach(async () => {
    green3 = world.add("l3", "green.example", 1);
    green3.peers = [{ url: net.green2.url, kind: "uplink" }];
    await world.start(green3);
    await world.scheduler.advance(5_000);
  });

  test("what is stored follows the agent to another gateway of its domain [AAP-95]", async () => {
    await bob.crash();
    for (let n = 0; n < 100; n++) await alice.message(bob.agentId, `m${n}`, n === 7 ? noticed : reliable);
    const moved = await back(bob, green3);
    await world.scheduler.advance(15_000);
    expect(moved.messages).toEqual(Array.from({ length: 100 }, (_, n) => `m${n}`));
    expect(held(net.green1)).toBe(0);
    expect(held(green3)).toBe(100);
    // Reported once, by the gateway that stored it first.
    expect(alice.fates).toEqual(["STORED 1"]);
    await moved.acknowledge(alice.agentId);
    expect(held(green3)).toBe(0);
    expect(alice.reports).toEqual([]);
  });

  test("what the other gateway cannot store stays where it is, and its sender hears of no failure [AAP-95] [AGP-58]", async () => {
    await bob.crash();
    await alice.message(bob.agentId, "kept", noticed);
    green3.mailboxes.failure = refuse("CAUSEWAY_STORE_FULL", "no space");
    const moved = await back(bob, green3);
    await world.scheduler.advance(15_000);
    expect(held(net.green1)).toBe(1);
    expect(alice.reports).toEqual([]);
    green3.mailboxes.failure = undefined;
    await world.scheduler.advance(120_000);
    expect(moved.messages).toEqual(["kept"]);
    expect(held(net.green1)).toBe(0);
    expect(alice.fates).toEqual(["STORED 1"]);
  });

  test("handing over goes on after either gateway was killed in the middle [AAP-95] [AGP-58]", async () => {
    await bob.crash();
    for (let n = 0; n < 150; n++) await alice.message(bob.agentId, `m${n}`, reliable);
    const link = net.green1.peerLinks.get(net.green2.uri);
    if (link !== undefined) link.stalled = true;
    const moved = await back(bob, green3);
    await world.kill(net.green1);
    await world.start(net.green1);
    await world.kill(green3);
    await world.start(green3);
    await world.scheduler.advance(120_000);
    const again = moved.state === "attached" ? moved : await back(bob, green3);
    await world.scheduler.advance(120_000);
    expect(held(net.green1)).toBe(0);
    expect([...new Set(again.messages)].sort()).toEqual(Array.from({ length: 150 }, (_, n) => `m${n}`).sort());
  });

  test("no agent and no foreign gateway can put messages into a mailbox by handing over [ANA-43]", async () => {
    const value = { messages: [{ frame: new Uint8Array([1]), storedUnixMs: 1n, expiresUnixMs: 2n }] };
    await alice.control(bob.agentId, { case: "mailboxTransfer", value: value as never }, new Uint8Array(16).fill(9));
    const answer = alice.inbox.find((each) => each.case === "control");
    expect(answer?.case === "control" && answer.value.body).toMatchObject({
      case: "mailboxTransferResult",
      value: { stored: 0, error: { code: "CAUSEWAY_FORWARDING_NOT_ALLOWED" } },
    });
    expect(held(net.green1)).toBe(0);
  });

  test("a drained gateway hands over what it stored before it ends, and keeps the rest for its next start [AGP-58]", async () => {
    const carol = await known(net.green1, "green.example/hotels/carol");
    await carol.crash();
    for (let n = 0; n < 3; n++) {
      await alice.message(bob.agentId, `b${n}`, stored);
      await alice.message(carol.agentId, `c${n}`, noticed);
    }
    const stopping = net.green1.gateway?.stop({ deadlineMs: 60_000 });
    await bob.crash();
    const moved = await back(bob, green3);
    await world.scheduler.advance(61_000);
    await stopping;
    net.green1.gateway = undefined;
    expect(moved.messages).toEqual(["b0", "b1", "b2"]);
    expect(net.green1.mailboxes.load().waiting).toHaveLength(3);
    await world.start(net.green1);
    await world.scheduler.advance(10_000);
    expect((await back(carol)).messages).toEqual(["c0", "c1", "c2"]);
  });

  test("a drained gateway stays until those that it asked to move are known elsewhere: nobody is told meanwhile that there is no way [AGP-6] [AAP-14]", async () => {
    const stopping = net.green1.gateway?.stop({ deadlineMs: 60_000 });
    await settle();
    expect(bob.inbox.some((each) => each.case === "drain")).toBe(true);
    // The next gateway takes its time.
    bob.vanish();
    await world.scheduler.advance(2_000);
    await alice.message(bob.agentId, "on the way", reliable);
    const moved = await back(bob, green3);
    // Long before the deadline.
    await world.scheduler.advance(20_000);
    await stopping;
    net.green1.gateway = undefined;
    await alice.message(bob.agentId, "there", reliable);
    expect(alice.reports).toEqual([]);
    expect(moved.messages).toEqual(["on the way", "there"]);
  });
});
