import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { refuse } from "@causeway/core-base";
import { afterEach, describe, expect, test } from "vitest";
import { createEndToEnd } from "./end-to-end.ts";
import { FileCounter, FileStateStore } from "./file-store.ts";
import { MemoryStateStore } from "./memory-store.ts";
import { broadcast, bytes, deliver, mlsOf, type TestAgent, TestCounter, textOf, World } from "./testing/world.ts";

async function topicOfThree(
  world: World,
): Promise<{ owner: TestAgent; bob: TestAgent; carol: TestAgent; groupId: string }> {
  const [owner, bob, carol] = [await world.agent("owner"), await world.agent("bob"), await world.agent("carol")];
  const { groupId } = await owner.e2ee.createGroup("blue.example/owner/deals");
  await deliver(await owner.e2ee.addMembers(groupId, [bob.id, carol.id]), owner, [owner, bob, carol]);
  return { owner, bob, carol, groupId };
}

describe("after a crash", () => {
  test("both sides of a pair continue in the epoch [AGP-48]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "before");
    await bob.send(alice, "heard");
    const { epoch, groupId } = alice.e2ee.groups()[0] ?? {};
    await alice.restart();
    expect(await alice.send(bob, "after")).toBe("after");
    await bob.restart();
    expect(await bob.send(alice, "after, too")).toBe("after, too");
    expect(await alice.send(bob, "on")).toBe("on");
    expect(alice.e2ee.groups()).toMatchObject([{ epoch, groupId }]);
  });

  test("no key is used twice: generations are skipped [AGP-48]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "0");
    for (let round = 0; round < 3; round++) {
      const onDisk = alice.store.clone();
      const inFlight = await alice.e2ee.seal(bob.id, bytes(`sent before the crash ${round}`));
      // The store is as it was before: had the next process gone on from there, it would have used the same key.
      alice.store = onDisk;
      await alice.restart();
      expect(await alice.send(bob, `after ${round}`)).toBe(`after ${round}`);
      expect(textOf(await bob.receive(alice, inFlight.slice(-1)))).toBe(`sent before the crash ${round}`);
    }
  });

  test("a group of three goes on, and a member that missed commits follows [AGP-48]", async () => {
    const world = new World();
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    world.advance(3_600_000);
    for (const member of [owner, carol])
      for (const change of await member.e2ee.maintain()) await deliver(change, member, [owner, carol]);
    for (const member of [owner, bob, carol]) await member.restart();
    expect(await broadcast(groupId, owner, [bob, carol], "to all")).toEqual(["to all", "to all"]);
    expect(await broadcast(groupId, bob, [owner, carol], "back")).toEqual(["back", "back"]);
    expect(bob.e2ee.groups()[0]?.epoch).toBe(4n);
  });

  test("a torn write of one group costs that group only", async () => {
    const world = new World();
    const [alice, bob, carol] = [await world.agent("alice"), await world.agent("bob"), await world.agent("carol")];
    await alice.send(bob, "0");
    await alice.send(carol, "0");
    const torn = alice.e2ee.groups()[0]?.groupId ?? "";
    await alice.store.put(`g/${torn}/base`, bytes("torn"));
    await alice.restart();
    expect(alice.e2ee.groups()).toHaveLength(1);
    expect(alice.events.filter((each) => each.code === "CAUSEWAY_E2EE_STATE_CORRUPT")).toHaveLength(1);
    expect(await alice.send(bob, "a new group")).toBe("a new group");
    expect(await alice.send(carol, "the old group")).toBe("the old group");
  });
});

describe("a full disk", () => {
  /** A store whose writes fail while it is full. */
  class FillingStore extends MemoryStateStore {
    full = false;
    override async put(key: string, value: Uint8Array): Promise<void> {
      if (this.full) throw refuse("CAUSEWAY_STORE_FULL", "no space left");
      await super.put(key, value);
    }
  }

  test("keeps back what is not stored, and nothing is sent twice with one key afterwards", async () => {
    const world = new World();
    const [alice, bob] = [await world.unpublished("alice"), await world.agent("bob")];
    const store = new FillingStore();
    alice.store = store;
    await alice.restart();
    await alice.publish();
    await alice.send(bob, "0");
    await bob.send(alice, "0");
    store.full = true;
    let sent = 0;
    for (let i = 0; i < 100; i++) {
      const text = `${i}`;
      const sealed = await alice.e2ee.seal(bob.id, bytes(text)).catch((error: unknown) => error);
      if (!Array.isArray(sealed)) {
        expect(sealed).toMatchObject({ code: "CAUSEWAY_STORE_FULL" });
        continue;
      }
      expect(textOf(await bob.receive(alice, sealed))).toBe(text);
      sent++;
    }
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThanOrEqual(64);
    store.full = false;
    await alice.restart();
    expect(await alice.send(bob, "after a restart")).toBe("after a restart");
    world.advance(3_600_000);
    store.full = true;
    await expect(alice.e2ee.seal(bob.id, bytes("in a new epoch"))).rejects.toMatchObject({
      code: "CAUSEWAY_STORE_FULL",
    });
    store.full = false;
    await alice.restart();
    expect(await alice.send(bob, "again")).toBe("again");
    expect(await bob.send(alice, "answer")).toBe("answer");
  });
});

describe("after the state was wiped", () => {
  test("the agent comes back by a new invitation and reads nothing of before [AGP-48]", async () => {
    const world = new World();
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    const history = await owner.e2ee.sealGroup(groupId, bytes("history"));
    bob.store = new MemoryStateStore();
    await bob.restart();
    await bob.publish();
    await expect(bob.receive(owner, history)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    await deliver(await owner.e2ee.addMembers(groupId, [bob.id]), owner, [owner, bob, carol]);
    await expect(bob.receive(owner, history)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
    expect(await broadcast(groupId, bob, [owner, carol], "back")).toEqual(["back", "back"]);
  });

  test("a pair is established again", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "one");
    world.advance(1_000);
    alice.store = new MemoryStateStore();
    await alice.restart();
    expect(await alice.send(bob, "two")).toBe("two");
    expect(await bob.send(alice, "to the new group")).toBe("to the new group");
    await bob.restart();
    expect(await bob.send(alice, "still")).toBe("still");
  });
});

describe("an older copy of the state", () => {
  test("is recognised by the counter and not used [AGP-48]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    alice.counter = new TestCounter();
    await alice.restart();
    await alice.send(bob, "0");
    const backup = alice.store.clone();
    await alice.restart();
    expect(alice.events.map((each) => each.type)).not.toContain("state.rolled_back");
    for (let i = 0; i < 200; i++) await alice.send(bob, `${i}`);
    alice.store = backup;
    await alice.restart();
    expect(alice.events.map((each) => each.type)).toContain("state.rolled_back");
    expect(alice.e2ee.groups()).toEqual([]);
    expect(alice.e2ee.exportStatus().keyPackages).toBe(0);
    expect(await alice.send(bob, "anew")).toBe("anew");
    const before = alice.events.length;
    await alice.restart();
    expect(alice.events.slice(before).map((each) => each.type)).not.toContain("state.rolled_back");
  });

  test("is not seen in an ordinary life with groups made and dropped", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob", { packages: 20 })];
    alice.counter = new TestCounter();
    await alice.restart();
    for (let i = 0; i < 6; i++) {
      await alice.send(bob, `${i}`);
      if (i % 2 === 0) await alice.e2ee.forgetPeer(bob.id);
      await alice.restart();
    }
    expect(alice.events.map((each) => each.type)).not.toContain("state.rolled_back");
  });
});

describe("the stored state", () => {
  const made: string[] = [];
  afterEach(async () => {
    for (const directory of made.splice(0)) await rm(directory, { recursive: true });
  });
  async function directory(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), "causeway-e2ee-"));
    made.push(path);
    return join(path, "state");
  }

  test("is encrypted, of mode 0600, and yields nothing without its key [AGP-44]", async () => {
    const world = new World();
    const [alice, bob] = [await world.unpublished("alice"), await world.agent("bob")];
    const path = await directory();
    const options = {
      ...world.optionsOf(alice),
      store: new FileStateStore(path),
      counter: new FileCounter(join(path, "..", "keys"), "counter"),
    };
    alice.e2ee = await createEndToEnd(options);
    await alice.publish();
    expect(await alice.send(bob, "secret text")).toBe("secret text");
    expect(await bob.send(alice, "answer")).toBe("answer");
    const names = await readdir(path);
    expect(names.length).toBeGreaterThan(5);
    const needles = [
      mlsOf(alice.identity).privateKey,
      alice.stateKey,
      bytes("bob"),
      bytes("secret text"),
      bytes("BEGIN"),
    ];
    for (const name of names) {
      expect((await stat(join(path, name))).mode & 0o777).toBe(0o600);
      const content = await readFile(join(path, name));
      for (const needle of needles) expect(content.includes(Buffer.from(needle))).toBe(false);
    }
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await expect(createEndToEnd({ ...options, stateKey: new Uint8Array(32).fill(8) })).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_STATE_CORRUPT",
    });
    await alice.e2ee.close();
    alice.e2ee = await createEndToEnd(options);
    expect(await alice.send(bob, "after restart")).toBe("after restart");
    expect(await bob.send(alice, "answer")).toBe("answer");
  });

  test("does not open when a record is put in place of another", async () => {
    const world = new World();
    const [alice, bob, carol] = [await world.agent("alice"), await world.agent("bob"), await world.agent("carol")];
    await alice.send(bob, "0");
    await alice.send(carol, "0");
    const [one, two] = alice.e2ee.groups().map((each) => each.groupId);
    const record = await alice.store.get(`g/${one}/r/1/0`);
    await alice.store.put(`g/${two}/r/1/0`, record ?? bytes(""));
    await alice.restart();
    expect(alice.e2ee.groups().map((each) => each.groupId)).toEqual([one]);
  });

  test("survives processes that were killed while writing", async () => {
    const path = await directory();
    const store = new FileStateStore(path);
    await store.put("g/a", bytes("old"), { durable: true });
    await writeFile(join(path, "g+a.state.123.new"), "half");
    expect(Buffer.from((await store.get("g/a")) ?? []).toString()).toBe("old");
    expect(await store.list("g/")).toEqual(["g/a"]);
    await store.delete("g/a");
    expect(await store.get("g/a")).toBeUndefined();
    await expect(store.put("../A b", bytes("x"))).rejects.toMatchObject({ code: "CAUSEWAY_MISUSE" });
  });

  test("keeps the value before a write that was cut off, and at most that one", async () => {
    const path = await directory();
    const first = new FileStateStore(path);
    for (const value of ["one", "two", "three"]) await first.put("g/a", bytes(value));
    const file = join(path, "g+a.state");
    expect(Buffer.from((await new FileStateStore(path).get("g/a")) ?? []).toString()).toBe("three");
    const content = await readFile(file);
    expect(content.includes(Buffer.from("one"))).toBe(false);
    // The last write came only half to the disk.
    content.fill(0x55, content.indexOf("three") + 1, content.indexOf("three") + 5);
    await writeFile(file, content);
    const second = new FileStateStore(path);
    expect(Buffer.from((await second.get("g/a")) ?? []).toString()).toBe("two");
    await second.put("g/a", bytes("x".repeat(10_000)), { durable: true });
    await second.put("g/a", bytes("four"));
    expect(Buffer.from((await new FileStateStore(path).get("g/a")) ?? []).toString()).toBe("four");
  });

  test("reads values that were written as whole files", async () => {
    const path = await directory();
    await mkdir(path);
    await writeFile(join(path, "g+a.state"), "plain");
    const store = new FileStateStore(path);
    expect(Buffer.from((await store.get("g/a")) ?? []).toString()).toBe("plain");
    await store.put("g/a", bytes("new"));
    expect(Buffer.from((await new FileStateStore(path).get("g/a")) ?? []).toString()).toBe("new");
  });

  test("can be written again after its directory could not be made", async () => {
    const path = await directory();
    await writeFile(path, "in the way");
    const store = new FileStateStore(path);
    await expect(store.put("g/a", bytes("x"))).rejects.toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
    await rm(path);
    await store.put("g/a", bytes("x"));
    expect(Buffer.from((await store.get("g/a")) ?? []).toString()).toBe("x");
  });

  test("removes what killed processes left behind, and not what another one writes now", async () => {
    const path = await directory();
    await mkdir(path);
    for (const name of ["g+a.state.old.new", "g+a.state.young.new"]) await writeFile(join(path, name), "half");
    await utimes(join(path, "g+a.state.old.new"), 0, 0);
    await new FileStateStore(path).list("g/");
    expect(await readdir(path)).toEqual(["g+a.state.young.new"]);
  });

  test("has a counter that never goes back", async () => {
    const path = await directory();
    const counter = new FileCounter(path, "counter");
    expect(await counter.read()).toBe(0);
    await Promise.all([counter.advance(3), counter.advance(7), counter.advance(5)]);
    expect(await new FileCounter(path, "counter").read()).toBe(7);
    await writeFile(join(path, "counter"), "x");
    await expect(new FileCounter(path, "counter").read()).rejects.toMatchObject({ code: "CAUSEWAY_STORE_FAILED" });
  });
});
