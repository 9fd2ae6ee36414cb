import { encodeFrame, encodeMessageFrame, newMessageId, TargetKind, wrapFrame } from "@causeway/core-wire";
import { beforeEach, describe, expect, test } from "vitest";
import { linkPair } from "./testing/link-pair.ts";
import { settle } from "./testing/manual-scheduler.ts";
import { privateMessage } from "./testing/mls-bytes.ts";
import type { TestAgent } from "./testing/test-agent.ts";
import { World, type WorldGateway } from "./testing/world.ts";

let world: World;
let at: WorldGateway;
let alice: TestAgent;
let bob: TestAgent;

beforeEach(async () => {
  world = new World();
  at = world.add("l1", "blue.example", 1);
  at.limits = { agentMessagesPerSecond: 50, rateBurstSeconds: 1, floodCloseAfter: 100 };
  await world.start(at);
  alice = await known("blue.example/travel/alice");
  bob = await known("blue.example/travel/bob");
});

async function known(name: string): Promise<TestAgent> {
  const agent = await world.agent(at, name).attach();
  await agent.advertise();
  return agent;
}

async function raw(agent: TestAgent, ...frames: readonly Uint8Array[]): Promise<void> {
  for (const each of frames) agent.link?.send(each);
  await settle();
}

const logged = (event: string): boolean => at.log.some((line) => line.level === "warn" && line.event === event);
const id = (): Uint8Array => newMessageId(world.random, world.scheduler.now().unix);
const frameTo = (target: string, source: string, payload = privateMessage("x"), more = {}): Uint8Array =>
  encodeMessageFrame({ targetKind: TargetKind.agent, target, source, messageId: id(), ...more }, payload);

describe("bad input gets a typed refusal, a log line and no other effect", () => {
  test("bytes that are no frame close the link", async () => {
    await raw(alice, Uint8Array.of(0xff, 0xff, 0xff, 0xff));
    expect(alice.errors).toEqual(["CAUSEWAY_FRAME_MALFORMED"]);
    expect(alice.link?.isClosed).toBe(true);
    expect(logged("gateway.frame_refused")).toBe(true);
    expect(bob.link?.isClosed).toBe(false);
  });

  test("a truncated frame closes the link", async () => {
    await raw(alice, frameTo(bob.agentId, alice.agentId).subarray(0, 40));
    expect(alice.errors).toEqual(["CAUSEWAY_FRAME_MALFORMED"]);
    expect(bob.messages).toEqual([]);
  });

  test("a body that does not decode closes the link", async () => {
    await raw(alice, wrapFrame(12, Uint8Array.of(0x12, 0x7f)));
    expect(alice.errors).toEqual(["CAUSEWAY_FRAME_MALFORMED"]);
  });

  test("an unknown frame is answered and the link goes on", async () => {
    await raw(alice, wrapFrame(99, new Uint8Array()), frameTo(bob.agentId, alice.agentId));
    expect(alice.errors).toEqual(["CAUSEWAY_FRAME_UNKNOWN"]);
    expect(bob.messages).toEqual(["x"]);
  });

  test("a stream frame is refused as unsupported, a peer's frame as unexpected", async () => {
    await raw(
      alice,
      encodeFrame({ case: "streamData", value: { stream: 1n } }),
      encodeFrame({ case: "peerOpen", value: {} }),
    );
    expect(alice.errors).toEqual(["CAUSEWAY_UNSUPPORTED", "CAUSEWAY_FRAME_UNEXPECTED"]);
    expect(alice.link?.isClosed).toBe(false);
  });

  test("a message over 4 MiB is refused", async () => {
    await raw(alice, frameTo(bob.agentId, alice.agentId, new Uint8Array(4_194_305)));
    expect(alice.errors).toEqual(["CAUSEWAY_FORWARDING_TOO_LARGE"]);
    expect(bob.messages).toEqual([]);
  });

  test("a plaintext payload is refused [AGP-55]", async () => {
    await raw(
      alice,
      frameTo(bob.agentId, alice.agentId, new TextEncoder().encode("plain text, readable by everybody")),
    );
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_PAYLOAD_NOT_MLS"]);
    expect(bob.messages).toEqual([]);
    expect(logged("forwarding.plaintext_refused")).toBe(true);
  });

  test("another agent's id as source is refused with an audit line [AAP-42] [ANA-43]", async () => {
    await raw(alice, frameTo(bob.agentId, bob.agentId));
    expect(alice.reports).toHaveLength(1);
    expect(bob.messages).toEqual([]);
    expect(bob.reports).toEqual([]);
    expect(logged("forwarding.source_forged")).toBe(true);
  });

  test("a message without an Agent ID as source is not taken, nor a link of somebody who has none [AAP-20]", async () => {
    await raw(alice, frameTo(bob.agentId, ""));
    await raw(alice, frameTo(bob.agentId, "alice"));
    expect(bob.messages).toEqual([]);
    expect(alice.errors.length + alice.reports.length).toBe(2);
    // The hello of an attachment has to name the certified Agent ID as well.
    const nameless = world.authority("blue.example").enrol("blue.example/travel/eve");
    const now = world.scheduler.now().unix;
    const pair = linkPair(at.trust.peer(nameless, now), world.trust("blue.example").peer(at.identity, now));
    at.gateway?.handleLink(pair.far);
    pair.near.send(encodeFrame({ case: "attachHello", value: { instance: "i", nonce: new Uint8Array(32) } }));
    await settle();
    expect(pair.near.closedWith?.code).toBe("CAUSEWAY_IDENTITY_MISMATCH");
  });

  test("an expired message, and a malformed name, go nowhere", async () => {
    await raw(alice, frameTo(bob.agentId, alice.agentId, privateMessage("x"), { expiresUnixMs: 1n }));
    await raw(alice, frameTo("spiffe://blue.example/a//b", alice.agentId));
    expect(alice.reports.map((each) => each.code)).toEqual(["CAUSEWAY_FORWARDING_EXPIRED"]);
    expect(alice.errors).toEqual(["CAUSEWAY_HEADER_INVALID"]);
    expect(bob.messages).toEqual([]);
  });

  test("a message before the handshake closes the link", async () => {
    const identity = world.authority("blue.example").enrol("blue.example/travel/eve");
    const now = world.scheduler.now().unix;
    const pair = linkPair(at.trust.peer(identity, now), world.trust("blue.example").peer(at.identity, now));
    at.gateway?.handleLink(pair.far);
    pair.near.send(frameTo(bob.agentId, identity.spiffeId));
    await settle();
    expect(pair.near.isClosed).toBe(true);
    expect(pair.near.closedWith?.code).toBe("CAUSEWAY_ATTACHMENT_REQUIRED");
    expect(bob.messages).toEqual([]);
  });

  test("a link that says nothing is closed after the time for the handshake", async () => {
    const identity = world.authority("blue.example").enrol("blue.example/travel/eve");
    const now = world.scheduler.now().unix;
    const pair = linkPair(at.trust.peer(identity, now), world.trust("blue.example").peer(at.identity, now));
    at.gateway?.handleLink(pair.far);
    await world.scheduler.advance(11_000);
    expect(pair.near.isClosed).toBe(true);
  });

  test("operators and registries have no link", async () => {
    const identity = world.authority("blue.example").enrol("blue.example/operator/olga", "operator");
    const now = world.scheduler.now().unix;
    const pair = linkPair(at.trust.peer(identity, now), world.trust("blue.example").peer(at.identity, now));
    at.gateway?.handleLink(pair.far);
    await settle();
    expect(pair.near.closedWith?.code).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  });

  test("a flooding agent is answered, held back and then closed; others go on", async () => {
    const flood = Array.from({ length: 60 }, () => frameTo(bob.agentId, alice.agentId));
    await raw(alice, ...flood);
    expect(new Set(alice.reports.map((each) => each.code))).toEqual(new Set(["CAUSEWAY_LIMIT_RATE"]));
    expect(alice.far?.isPaused).toBe(true);
    expect(logged("limits.rate_exceeded")).toBe(true);
    await bob.message(alice.agentId, "still works");
    expect(alice.messages).toEqual(["still works"]);
    await world.scheduler.advance(1_000);
    expect(alice.far?.isPaused).toBe(false);
    await raw(alice, ...Array.from({ length: 400 }, () => frameTo(bob.agentId, alice.agentId)));
    expect(alice.link?.isClosed).toBe(true);
    expect(logged("limits.flooder_closed")).toBe(true);
  });

  test("a flood that comes in small reads is closed as well, one that is just over the rate is not", async () => {
    const send = async (perRound: number, rounds: number): Promise<void> => {
      for (let round = 0; round < rounds && alice.link?.isClosed === false; round++) {
        await world.scheduler.advance(20);
        await raw(alice, ...Array.from({ length: perRound }, () => frameTo(bob.agentId, alice.agentId)));
      }
    };
    await send(2, 500);
    expect(alice.reports.map((each) => each.code)).toContain("CAUSEWAY_LIMIT_RATE");
    expect(alice.link?.isClosed).toBe(false);
    await send(10, 50);
    expect(alice.link?.isClosed).toBe(true);
    expect(logged("limits.flooder_closed")).toBe(true);
  });

  test("a changed byte in an advertised record is refused, logged and creates no record [ANA-98]", async () => {
    const eve = await world.agent(at, "blue.example/travel/eve").attach();
    const { record, receipt } = eve.signedRecord();
    record.body[record.body.length - 3] = (record.body[record.body.length - 3] ?? 0) ^ 1;
    const result = await eve.request({ case: "advertise", value: { request: 1n, record, receipt } }, "advertiseResult");
    expect(result.error?.code).toMatch(/CAUSEWAY_(IDENTITY_SIGNATURE_INVALID|RECORD_MALFORMED)/);
    expect(logged("records.advertisement_refused")).toBe(true);
    expect(at.gateway?.status().records).toBe(2);
  });

  test("another agent's record, one without a receipt and an older one are refused", async () => {
    const { record, receipt } = bob.signedRecord();
    const advertise = async (value: object): Promise<string | undefined> =>
      (await alice.request({ case: "advertise", value: { request: 1n, ...value } }, "advertiseResult")).error?.code;
    expect(await advertise({ record, receipt })).toBe("CAUSEWAY_RECORD_NOT_OWNER");
    expect(await advertise({ record: alice.signedRecord({ revision: 5n }).record })).toBe(
      "CAUSEWAY_RECORD_NOT_REGISTERED",
    );
    expect(await advertise(alice.signedRecord({ revision: 3n }))).toBeUndefined();
    expect(await advertise(alice.signedRecord({ revision: 2n }))).toBe("CAUSEWAY_RECORD_OLDER");
  });

  test("a slow receiver is answered for with OVERLOADED and costs nobody else anything", async () => {
    at.limits = { linkBufferedBytesMax: 1_000 };
    await world.kill(at);
    await world.start(at);
    const [sender, slow, quick] = [
      await known("blue.example/a/sender"),
      await known("blue.example/a/slow"),
      await known("blue.example/a/quick"),
    ];
    if (slow.far === undefined) throw new Error("not attached");
    slow.far.stalled = true;
    for (let n = 0; n < 20; n++) await sender.message(slow.agentId, "x".repeat(200));
    expect(sender.reports.some((each) => each.code === "CAUSEWAY_FORWARDING_OVERLOADED")).toBe(true);
    await sender.message(quick.agentId, "quick");
    expect(quick.messages).toEqual(["quick"]);
  });
});
