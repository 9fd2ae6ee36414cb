import { describe, expect, test } from "vitest";
import type { EndToEnd, EndToEndOptions } from "./api.ts";
import { privateMessage } from "./committer.ts";
import { CredentialJudge } from "./credentials.ts";
import { createEndToEnd } from "./end-to-end.ts";
import { loadGroup } from "./group-records.ts";
import { createApplicationMessage, encodeMlsMessage, unprotectPrivateMessage } from "./library.ts";
import { SealedStore } from "./sealed-store.ts";
import { suiteImpl } from "./suites.ts";
import { broadcast, bytes, deliver, mlsOf, TestAgent, textOf, World } from "./testing/world.ts";

/** The group state that an attacker finds who copies store and state key of a member. */
async function stolenState(agent: TestAgent, groupId: string) {
  const judge = new CredentialJudge(
    (chain) => agent.world.trust.verifyChain(chain, { now: agent.world.now, purpose: "mls" }),
    () => agent.world.now,
  );
  const { group } = await loadGroup(new SealedStore(agent.store.clone(), agent.stateKey), groupId, judge, agent.id);
  return group.state;
}

async function topicOfThree(world: World) {
  const [owner, bob, carol] = [
    await world.agent("owner"),
    await world.agent("bob"),
    await world.agent("green.example/carol"),
  ];
  const { groupId } = await owner.e2ee.createGroup("blue.example/owner/deals");
  await deliver(await owner.e2ee.addMembers(groupId, [bob.id, carol.id]), owner, [owner, bob, carol]);
  return { owner, bob, carol, groupId };
}

test("keys of today do not open messages of before [AGP-26]", async () => {
  const world = new World();
  const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
  await alice.send(bob, "0");
  const recorded = [];
  for (let i = 1; i <= 50; i++) {
    const frames = await alice.e2ee.seal(bob.id, bytes(`m${i}`));
    recorded.push(frames.slice(-1));
    await bob.receive(alice, frames);
  }
  const thief = await world.unpublished("thief");
  for (const victim of [bob, alice]) {
    thief.store = victim.store.clone();
    thief.e2ee = await (await import("./end-to-end.ts")).createEndToEnd({
      ...world.optionsOf(victim),
      store: thief.store,
    });
    for (const frames of recorded)
      await expect(thief.receive(alice, frames)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
    // What comes next can be read by the stolen state of the receiver, so it was a working copy.
    const next = await alice.e2ee.seal(bob.id, bytes("next"));
    if (victim === bob) expect(textOf(await thief.receive(alice, next))).toBe("next");
  }
});

test("handshakes are private messages, and keys of today do not open those of before [AGP-39]", async () => {
  const world = new World();
  const { owner, bob, carol, groupId } = await topicOfThree(world);
  const dave = await world.agent("dave");
  const changes = [await owner.e2ee.addMembers(groupId, [dave.id])];
  await deliver(changes[0] as (typeof changes)[0], owner, [owner, bob, carol, dave]);
  world.advance(3_600_000);
  changes.push(...(await bob.e2ee.maintain()));
  const members = [owner, bob, carol, dave];
  await deliver(changes[1] as (typeof changes)[0], bob, members);
  const leaving = await dave.e2ee.leave(groupId);
  for (const frame of leaving.frames) await bob.receive(dave, [frame]);
  const impl = await suiteImpl(1);
  const state = await stolenState(bob, groupId);
  const recorded = [...changes, leaving].flatMap((each) => each.frames).map((each) => privateMessage(each.payload));
  expect(recorded).toHaveLength(3);
  for (const message of recorded) {
    if (message === undefined) throw new Error("a handshake is not a private message");
    const { keyRetentionConfig } = state.clientConfig;
    const { senderDataSecret } = state.keySchedule;
    if (message.contentType === "proposal") continue;
    await expect(
      unprotectPrivateMessage(
        senderDataSecret,
        message,
        state.secretTree,
        state.ratchetTree,
        state.groupContext,
        keyRetentionConfig,
        impl,
      ),
    ).rejects.toThrow();
  }
  expect(state.historicalReceiverData.size).toBe(0);
});

test("a copied state is locked out by the next key update of its owner [AGP-27]", async () => {
  const world = new World();
  const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
  await alice.send(bob, "0");
  await bob.send(alice, "1");
  const thief = await world.unpublished("thief");
  thief.e2ee = await (await import("./end-to-end.ts")).createEndToEnd({
    ...world.optionsOf(bob),
    store: bob.store.clone(),
  });
  expect(textOf(await thief.receive(alice, await alice.e2ee.seal(bob.id, bytes("still readable"))))).toBe(
    "still readable",
  );
  world.advance(3_600_000);
  const update = await bob.e2ee.seal(alice.id, bytes("updated"));
  expect(update[0]?.kind).toBe("commit");
  await alice.receive(bob, update);
  const next = await alice.e2ee.seal(bob.id, bytes("healed"));
  await expect(thief.receive(bob, update.slice(0, 1))).rejects.toThrow();
  await expect(thief.receive(alice, next)).rejects.toThrow();
  expect(textOf(await bob.receive(alice, next))).toBe("healed");
});

describe("forgery", () => {
  test("altered messages are refused and counted [AGP-38] [AAP-96]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "0");
    const [frame] = await alice.e2ee.seal(bob.id, bytes("pay 1 to carol"));
    if (frame === undefined) throw new Error("no frame");
    let refused = 0;
    for (let at = 0; at < frame.payload.length; at += 7) {
      const payload = frame.payload.slice();
      payload[at] = (payload[at] ?? 0) ^ (1 << (at % 8));
      await expect(bob.e2ee.open(alice.id, frame.securityContextId, payload)).rejects.toThrow();
      refused++;
    }
    expect(bob.refusals()).toHaveLength(refused);
    expect(Object.values(bob.e2ee.exportStatus().refused).reduce((a, b) => a + b, 0)).toBe(refused);
    expect(textOf(await bob.receive(alice, [frame]))).toBe("pay 1 to carol");
  });

  test("replayed messages are refused, also after a restart [AGP-38] [AAP-96]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    const first = await alice.e2ee.seal(bob.id, bytes("once"));
    await bob.receive(alice, first);
    await expect(bob.receive(alice, first.slice(-1))).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
    await bob.restart();
    await expect(bob.receive(alice, first.slice(-1))).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
    expect(bob.refusals()).toEqual(["CAUSEWAY_E2EE_DECRYPT_FAILED", "CAUSEWAY_E2EE_DECRYPT_FAILED"]);
    // A message opened late in a former epoch is not opened again either.
    const late = await alice.e2ee.seal(bob.id, bytes("late"));
    await bob.send(alice, "heard");
    world.advance(3_600_000);
    await bob.receive(alice, await alice.e2ee.seal(bob.id, bytes("new epoch")));
    expect(textOf(await bob.receive(alice, late))).toBe("late");
    await expect(bob.receive(alice, late)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_DECRYPT_FAILED" });
  });

  test("a member cannot speak as another member [AGP-38]", async () => {
    const world = new World();
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    const state = await stolenState(carol, groupId);
    const bobsLeaf =
      state.ratchetTree.findIndex(
        (node) =>
          node?.nodeType === "leaf" &&
          "certificates" in node.leaf.credential &&
          Buffer.compare(
            node.leaf.credential.certificates[0] ?? bytes(""),
            bob.identity.chain("mls")[0] ?? bytes("x"),
          ) === 0,
      ) / 2;
    expect(Number.isInteger(bobsLeaf)).toBe(true);
    const asBob = { ...state, privatePath: { ...state.privatePath, leafIndex: bobsLeaf } };
    const { privateMessage: forged } = await createApplicationMessage(asBob, bytes("I am bob"), await suiteImpl(1));
    const payload = encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage: forged });
    const [frame] = await carol.e2ee.sealGroup(groupId, bytes("x"));
    const context = frame?.securityContextId ?? bytes("");
    await expect(owner.e2ee.open(bob.id, context, payload)).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_DECRYPT_FAILED",
    });
    expect(owner.refusals()).toHaveLength(1);
    expect(await broadcast(groupId, bob, [owner, carol], "the real one")).toEqual(["the real one", "the real one"]);
  });

  test("an outsider reads nothing [AAP-96]", async () => {
    const world = new World();
    const [alice, bob, eve] = [await world.agent("alice"), await world.agent("bob"), await world.agent("eve")];
    const frames = await alice.e2ee.seal(bob.id, bytes("secret"));
    for (const frame of frames)
      await expect(eve.receive(alice, [frame])).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    expect(eve.refusals()).toHaveLength(2);
  });

  test("what is not an MLS private message or welcome is refused", async () => {
    const world = new World();
    const bob = await world.agent("bob");
    const { packages } = await bob.e2ee.keyPackages(1);
    for (const payload of [
      bytes("plain text"),
      new Uint8Array(),
      packages[0] ?? bytes(""),
      new Uint8Array(200).fill(255),
    ]) {
      await expect(bob.e2ee.open(bob.id, bytes("x"), payload)).rejects.toMatchObject({
        code: "CAUSEWAY_PAYLOAD_NOT_MLS",
      });
    }
  });
});

describe("the sender in the header", () => {
  test("has to be the sender of the message [AAP-100] [AAP-96]", async () => {
    const world = new World();
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    const frames = await bob.e2ee.sealGroup(groupId, bytes("by bob"));
    await expect(owner.receive(carol, frames)).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_SENDER_MISMATCH" });
    expect(owner.refusals()).toEqual(["CAUSEWAY_E2EE_SENDER_MISMATCH"]);
    expect(textOf(await owner.receive(bob, frames))).toBe("by bob");
  });

  test("may name an instance of the sender", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    const { withInstance } = await import("@causeway/core-base");
    const frames = await alice.e2ee.seal(bob.id, bytes("x"));
    expect(await bob.receive({ id: withInstance(alice.id, "one") as typeof alice.id }, frames)).toMatchObject({
      sender: alice.id,
    });
  });

  test("an impostor with a certificate of its own is found out before any content [AAP-99]", async () => {
    const world = new World();
    const [alice, bob, mallory] = [await world.agent("alice"), await world.agent("bob"), await world.agent("mallory")];
    const frames = await mallory.e2ee.seal(bob.id, bytes("I am alice"));
    await expect(bob.receive(alice, frames.slice(0, 1))).rejects.toMatchObject({
      code: "CAUSEWAY_E2EE_SENDER_MISMATCH",
    });
    await expect(bob.receive(alice, frames.slice(1))).rejects.toMatchObject({ code: "CAUSEWAY_E2EE_CONTEXT_UNKNOWN" });
    expect(bob.e2ee.groups()).toEqual([]);
  });

  test("a peer of a domain without trust is refused [AGP-32]", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("green.example/bob")];
    const frames = await bob.e2ee.seal(alice.id, bytes("x"));
    world.trust.replace(world.blue.trustState());
    alice.e2ee.trustChanged();
    await expect(alice.receive(bob, frames)).rejects.toMatchObject({ code: "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED" });
    await expect(alice.e2ee.seal(bob.id, bytes("x"))).rejects.toMatchObject({
      code: "CAUSEWAY_IDENTITY_DOMAIN_UNTRUSTED",
    });
  });
});

describe("a revoked member [AGP-33]", () => {
  test("of a pair gets nothing more and is not heard any more", async () => {
    const world = new World();
    const [alice, bob] = [await world.agent("alice"), await world.agent("bob")];
    await alice.send(bob, "0");
    const late = await bob.e2ee.seal(alice.id, bytes("from the revoked"));
    world.revoke(bob);
    await expect(alice.receive(bob, late)).rejects.toMatchObject({ code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" });
    await expect(alice.e2ee.seal(bob.id, bytes("x"))).rejects.toMatchObject({
      code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
    });
    expect(alice.e2ee.groups()).toEqual([]);
  });

  test("is removed by the owner's commit before anything is sent", async () => {
    const world = new World();
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    world.revoke(bob);
    const frames = await owner.e2ee.sealGroup(groupId, bytes("without bob"));
    expect(frames.map((each) => each.kind)).toEqual(["commit", "application"]);
    expect(textOf(await carol.receive(owner, frames))).toBe("without bob");
    for (const frame of frames.slice(1))
      await expect(bob.receive(owner, [frame])).resolves.toMatchObject({ change: "removed" });
    expect(owner.e2ee.groups()[0]?.members).toEqual([owner.id, carol.id].sort());
    expect(owner.events.map((each) => each.type)).toContain("member.revoked");
  });

  test("is removed by any member after the grace time; until then nobody but the owner sends", async () => {
    const world = new World();
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    world.revoke(bob);
    await expect(carol.e2ee.sealGroup(groupId, bytes("x"))).rejects.toMatchObject({
      code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
    });
    expect(await carol.e2ee.maintain()).toEqual([]);
    world.advance(60_000);
    const [change] = await carol.e2ee.maintain();
    if (change === undefined) throw new Error("nothing was committed");
    await deliver(change, carol, [owner]);
    expect(await broadcast(groupId, carol, [owner], "without bob")).toEqual(["without bob"]);
    await expect(bob.receive(carol, await carol.e2ee.sealGroup(groupId, bytes("later")))).resolves.toMatchObject({
      change: "removed",
    });
  });

  test("cannot join a group", async () => {
    const world = new World();
    const { owner, groupId } = await topicOfThree(world);
    const dave = await world.agent("dave");
    world.revoke(dave);
    const change = await owner.e2ee.addMembers(groupId, [dave.id]);
    expect(change.refused).toMatchObject([{ agent: dave.id, code: "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED" }]);
    expect(change.frames).toEqual([]);
  });
});

describe("a gateway whose authority certified it for MLS", () => {
  const roleWrong = { code: "CAUSEWAY_IDENTITY_ROLE_WRONG" };

  /** An end-to-end layer that takes every leaf for an agent's: one that somebody altered. */
  const blindly = (world: World): Partial<EndToEndOptions> => ({
    verifyLeaf: (chain) => ({
      ...world.trust.verifyChain(chain, { now: world.now, purpose: "mls" }),
      role: "agent",
    }),
  });

  /** Runs that layer with a real certificate for MLS, with key packages published. */
  async function gatewayOf(world: World): Promise<TestAgent> {
    const identity = world.blue.identity("gateway/gw1", { role: "gateway" });
    const gateway = new TestAgent(world, identity, undefined as unknown as EndToEnd);
    gateway.e2ee = await createEndToEnd(world.optionsOf(gateway, blindly(world)));
    await gateway.publish();
    return gateway;
  }

  test("has no end-to-end layer of ours [AAP-98]", async () => {
    const gateway = await gatewayOf(new World());
    await expect(gateway.restart()).rejects.toMatchObject(roleWrong);
  });

  test("is not added by its key package, and the refusal is a security event [AAP-98] [AAP-80]", async () => {
    const world = new World();
    const gateway = await gatewayOf(world);
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    const change = await owner.e2ee.addMembers(groupId, [gateway.id]);
    expect(change.refused).toMatchObject([{ agent: gateway.id, ...roleWrong }]);
    expect(change.refused[0]?.message).toContain("spiffe://blue.example/gateway/gw1 with the role gateway");
    expect([change.frames, change.welcomes]).toEqual([[], []]);
    await expect(owner.e2ee.seal(gateway.id, bytes("x"))).rejects.toMatchObject(roleWrong);
    const refusal = { type: "key_package.refused", peer: gateway.id, ...roleWrong };
    expect(owner.events.filter(({ type }) => type === "key_package.refused")).toMatchObject([refusal, refusal]);
    expect(await broadcast(groupId, owner, [owner, bob, carol], "among us")).toEqual(["among us", "among us"]);
  });

  test("is not followed into a group by the others when a member adds it all the same [AAP-98]", async () => {
    const world = new World();
    const gateway = await gatewayOf(world);
    const { owner, bob, carol, groupId } = await topicOfThree(world);
    await owner.restart(blindly(world));
    const change = await owner.e2ee.addMembers(groupId, [gateway.id]);
    expect(change.group.members).toContain(gateway.id);
    for (const member of [bob, carol]) {
      await expect(member.receive(owner, change.frames)).rejects.toMatchObject(roleWrong);
      expect(member.refusals()).toEqual([roleWrong.code]);
      expect(member.e2ee.groups()[0]?.members).toEqual([owner.id, bob.id, carol.id].sort());
    }
    // Nobody but its owner can go on in the group that has the gateway, so it hears nothing from them.
    await expect(bob.e2ee.sealGroup(groupId, bytes("among us"))).rejects.toThrow("until its owner makes it anew");
  });

  test("founds no group with an agent [AAP-98]", async () => {
    const world = new World();
    const [gateway, bob] = [await gatewayOf(world), await world.agent("bob")];
    await expect(bob.receive(gateway, await gateway.e2ee.seal(bob.id, bytes("x")))).rejects.toMatchObject(roleWrong);
    expect(bob.refusals()).toEqual([roleWrong.code]);
    expect(bob.e2ee.groups()).toEqual([]);
  });
});

test("a commit cannot replace a member's credential by one of another name", async () => {
  const world = new World();
  const { owner, bob, carol, groupId } = await topicOfThree(world);
  // Bob takes over the certified key of mallory, with whom it works together.
  const mallory = mlsOf(world.blue.identity("mallory"));
  const judge = new CredentialJudge(
    (chain) => world.trust.verifyChain(chain, { now: world.now, purpose: "mls" }),
    () => world.now,
  );
  const { group } = await loadGroup(new SealedStore(bob.store.clone(), bob.stateKey), groupId, judge, bob.id);
  const { signingIdentity } = await import("./signing-identity.ts");
  const identity = signingIdentity(mallory, world.blue.identity("mallory").spiffeId, judge);
  const { bytes: commit } = await group.buildCommit([], identity);
  await expect(owner.e2ee.open(bob.id, group.contextId, commit)).rejects.toMatchObject({
    code: "CAUSEWAY_IDENTITY_MISMATCH",
  });
  expect(await broadcast(groupId, bob, [owner, carol], "unmoved")).toEqual(["unmoved", "unmoved"]);
});
