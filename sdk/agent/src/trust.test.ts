/** Whom an agent believes: gateways, other agents, records; and what it does with forgeries. */
import { createHash } from "node:crypto";
import { decodeFrame, encodeFrame } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import type { AgentEvent } from "./api.ts";
import { codeOf, type TestAgent, TestNetwork } from "./testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "green.example/hotels/bob";
const malloryName = "green.example/hotels/mallory";

async function trio(): Promise<{
  network: TestNetwork;
  alice: TestAgent;
  bob: TestAgent;
  mallory: TestAgent;
  taken: string[];
  security: string[];
}> {
  const network = new TestNetwork();
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName);
  const mallory = await network.connect(malloryName);
  const taken: string[] = [];
  const security: string[] = [];
  bob.onMessage(({ from, data }) => void taken.push(`${from} ${String(data)}`));
  bob.onEvent((event: AgentEvent) => {
    if (event.type === "security") security.push(event.error.code);
  });
  await network.clock.until(alice.send(bobName, "hello"));
  return { network, alice, bob, mallory, taken, security };
}

describe("a gateway", () => {
  test("of another domain, or that is no gateway, is refused before anything is said to it [AGP-32]", async () => {
    const network = new TestNetwork();
    const foreign = network.connect(aliceName, {
      gateway: { role: "gateway", domain: "green.example" },
      timeoutMs: 2_000,
    });
    expect(await codeOf(foreign)).toBe("CAUSEWAY_IDENTITY_MISMATCH");
    const other = network.connect(aliceName, { gateway: { role: "agent", domain: "blue.example" }, timeoutMs: 2_000 });
    expect(await codeOf(other)).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
    expect(network.hub.seen).toEqual([]);
  });

  test("sees ciphertext only: a marker in messages is nowhere in what passes it [AGP-25]", async () => {
    const { network, alice, bob } = await trio();
    const marker = "MARKER-7f3a9c-MARKER";
    bob.onRequest(marker, () => marker);
    await network.clock.until(alice.send(bobName, marker));
    await network.clock.until(alice.request(bobName, { method: marker, data: { marker }, metadata: { marker } }));
    expect(network.hub.seen.length).toBeGreaterThan(4);
    for (const frame of network.hub.seen) expect(Buffer.from(frame).includes(marker)).toBe(false);
  });

  test("is given the target from discovery and the ciphertext as it was made, and so is the receiver [AAP-74]", async () => {
    const { network, alice, bob } = await trio();
    const skills = [{ id: "book", description: "books" }];
    await network.clock.until(bob.register({ name: "Bob", description: "hotels", version: "1", skills }));
    const found = await network.clock.until(alice.discover("hotels"));
    const digests: Record<string, string[]> = { sealed: [], opened: [] };
    network.onPayload = (agent, direction, payload) => {
      if (agent === (direction === "sealed" ? alice.id : bob.id)) {
        digests[direction]?.push(createHash("sha256").update(payload).digest("hex"));
      }
    };
    const before = network.hub.seen.length;
    await network.clock.until(alice.send(found.matches[0]?.agentId ?? "", "via discovery"));
    expect(digests["sealed"]?.length).toBeGreaterThan(0);
    expect(digests["opened"]).toEqual(digests["sealed"]);
    const body = decodeFrame(network.hub.seen[before] ?? new Uint8Array());
    expect(body.case === "message" && body.value.header?.target).toBe(bob.id);
    expect(body.case === "message" && body.value.header?.source).toBe(alice.id);
  });
});

describe("content", () => {
  test("that is altered, replayed or given another sender's name is refused with a security event [AAP-96]", async () => {
    const { network, alice, bob, mallory, taken, security } = await trio();
    await network.clock.until(mallory.send(bobName, "I am Mallory"));
    expect(taken).toHaveLength(2);

    let recorded: Uint8Array | undefined;
    network.hub.intercept = (frame) => {
      recorded ??= frame;
      return frame;
    };
    await network.clock.until(alice.send(bobName, "once"));
    network.hub.intercept = (frame) => frame;
    if (!recorded) throw new Error("nothing was recorded");
    const body = decodeFrame(recorded);
    if (body.case !== "message" || !body.value.header) throw new Error("expected a message");
    const { header, payload } = body.value;

    // Replay.
    network.hub.inject(bob.id, recorded);
    await network.clock.advance(100);
    expect(security.at(-1)).toBe("CAUSEWAY_E2EE_DECRYPT_FAILED");
    // Alteration.
    const altered = payload.slice();
    altered[altered.length - 5] = (altered[altered.length - 5] ?? 0) ^ 1;
    network.hub.inject(bob.id, encodeFrame({ case: "message", value: { header, payload: altered } }));
    await network.clock.advance(100);
    expect(security).toHaveLength(2);
    // Alice's bytes under Mallory's name.
    network.hub.inject(
      bob.id,
      encodeFrame({ case: "message", value: { header: { ...header, source: mallory.id }, payload } }),
    );
    await network.clock.advance(100);
    expect(security).toHaveLength(3);
    expect(taken).toEqual([`${alice.id} hello`, `${mallory.id} I am Mallory`, `${alice.id} once`]);
  });

  test("whose header names another sender than its MLS leaf is refused [AAP-100]", async () => {
    const { network, alice, mallory, taken, security } = await trio();
    await network.clock.until(mallory.send(bobName, "mine"));
    // A gateway that lies: Mallory's next message comes with Alice's name.
    network.hub.intercept = (frame) => {
      const body = decodeFrame(frame);
      if (body.case !== "message" || body.value.header?.source !== mallory.id) return frame;
      return encodeFrame({
        case: "message",
        value: { header: { ...body.value.header, source: alice.id }, payload: body.value.payload },
      });
    };
    expect(await codeOf(network.clock.until(mallory.send(bobName, "forged", { timeoutMs: 5_000 })))).toBe(
      "CAUSEWAY_TIMEOUT",
    );
    expect(taken).toEqual([`${alice.id} hello`, `${mallory.id} mine`]);
    expect(security).toContain("CAUSEWAY_E2EE_SENDER_MISMATCH");
  });

  test("goes to nobody but the agent that was named: another's key package and an impostor are found out [AAP-99] [AGP-32]", async () => {
    const { network, alice, bob, mallory } = await trio();
    // The hub answers for Carol with Mallory's key package.
    const carol = await network.connect("blue.example/travel/carol");
    network.hub.swapPackages(carol.id, mallory.id);
    const heard: unknown[] = [];
    mallory.onMessage(({ data }) => void heard.push(data));
    carol.onMessage(({ data }) => void heard.push(data));
    expect(await codeOf(network.clock.until(alice.send(carol.id, "for Carol only", { timeoutMs: 5_000 })))).toMatch(
      /^CAUSEWAY_(E2EE|IDENTITY)_/,
    );
    expect(heard).toEqual([]);
    // The receiver's side: Mallory's group under Alice's name is not accepted either.
    network.hub.intercept = (frame) => {
      const body = decodeFrame(frame);
      if (body.case !== "message" || body.value.header?.source !== mallory.id) return frame;
      return encodeFrame({
        case: "message",
        value: { header: { ...body.value.header, source: alice.id }, payload: body.value.payload },
      });
    };
    await network.clock.until(codeOf(mallory.send(bobName, "I am Alice", { timeoutMs: 3_000 })));
    expect(bob.status().sessions.filter(({ peer }) => peer === mallory.id)).toEqual([]);
  });
});

describe("a revoked agent", () => {
  test("is not written to and not listened to, also by those who had a session with it", async () => {
    const { network, alice, bob, taken } = await trio();
    network.revoke(alice.home.identity);
    await network.clock.advance(100);
    expect(await codeOf(network.clock.until(alice.send(bobName, "still here", { timeoutMs: 3_000 })))).not.toBe("none");
    expect(taken).toEqual([`${alice.id} hello`]);
    expect(await codeOf(network.clock.until(bob.send(aliceName, "are you there", { timeoutMs: 3_000 })))).toMatch(
      /^CAUSEWAY_(IDENTITY|E2EE)_/,
    );
  });
});

describe("a registration", () => {
  test("sends the profile as a signed record, gets a receipt, and others find it by what it can do [ANA-77]", async () => {
    const { network, alice, bob } = await trio();
    const { revision, resourceId } = await network.clock.until(
      bob.register({
        name: "Bob",
        description: "books hotels",
        version: "1.0.0",
        languages: ["en", "ja"],
        skills: [{ id: "book", description: "books a room", tags: ["hotel"] }],
      }),
    );
    expect(revision).toBeGreaterThan(0);
    expect(resourceId).not.toBe("");
    const { matches } = await network.clock.until(alice.discover("hotel in Tokyo"));
    expect(matches).toHaveLength(1);
    expect(matches[0]).toMatchObject({
      agentId: bob.id,
      card: { name: "Bob", skills: [{ id: "book", tags: ["hotel"] }] },
    });
    expect(await network.clock.until(alice.lookup(bobName))).toMatchObject({ agentId: bob.id });
    expect(await network.clock.until(alice.lookup(malloryName))).toBeUndefined();
    await expect(
      network.clock.until(bob.register({ name: "", description: "x", version: "1", skills: [] })),
    ).rejects.toMatchObject({
      code: "CAUSEWAY_RECORD_MALFORMED",
    });
    const card = `{ "name":"Verbatim", "description":"d","version":"1","skills":[{"id":"s","name":"s","description":"d","tags":[]}], "unknown": {"kept":true} }`;
    await network.clock.until(bob.register({ card }));
    expect(Buffer.from((await network.clock.until(alice.lookup(bobName)))?.cardBytes ?? []).toString()).toBe(card);
    await network.clock.until(bob.deregister());
    expect(await network.clock.until(alice.lookup(bobName))).toBeUndefined();
  });

  test("of one agent under another's name is left out of what is found", async () => {
    const { network, alice, bob } = await trio();
    await network.clock.until(
      bob.register({ name: "Bob", description: "d", version: "1", skills: [{ id: "s", description: "d" }] }),
    );
    network.forge(bob.id, alice.id);
    const found = await network.clock.until(bob.discover("anything"));
    expect(found.matches.map(({ agentId }) => agentId)).toEqual([bob.id]);
    expect(found.notes.join()).toContain("CAUSEWAY_RECORD_NOT_OWNER");
  });
});
