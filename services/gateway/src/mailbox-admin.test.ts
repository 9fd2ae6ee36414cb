import { mailboxFeature } from "@causeway/core-attachment";
import { admin, agp, HeaderFlag } from "@causeway/core-wire";
import { createClient } from "@connectrpc/connect";
import { beforeEach, expect, test } from "vitest";
import { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let at: WorldGateway;
let alice: TestAgent;
let bob: TestAgent;

const noticed = { deliveryMode: agp.DeliveryMode.RELIABLE, flags: HeaderFlag.storedNotice };
const traced = { ...noticed, flags: HeaderFlag.storedNotice | HeaderFlag.trace };
const options = { features: [mailboxFeature] };

function operator() {
  const identity = world.authority("blue.example").enrol("blue.example/operator/olga", "operator");
  return createClient(admin.GatewayAdminService, world.clientOf(at, identity));
}

beforeEach(async () => {
  world = new World();
  at = world.add("l1", "blue.example", 1);
  await world.start(at);
  alice = await world.agent(at, "blue.example/travel/alice", options).attach();
  bob = await world.agent(at, "blue.example/travel/bob", options).attach();
  await bob.advertise({ awayMs: 86_400_000 });
  await bob.crash();
});

/** Bob in a new process. */
async function back(): Promise<TestAgent> {
  await world.scheduler.advance(10);
  return new TestAgent(world, at, bob.identity, options).attach();
}

/** Lets every message that waits expire. */
async function expireAll(): Promise<void> {
  await world.scheduler.advance(120_000);
}
const soon = (): bigint => BigInt(world.scheduler.now().unix + 60_000);

test("the table of mailboxes follows storing, handing over and acknowledging [AGP-59]", async () => {
  const client = operator();
  expect((await client.listMailboxes({})).mailboxes).toEqual([]);
  const messageId = await alice.message(bob.agentId, "one", noticed);
  const listed = await client.listMailboxes({});
  expect(listed).toMatchObject({ messages: 1n, messagesMax: 250_000n, deadLetters: 0n });
  expect(listed.mailboxes).toMatchObject([
    { agentId: bob.agentId, messages: 1n, underWay: 0n, sources: 1n, state: "away" },
  ]);
  const { messages, total } = await client.listStored({ agentId: bob.agentId });
  expect(total).toBe(1n);
  expect(messages).toMatchObject([{ messageId, source: alice.agentId, attempts: 0, state: "waiting" }]);
  expect(messages[0]?.expiresUnixMs).toBe((messages[0]?.storedUnixMs ?? 0n) + 86_400_000n);
  const again = await back();
  expect((await client.listMailboxes({})).mailboxes).toMatchObject([{ underWay: 1n, state: "attached" }]);
  expect((await client.listStored({})).messages).toMatchObject([{ attempts: 1, state: "under-way" }]);
  await again.acknowledge(alice.agentId);
  expect((await client.listMailboxes({})).mailboxes).toEqual([]);
});

test("dead letters can be read, replayed and purged [AGP-58]", async () => {
  const client = operator();
  const ids = [
    await alice.message(bob.agentId, "one", { ...noticed, expiresUnixMs: soon() }),
    await alice.message(bob.agentId, "two", { ...noticed, expiresUnixMs: soon() }),
    await alice.message(bob.agentId, "three", { ...noticed, expiresUnixMs: soon() }),
  ];
  await expireAll();
  const letters = await client.listStored({ deadLetters: true });
  expect(letters.messages.map((each) => [each.messageId, each.state, each.error?.code])).toEqual(
    ids.map((id) => [id, "dead", "CAUSEWAY_FORWARDING_EXPIRED"]),
  );
  expect((await client.listMailboxes({})).mailboxes).toMatchObject([{ agentId: bob.agentId, deadLetters: 3n }]);
  expect(await client.purgeStored({ messageId: ids[0] as Uint8Array })).toMatchObject({ purged: 1 });
  expect(await client.replayDeadLetters({ agentId: bob.agentId })).toMatchObject({ replayed: 2, refused: 0 });
  const again = await back();
  expect(again.messages).toEqual(["two", "three"]);
  await again.acknowledge(alice.agentId);
  expect((await client.listMailboxes({})).mailboxes).toEqual([]);
});

test("purging everything has to be asked for, and dead letters alone can be", async () => {
  const client = operator();
  await alice.message(bob.agentId, "dead", { ...noticed, expiresUnixMs: soon() });
  await expireAll();
  await alice.message(bob.agentId, "waiting", noticed);
  await expect(client.purgeStored({})).rejects.toThrow("expected an agent, a message id, or all");
  await expect(client.replayDeadLetters({})).rejects.toThrow("expected an agent, a message id, or all");
  expect(await client.purgeStored({ all: true, deadLettersOnly: true })).toMatchObject({ purged: 1 });
  expect(at.gateway?.inspect().mailboxes.machine.totals().messages).toBe(1);
  expect(await client.purgeStored({ all: true })).toMatchObject({ purged: 1 });
  expect(at.gateway?.inspect().mailboxes.machine.totals().messages).toBe(0);
});

test("explain tells what became of a stored message, step by step [ANA-123]", async () => {
  const client = operator();
  const messageId = await alice.message(bob.agentId, "one", traced);
  expect((await client.explain({ messageId })).summary).toContain(`waits in the mailbox of ${bob.agentId}`);
  const again = await back();
  expect((await client.explain({ messageId })).summary).toContain("was handed to");
  await again.acknowledge(alice.agentId);
  const { hops, summary } = await client.explain({ messageId });
  expect(hops.map((hop) => hop.verdict)).toEqual(["hold", "store", "deliver", "acknowledge"]);
  expect(summary).toContain("acknowledge");
  await again.crash();
  const lost = await alice.message(bob.agentId, "two", { ...noticed, expiresUnixMs: soon() });
  await expireAll();
  expect((await client.explain({ messageId: lost })).summary).toMatch(
    /is a dead letter .* CAUSEWAY_FORWARDING_EXPIRED/,
  );
});

test("is closed to everybody but operators of the domain", async () => {
  const client = createClient(admin.GatewayAdminService, world.clientOf(at, alice.identity));
  for (const call of [
    client.listMailboxes({}),
    client.listStored({}),
    client.replayDeadLetters({ all: true }),
    client.purgeStored({ all: true }),
  ])
    await expect(call).rejects.toThrow("CAUSEWAY_IDENTITY_ROLE_WRONG");
});
