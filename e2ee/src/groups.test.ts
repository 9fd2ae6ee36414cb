import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { GroupChange } from "./api.ts";
import { broadcast, bytes, deliver, type TestAgent, textOf, World } from "./testing/world.ts";

async function groupOf(world: World, owner: TestAgent, others: readonly TestAgent[]): Promise<string> {
  const { groupId } = await owner.e2ee.createGroup("blue.example/owner/deals");
  const change = await owner.e2ee.addMembers(
    groupId,
    others.map((each) => each.id),
  );
  expect(change.refused).toEqual([]);
  await deliver(change, owner, [owner, ...others]);
  expect(world.delivery.commits.get(groupId)?.log ?? []).toHaveLength(0);
  return groupId;
}

async function agents(world: World, ...names: string[]): Promise<TestAgent[]> {
  const made: TestAgent[] = [];
  for (const name of names) made.push(await world.agent(name));
  return made;
}

function agreeing(groupId: string, members: readonly TestAgent[]): boolean {
  const seen = members.map((each) => each.e2ee.groups().find((group) => group.groupId === groupId));
  const [first] = seen;
  return (
    first !== undefined &&
    seen.every((each) => each?.epochAuthenticator === first.epochAuthenticator && each.epoch === first.epoch)
  );
}

describe("a topic group", () => {
  test("carries messages of every member to all others", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "green.example/carol")) as [
      TestAgent,
      TestAgent,
      TestAgent,
    ];
    const groupId = await groupOf(world, owner, [bob, carol]);
    for (const sender of [owner, bob, carol]) {
      expect(await broadcast(groupId, sender, [owner, bob, carol], `from ${sender.id}`)).toEqual([
        `from ${sender.id}`,
        `from ${sender.id}`,
      ]);
    }
    expect(bob.e2ee.groupByName("blue.example/owner/deals")).toMatchObject({ kind: "topic", owner: owner.id });
    expect(agreeing(groupId, [owner, bob, carol])).toBe(true);
  });

  test("tells who could not be added and adds the others", async () => {
    const world = new World();
    const [owner, bob] = (await agents(world, "owner", "bob")) as [TestAgent, TestAgent];
    const silent = await world.unpublished("silent");
    const { groupId } = await owner.e2ee.createGroup("blue.example/owner/deals");
    const change = await owner.e2ee.addMembers(groupId, [silent.id, bob.id]);
    expect(change.refused).toMatchObject([{ agent: silent.id, code: "CAUSEWAY_E2EE_NO_KEY_PACKAGE" }]);
    expect(change.group.members).toEqual([bob.id, owner.id]);
  });

  test("a new member does not read what was sent before [AGP-36]", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob]);
    const before = await owner.e2ee.sealGroup(groupId, bytes("before"));
    await bob.receive(owner, before);
    await deliver(await owner.e2ee.addMembers(groupId, [carol.id]), owner, [owner, bob, carol]);
    await expect(carol.receive(owner, before)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
    expect(await broadcast(groupId, owner, [bob, carol], "after")).toEqual(["after", "after"]);
  });

  test("a member that was away when another joined reaches the new one as well", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob]);
    await deliver(await owner.e2ee.addMembers(groupId, [carol.id]), owner, [owner, carol]);
    expect(agreeing(groupId, [owner, bob])).toBe(false);
    expect(await broadcast(groupId, bob, [owner, carol], "back")).toEqual(["back", "back"]);
    expect(agreeing(groupId, [owner, bob, carol])).toBe(true);
  });

  test("a removed member reads nothing sent later [AGP-37]", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    const backup = bob.store.clone();
    const change = await owner.e2ee.removeMembers(groupId, [bob.id]);
    for (const frame of change.frames) expect(await bob.receive(owner, [frame])).toMatchObject({ change: "removed" });
    await deliver(change, owner, [carol]);
    const later = await owner.e2ee.sealGroup(groupId, bytes("later"));
    expect(textOf(await carol.receive(owner, later))).toBe("later");
    await expect(bob.receive(owner, later)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    // Not even with the state that it had as a member.
    bob.store = backup;
    await bob.restart();
    expect(await bob.receive(owner, later)).toMatchObject({ kind: "handshake", change: "removed" });
    await expect(bob.receive(owner, later)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    expect(bob.e2ee.groups()).toEqual([]);
  });

  test("a member that leaves is removed by the owner's commit", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    const leaving = await bob.e2ee.leave(groupId);
    expect(bob.e2ee.groups()).toEqual([]);
    for (const frame of leaving.frames) {
      expect(await owner.receive(bob, [frame])).toMatchObject({ change: "pending" });
      expect(await carol.receive(bob, [frame])).toMatchObject({ change: "pending" });
    }
    const [change] = await owner.e2ee.maintain();
    if (change === undefined) throw new Error("nothing was committed");
    await deliver(change, owner, [owner, carol]);
    expect(change.group.members).toEqual([carol.id, owner.id]);
    expect(agreeing(groupId, [owner, carol])).toBe(true);
  });

  test("ends for all when its owner leaves", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    await deliver(await owner.e2ee.leave(groupId), owner, [bob, carol]);
    expect([owner, bob, carol].flatMap((each) => each.e2ee.groups())).toEqual([]);
  });

  test("lets nobody but the owner add, and nobody remove the owner", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob]);
    await expect(bob.e2ee.addMembers(groupId, [carol.id])).rejects.toMatchObject({
      code: "CAUSEWAY_TOPIC_NOT_ALLOWED",
    });
    const change = await bob.e2ee.removeMembers(groupId, [owner.id]);
    await expect(owner.receive(bob, change.frames)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
  });

  test("takes an agent that lost its state in again", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    bob.store = new (await import("./memory-store.ts")).MemoryStateStore();
    await bob.restart();
    await bob.publish();
    await deliver(await owner.e2ee.addMembers(groupId, [bob.id]), owner, [owner, bob, carol]);
    expect(await broadcast(groupId, carol, [owner, bob], "again")).toEqual(["again", "again"]);
    expect(owner.e2ee.groups()[0]?.members).toHaveLength(3);
  });

  test("keys are updated although nobody speaks [AGP-35]", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    world.advance(3_600_000);
    for (const member of [owner, bob, carol]) {
      const changes = await member.e2ee.maintain();
      expect(changes).toHaveLength(1);
      for (const change of changes) await deliver(change, member, [owner, bob, carol]);
    }
    expect(agreeing(groupId, [owner, bob, carol])).toBe(true);
    expect(owner.e2ee.groups()[0]?.epoch).toBe(4n);
    expect(await owner.e2ee.maintain()).toEqual([]);
  });

  test("goes on over the rotation of a member's certificate; a credential of another name is refused [AGP-34]", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    const { mlsOf } = await import("./testing/world.ts");
    const renewed = mlsOf(world.blue.identity("bob"));
    const changes = await bob.e2ee.rotate(renewed);
    expect(changes).toHaveLength(1);
    for (const change of changes) await deliver(change, bob, [owner, carol]);
    expect(await broadcast(groupId, bob, [owner, carol], "new key")).toEqual(["new key", "new key"]);
    expect(await broadcast(groupId, owner, [bob, carol], "to new key")).toEqual(["to new key", "to new key"]);
    await bob.restart({ mls: renewed });
    expect(await broadcast(groupId, bob, [owner, carol], "restarted")).toEqual(["restarted", "restarted"]);
    await expect(bob.e2ee.rotate(mlsOf(world.blue.identity("mallory")))).rejects.toMatchObject({
      code: "CAUSEWAY_IDENTITY_MISMATCH",
    });
  });
});

describe("commits in conflict", () => {
  test("one wins by the delivery order, the other is made again, and no message is lost [AGP-45]", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const dave = await world.agent("dave");
    const groupId = await groupOf(world, owner, [bob, carol, dave]);
    world.advance(3_600_000);
    const early = await dave.e2ee.sealGroup(groupId, bytes("old epoch"));
    const inFlight = early.filter((each) => each.kind === "application");
    for (const member of [owner, bob, carol]) await member.receive(dave, early.slice(0, -1)).catch(() => undefined);
    const late = await owner.e2ee.sealGroup(groupId, bytes("sent before the conflict"));
    const results = await Promise.all([
      owner.e2ee.removeMembers(groupId, [dave.id]),
      bob.e2ee.maintain(),
      carol.e2ee.maintain(),
    ]);
    const [removal, ...updates] = results;
    const changes: [TestAgent, GroupChange][] = [[owner, removal]];
    for (const [i, each] of updates.entries()) for (const change of each) changes.push([i === 0 ? bob : carol, change]);
    // Whatever order the frames arrive in: what is missing is fetched, what is known is passed over.
    for (const [from, change] of changes.reverse()) {
      for (const frame of change.frames)
        for (const member of [owner, bob, carol]) if (member !== from) await member.receive(from, [frame]);
    }
    expect(agreeing(groupId, [owner, bob, carol])).toBe(true);
    expect(owner.e2ee.groups()[0]?.members).toHaveLength(3);
    for (const member of [bob, carol])
      expect(textOf(await member.receive(owner, late.slice(-1)))).toBe("sent before the conflict");
    for (const member of [owner, bob, carol]) expect(textOf(await member.receive(dave, inFlight))).toBe("old epoch");
    for (const sender of [owner, bob, carol]) {
      expect(await broadcast(groupId, sender, [owner, bob, carol], "after")).toEqual(["after", "after"]);
    }
  });

  test("an answer that is lost does not lose the commit nor its welcomes [AGP-45]", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob]);
    world.delivery.afterSubmit = () => {
      throw new Error("connection lost");
    };
    await expect(owner.e2ee.addMembers(groupId, [carol.id])).rejects.toThrow();
    world.delivery.afterSubmit = undefined;
    await owner.restart();
    expect(await broadcast(groupId, bob, [owner], "old epoch still works")).toEqual(["old epoch still works"]);
    for (const change of await owner.e2ee.maintain()) await deliver(change, owner, [owner, bob, carol]);
    expect(agreeing(groupId, [owner, bob, carol])).toBe(true);
    expect(await broadcast(groupId, carol, [owner, bob], "in")).toEqual(["in", "in"]);
  });

  test("a commit that nobody can accept does not wedge the topic: the owner makes the group anew", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    await world.delivery.submitCommit(owner.id, Buffer.from(groupId, "hex"), 1n, bytes("garbage"));
    world.advance(3_600_000);
    await expect(owner.e2ee.sealGroup(groupId, bytes("x"))).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_STALE_EPOCH",
    });
    for (const change of await owner.e2ee.maintain()) await deliver(change, owner, [owner, bob, carol]);
    const renewed = owner.e2ee.groupByName("blue.example/owner/deals")?.groupId ?? "";
    expect(renewed).not.toBe(groupId);
    expect(bob.e2ee.groupByName("blue.example/owner/deals")?.groupId).toBe(renewed);
    expect(await broadcast(renewed, carol, [owner, bob], "again")).toEqual(["again", "again"]);
  });

  test("a fork is noticed by the context id of the epoch", async () => {
    const world = new World();
    const [owner, bob, carol] = (await agents(world, "owner", "bob", "carol")) as [TestAgent, TestAgent, TestAgent];
    const groupId = await groupOf(world, owner, [bob, carol]);
    world.advance(3_600_000);
    const frames = await bob.e2ee.sealGroup(groupId, bytes("b"));
    expect(textOf(await carol.receive(bob, frames))).toBe("b");
    // A delivery service that tells the owner another story.
    world.delivery.commits.delete(groupId);
    const others = await owner.e2ee.sealGroup(groupId, bytes("o"));
    await expect(carol.receive(owner, others.slice(-1))).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN",
    });
    expect(carol.events.map((each) => each.type)).toContain("group.forked");
  });
});

test("random adds, removals and updates leave all members with one secret and the removed with none [AGP-28] [AGP-36] [AGP-37]", {
  timeout: 240_000,
}, async () => {
  const world = new World();
  const pool: TestAgent[] = [];
  for (let i = 0; i < 20; i++)
    pool.push(await world.agent(i === 0 ? "owner" : `${i % 2 === 0 ? "green.example/" : ""}m${i}`, { packages: 60 }));
  const [owner, ...others] = pool as [TestAgent, ...TestAgent[]];
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("add" as const),
      who: fc.subarray(
        others.map((_, i) => i),
        { minLength: 1, maxLength: 6 },
      ),
    }),
    fc.record({
      kind: fc.constant("remove" as const),
      who: fc.subarray(
        others.map((_, i) => i),
        { minLength: 1, maxLength: 4 },
      ),
    }),
    fc.record({
      kind: fc.constant("update" as const),
      who: fc.subarray(
        others.map((_, i) => i),
        { minLength: 1, maxLength: 1 },
      ),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
      const { groupId } = await owner.e2ee.createGroup("blue.example/owner/random");
      const members = new Set<TestAgent>([owner]);
      const removed = new Set<TestAgent>();
      for (const { kind, who } of steps) {
        const chosen = who.map((i) => others[i]).filter((each) => each !== undefined);
        if (kind === "add") {
          const fresh = chosen.filter((each) => !members.has(each));
          const change = await owner.e2ee.addMembers(
            groupId,
            fresh.map((each) => each.id),
          );
          expect(change.refused).toEqual([]);
          for (const each of fresh) {
            members.add(each);
            removed.delete(each);
          }
          await deliver(change, owner, [...members]);
        } else if (kind === "remove") {
          const gone = chosen.filter((each) => members.has(each));
          await deliver(
            await owner.e2ee.removeMembers(
              groupId,
              gone.map((each) => each.id),
            ),
            owner,
            [...members],
          );
          for (const each of gone) {
            members.delete(each);
            removed.add(each);
          }
        } else {
          const [updater] = chosen.filter((each) => members.has(each));
          if (updater === undefined) continue;
          world.advance(3_600_000 / 8);
          for (const change of await updater.e2ee.maintain()) await deliver(change, updater, [...members]);
        }
        expect(agreeing(groupId, [...members])).toBe(true);
        const frames = await owner.e2ee.sealGroup(groupId, bytes("now"));
        for (const each of members) if (each !== owner) expect(textOf(await each.receive(owner, frames))).toBe("now");
        for (const each of removed) await expect(each.receive(owner, frames)).rejects.toThrow();
      }
      await deliver(await owner.e2ee.leave(groupId), owner, [...members]);
    }),
    { numRuns: 10, seed: 4711, endOnFailure: true },
  );
});
