import { describe, expect, test } from "vitest";
import type { SealedFrame } from "./api.ts";
import { handedKeyPackagesMax, keyPackagesMax } from "./key-packages.ts";
import { bytes, mlsOf, textOf, World } from "./testing/world.ts";

describe("a pair", () => {
  test("is established by the first message and used again [AGP-24] [AGP-25]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("green.example/bob")];
    const frames = await alice.e2ee.seal(bob.id, bytes("marker-4711"));
    expect(frames.map((each) => each.kind)).toEqual(["welcome", "application"]);
    for (const frame of frames) {
      expect(Buffer.from(frame.payload).includes("marker-4711")).toBe(false);
      expect(frame.securityContextId).toHaveLength(16);
    }
    const opened = await bob.receive(alice, frames);
    expect(opened).toMatchObject({
      kind: "application",
      sender: alice.id,
      group: { kind: "pair", owner: alice.id, epoch: 1n },
    });
    expect(textOf(opened)).toBe("marker-4711");
    expect(await bob.send(alice, "reply")).toBe("reply");
    expect((await alice.e2ee.seal(bob.id, bytes("more"))).map((each) => each.kind)).toEqual(["application"]);
    expect(alice.e2ee.groups()).toEqual(bob.e2ee.groups());
  });

  test("repeats the welcome until the peer has answered, and the peer takes it once", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.e2ee.seal(bob.id, bytes("lost"));
    expect((await alice.e2ee.seal(bob.id, bytes("soon after"))).map((each) => each.kind)).toEqual(["application"]);
    world.advance(1_500);
    const again = await alice.e2ee.seal(bob.id, bytes("again"));
    expect(again.map((each) => each.kind)).toEqual(["welcome", "application"]);
    expect(textOf(await bob.receive(alice, again))).toBe("again");
    world.advance(1_500);
    const third = await alice.e2ee.seal(bob.id, bytes("third"));
    expect(await bob.receive(alice, third.slice(0, 1))).toMatchObject({ kind: "handshake", change: "known" });
    await bob.receive(alice, third.slice(1));
    await bob.send(alice, "heard");
    world.advance(1_500);
    expect((await alice.e2ee.seal(bob.id, bytes("x"))).map((each) => each.kind)).toEqual(["application"]);
  });

  test("takes a message that overtakes its welcome by a turn", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    const frames = await alice.e2ee.seal(bob.id, bytes("at once"));
    const results = await Promise.all(
      frames.map((frame) => bob.e2ee.open(alice.id, frame.securityContextId, frame.payload)),
    );
    expect(results.map((each) => each.kind)).toEqual(["handshake", "application"]);
  });

  test("may be created by both sides at once, and both groups stay usable until they settle on one", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    const [fromAlice, fromBob] = await Promise.all([
      alice.e2ee.seal(bob.id, bytes("a")),
      bob.e2ee.seal(alice.id, bytes("b")),
    ]);
    expect(textOf(await bob.receive(alice, fromAlice))).toBe("a");
    expect(textOf(await alice.receive(bob, fromBob))).toBe("b");
    expect(alice.e2ee.groups()).toHaveLength(2);
    for (let i = 0; i < 3; i++) {
      expect(await alice.send(bob, `a${i}`)).toBe(`a${i}`);
      expect(await bob.send(alice, `b${i}`)).toBe(`b${i}`);
    }
    const [one] = await alice.e2ee.seal(bob.id, bytes("1"));
    const [two] = await bob.e2ee.seal(alice.id, bytes("2"));
    expect(one?.securityContextId).toEqual(two?.securityContextId);
  });

  test("makes one group for many concurrent first messages", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => alice.e2ee.seal(bob.id, bytes(`m${i}`))));
    const read: string[] = [];
    for (const frames of all) read.push(textOf(await bob.receive(alice, frames)));
    expect(read).toEqual(Array.from({ length: 20 }, (_, i) => `m${i}`));
    expect(alice.e2ee.groups()).toHaveLength(1);
  });

  test("opens all that a gateway stores of one sender after a message that came before it, and refuses what is further behind", async () => {
    const storedMax = 2_000;
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "hello");
    const frames: SealedFrame[] = [];
    for (let i = 0; i < storedMax + 1_500; i++) {
      const frame = (await alice.e2ee.seal(bob.id, bytes(`m${i}`))).at(-1);
      if (frame !== undefined) frames.push(frame);
    }
    const open = async (i: number): Promise<string> => textOf(await bob.receive(alice, frames.slice(i, i + 1)));
    expect(await open(storedMax)).toBe(`m${storedMax}`);
    for (let i = 0; i < storedMax; i += 2) expect(await open(i)).toBe(`m${i}`);
    // More are skipped than are kept: the first ones are out of reach.
    expect(await open(frames.length - 1)).toBe(`m${frames.length - 1}`);
    expect(await open(storedMax - 1)).toBe(`m${storedMax - 1}`);
    for (const i of [1, 101]) await expect(open(i)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
  });

  test("updates its keys after a number of messages and after a time [AGP-35]", async () => {
    const world = new World();
    const alice = await world.agent("alice", { updateMessages: 5 });
    const bob = await world.agent("bob");
    await alice.send(bob, "0");
    await bob.send(alice, "heard");
    for (let i = 1; i < 12; i++) expect(await alice.send(bob, `${i}`)).toBe(`${i}`);
    expect(alice.e2ee.groups()[0]?.epoch).toBe(3n);
    world.advance(3_600_000);
    const frames = await bob.e2ee.seal(alice.id, bytes("an hour later"));
    expect(frames.map((each) => each.kind)).toEqual(["commit", "application"]);
    expect(textOf(await alice.receive(bob, frames))).toBe("an hour later");
    expect(alice.e2ee.groups()).toEqual(bob.e2ee.groups());
  });

  test("goes on in its epoch while the delivery service is out of reach, up to ten times the number", async () => {
    const world = new World();
    const alice = await world.agent("alice", { updateMessages: 2 });
    const bob = await world.agent("bob");
    await alice.send(bob, "0");
    await bob.send(alice, "heard");
    const { CausewayError } = await import("@causeway/core-base");
    world.delivery.beforeSubmit = () => {
      throw new CausewayError({ code: "CAUSEWAY_UNREACHABLE", message: "no connection" });
    };
    for (let i = 1; i < 20; i++) expect(await alice.send(bob, `${i}`)).toBe(`${i}`);
    await expect(alice.e2ee.seal(bob.id, bytes("too many"))).rejects.toMatchObject({ code: "CAUSEWAY_UNREACHABLE" });
    world.delivery.beforeSubmit = undefined;
    expect(await alice.send(bob, "back")).toBe("back");
    expect(alice.e2ee.groups()[0]?.epoch).toBe(2n);
  });

  test("recovers a lost commit from the delivery service", async () => {
    const world = new World();
    const alice = await world.agent("alice", { updateMessages: 2 });
    const bob = await world.agent("bob");
    await alice.send(bob, "0");
    await bob.send(alice, "heard");
    await alice.send(bob, "1");
    const frames = await alice.e2ee.seal(bob.id, bytes("2"));
    expect(frames.map((each) => each.kind)).toEqual(["commit", "application"]);
    expect(textOf(await bob.receive(alice, frames.slice(1)))).toBe("2");
    expect(await bob.receive(alice, frames.slice(0, 1))).toMatchObject({ change: "known" });
  });

  test("is made anew after it was forgotten or reported unknown", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "one");
    await bob.e2ee.forgetPeer(alice.id);
    const lost = await alice.e2ee.seal(bob.id, bytes("two"));
    await expect(bob.receive(alice, lost)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    await alice.e2ee.forget(lost.at(-1)?.securityContextId ?? new Uint8Array());
    expect(await alice.send(bob, "two again")).toBe("two again");
  });

  test("keeps at most four groups for a peer", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob", { packages: 10 })];
    for (let i = 0; i < 7; i++) {
      expect(await alice.send(bob, `${i}`)).toBe(`${i}`);
      await alice.e2ee.forgetPeer(bob.id);
    }
    expect(bob.e2ee.groups()).toHaveLength(4);
  });

  test("works in suite 3", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice", { suite: 3 }), await world.agent("bob", { suite: 3 })];
    expect(await alice.send(bob, "chacha")).toBe("chacha");
    expect(alice.e2ee.groups()[0]?.suite).toBe(3);
  });
});

describe("key packages", () => {
  test("a used one opens no second group [BEY-8]", async () => {
    const world = new World();
    const [alice, carol] = [await world.agent("alice"), await world.agent("carol")];
    const bob = await world.unpublished("bob");
    const { packages, lastResort } = await bob.e2ee.keyPackages(1);
    const [keyPackage] = packages;
    if (keyPackage === undefined) throw new Error("no package");
    world.delivery.onFetch = () => ({ keyPackage, lastResort: false });
    expect(await alice.send(bob, "one")).toBe("one");
    await alice.e2ee.forgetPeer(bob.id);
    await expect(alice.e2ee.seal(bob.id, bytes("two"))).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED",
    });
    expect(alice.e2ee.groups()).toHaveLength(0);
    const late = await carol.e2ee.seal(bob.id, bytes("me too"));
    await expect(bob.receive(carol, late.slice(0, 1))).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    expect(bob.e2ee.groups().filter((group) => group.owner === carol.id)).toHaveLength(0);
    world.delivery.onFetch = () => ({ keyPackage: lastResort, lastResort: true });
    await carol.e2ee.forgetPeer(bob.id);
    expect(await carol.send(bob, "last resort")).toBe("last resort");
    expect(await alice.send(bob, "last resort again")).toBe("last resort again");
  });

  test("those that are handed out directly never displace the uploaded ones, and are bounded themselves", async () => {
    const world = new World();
    const [alice, carol, dave] = [await world.agent("alice"), await world.agent("carol"), await world.agent("dave")];
    const bob = await world.agent("bob", { packages: 1 });
    const first = await bob.e2ee.handOutKeyPackage();
    for (let n = 0; n < keyPackagesMax; n++) await bob.e2ee.handOutKeyPackage();
    const last = await bob.e2ee.handOutKeyPackage();
    expect(bob.e2ee.exportStatus().keyPackages).toBe(2);
    expect((await bob.store.list("kp/")).length).toBe(2 + handedKeyPackagesMax);
    expect(await alice.send(bob, "with the uploaded one")).toBe("with the uploaded one");
    expect(await carol.send(bob, "with the last resort")).toBe("with the last resort");
    world.delivery.onFetch = () => ({ keyPackage: first, lastResort: false });
    const dead = await dave.e2ee.seal(bob.id, bytes("with one that is gone"));
    await expect(bob.receive(dave, dead.slice(0, 1))).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    await dave.e2ee.forgetPeer(bob.id);
    world.delivery.onFetch = () => ({ keyPackage: last, lastResort: false });
    expect(await dave.send(bob, "with one made for dave")).toBe("with one made for dave");
    expect((await bob.store.list("kp/")).length).toBe(handedKeyPackagesMax);
  }, 60_000);

  test("an expired one forms no group [BEY-8]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    world.advance(25 * 3_600_000);
    await expect(alice.e2ee.seal(bob.id, bytes("late"))).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED",
    });
    expect(alice.e2ee.groups()).toHaveLength(0);
    expect(alice.events.map((each) => each.type)).toContain("key_package.refused");
  });

  test("one that was passed off as a last resort, altered, cut off or of another suite forms no group [BEY-8]", async () => {
    const world = new World();
    const alice = await world.agent("alice");
    const [bob, other] = [await world.unpublished("bob"), await world.unpublished("other", { suite: 3 })];
    const { packages } = await bob.e2ee.keyPackages(3);
    const foreign = (await other.e2ee.keyPackages(1)).packages;
    const [a, b, c] = packages.map((each) => each.slice());
    if (a === undefined || b === undefined || c === undefined || foreign[0] === undefined)
      throw new Error("no packages");
    b[b.length - 3] = (b[b.length - 3] ?? 0) ^ 1;
    for (const fetched of [
      { keyPackage: a, lastResort: true },
      { keyPackage: b, lastResort: false },
      { keyPackage: c.subarray(0, c.length - 1), lastResort: false },
      { keyPackage: foreign[0], lastResort: false },
      { keyPackage: bytes("nonsense"), lastResort: false },
    ]) {
      world.delivery.onFetch = () => fetched;
      await expect(alice.e2ee.seal(bob.id, bytes("x"))).rejects.toMatchObject({
        code: "CAUSEWAY_E2EE_KEY_PACKAGE_REFUSED",
      });
    }
    expect(alice.e2ee.groups()).toHaveLength(0);
  });

  test("is refused when it belongs to another identity than the one asked for [AGP-32] [AAP-99]", async () => {
    const world = new World();
    const [alice, mallory] = [await world.agent("alice"), await world.unpublished("mallory")];
    const bob = await world.agent("bob");
    const { packages } = await mallory.e2ee.keyPackages(1);
    world.delivery.onFetch = () => ({ keyPackage: packages[0] ?? new Uint8Array(), lastResort: false });
    await expect(alice.e2ee.seal(bob.id, bytes("secret"))).rejects.toMatchObject({
      code: "CAUSEWAY_IDENTITY_MISMATCH",
    });
    expect(alice.e2ee.groups()).toHaveLength(0);
  });

  test("carry the certificate of the authority as MLS credential, signed by the certified key [AGP-30]", async () => {
    const world = new World();
    const alice = await world.unpublished("alice");
    const { packages } = await alice.e2ee.keyPackages(1);
    const { decodeKeyPackage, verifyKeyPackage } = await import("./library.ts");
    const { suiteImpl } = await import("./suites.ts");
    const keyPackage = decodeKeyPackage(packages[0] ?? new Uint8Array(), 0)?.[0];
    if (keyPackage === undefined) throw new Error("no package");
    const { credential, signaturePublicKey } = keyPackage.leafNode;
    expect(credential.credentialType).toBe("x509");
    const chain = "certificates" in credential ? credential.certificates : [];
    const peer = world.trust.verifyChain(chain, { now: world.now, purpose: "mls" });
    expect(peer.spiffeId).toBe(alice.id);
    expect(Buffer.from(peer.spki.subarray(12)).equals(signaturePublicKey)).toBe(true);
    expect(await verifyKeyPackage(keyPackage, (await suiteImpl(1)).signature)).toBe(true);
  });
});

describe("a pair whose messages pass no gateway", () => {
  test("renews its keys by a new pair, without a commit that nobody could order [ANA-96]", async () => {
    const world = new World();
    const alice = await world.agent("alice", { updateMessages: 3 });
    const bob = await world.agent("bob");
    await alice.send(bob, "0");
    await bob.send(alice, "heard");
    world.delivery.orders = false;
    const kinds: string[] = [];
    for (let i = 1; i <= 6; i++) {
      const frames = await alice.e2ee.seal(bob.id, bytes(`${i}`));
      kinds.push(frames.map((each) => each.kind).join());
      expect(textOf(await bob.receive(alice, frames))).toBe(`${i}`);
      expect(await bob.send(alice, "heard")).toBe("heard");
    }
    // The third message under one key is its last.
    const round = ["application", "application", "welcome,application"];
    expect(kinds).toEqual([...round, ...round]);
    expect([world.delivery.submissions, world.delivery.fetches]).toEqual([0, 0]);
  });

  test("that missed a commit says that it lacks the context, and asks nobody for it", async () => {
    const world = new World();
    const alice = await world.agent("alice", { updateMessages: 1 });
    const bob = await world.agent("bob");
    await alice.send(bob, "0");
    await bob.send(alice, "heard");
    const frames = await alice.e2ee.seal(bob.id, bytes("behind a commit"));
    expect(frames.map((each) => each.kind)).toEqual(["commit", "application"]);
    world.delivery.orders = false;
    await expect(bob.receive(alice, frames.slice(1))).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    expect(world.delivery.fetches).toBe(0);
  });
});

describe("the own identity", () => {
  test("has to match name and key", async () => {
    const world = new World();
    const [alice, bob] = [world.blue.identity("alice"), world.blue.identity("bob")];
    const agent = await world.unpublished("carol");
    await expect(agent.restart({ mls: mlsOf(alice) })).rejects.toMatchObject({ code: "CAUSEWAY_IDENTITY_MISMATCH" });
    await expect(
      agent.restart({ mls: { chain: mlsOf(agent.identity).chain, privateKey: mlsOf(bob).privateKey } }),
    ).rejects.toMatchObject({ code: "CAUSEWAY_IDENTITY_MISMATCH" });
    await expect(
      agent.restart({ mls: { chain: agent.identity.chain("record"), privateKey: mlsOf(agent.identity).privateKey } }),
    ).rejects.toMatchObject({
      code: "CAUSEWAY_IDENTITY_ROLE_WRONG",
    });
  });

  test("refuses to send to itself and to work after close", async () => {
    const world = new World();
    const alice = await world.agent("alice");
    await expect(alice.e2ee.seal(alice.id, bytes("x"))).rejects.toMatchObject({ code: "CAUSEWAY_MISUSE" });
    await alice.e2ee.close();
    await expect(alice.e2ee.maintain()).rejects.toMatchObject({ code: "CAUSEWAY_MISUSE" });
  });
});
