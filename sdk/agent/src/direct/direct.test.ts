/** Direct links between agents of one domain, over links in memory and time that the test owns. */
import { agp, checkMlsPayload, decodeFrame, encodeFrame } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import type { AgentEvent } from "../api.ts";
import type { GatewayLink } from "../connector.ts";
import { codeOf, SeededRandom, type TestAgent, TestNetwork } from "../testing/index.ts";

const aliceName = "blue.example/travel/alice";
const bobName = "blue.example/hotels/bob";
const carolName = "green.example/hotels/carol";

/** Both have met through their gateway, and alice knows where bob listens. */
async function met(network: TestNetwork): Promise<{ alice: TestAgent; bob: TestAgent; taken: unknown[] }> {
  const alice = await network.connect(aliceName);
  const bob = await network.connect(bobName, { listens: true });
  const taken: unknown[] = [];
  bob.onMessage(({ data }) => void taken.push(data));
  await network.clock.until(alice.send(bobName, "hello"));
  await network.clock.advance(1_000);
  expect(alice.status().direct.known).toBe(1);
  taken.length = 0;
  return { alice, bob, taken };
}

/** Every gateway is gone, and every agent knows. */
async function goDown({ hub, clock }: TestNetwork): Promise<void> {
  hub.isUp = false;
  hub.cutAll();
  await clock.advance(10);
}

/** Messages that the gateways saw from one agent to another. */
const passed = ({ hub }: TestNetwork, from: string, to: string): number =>
  hub.seen.filter((frame) => {
    const body = decodeFrame(frame);
    const header = body.case === "message" ? body.value.header : undefined;
    return header?.source === from && header.target === to;
  }).length;

describe("prefer", () => {
  test("goes through the gateway, directly while there is none, and back when it returns [ANA-96]", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    await network.clock.until(alice.send(bobName, 1));
    expect(network.direct.dialled).toEqual([]);

    await goDown(network);
    await network.clock.advance(100);
    const passedBefore = passed(network, alice.id, bob.id);
    await network.clock.until(alice.send(bobName, 2));
    expect([alice.status().state, bob.status().state]).toEqual(["reconnecting", "reconnecting"]);
    expect(alice.status().direct).toMatchObject({ gatewayUse: "prefer", links: [{ peer: bob.id, dialled: true }] });
    expect(bob.status().direct).toMatchObject({ links: [{ peer: alice.id, dialled: false }] });
    // Answers come back over the link that alice made: bob does not know where alice would be.
    bob.onRequest("where", () => "here");
    const answer = await network.clock.until(alice.request(bobName, { method: "where" }));
    expect(answer.data).toBe("here");
    expect(passed(network, alice.id, bob.id)).toBe(passedBefore);

    network.hub.isUp = true;
    await network.clock.advance(70_000);
    expect([alice.status().state, bob.status().state]).toEqual(["attached", "attached"]);
    const carriedBefore = network.direct.carried.length;
    await network.clock.until(alice.send(bobName, 3));
    expect(network.direct.carried).toHaveLength(carriedBefore);
    expect(passed(network, alice.id, bob.id)).toBeGreaterThan(passedBefore);
    expect(taken).toEqual([1, 2, 3]);
  });

  test("answers who lost only its own gateway directly, and it alone", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    network.hub.isUp = false;
    network.hub.cut(alice.id);
    await network.clock.advance(100);
    expect([alice.status().state, bob.status().state]).toEqual(["reconnecting", "attached"]);
    const towardsAlice = passed(network, bob.id, alice.id);
    await network.clock.until(alice.send(bobName, "over here"));
    expect([taken, passed(network, bob.id, alice.id)]).toEqual([["over here"], towardsAlice]);
  });

  test("tells a partner again that has restarted and knows the address no more [ANA-96]", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    await network.clock.until(alice.close());
    const again = await network.connect(aliceName, { home: alice.home });
    expect(again.status().direct.known).toBe(0);
    await network.clock.until(again.send(bobName, "back"));
    await network.clock.advance(1_000);
    expect(again.status().direct.known).toBe(1);
    await goDown(network);
    await network.clock.until(again.send(bobName, "directly"));
    expect(taken).toEqual(["back", "directly"]);
    expect(bob.status().direct.links).toMatchObject([{ peer: again.id }]);
  });

  test("waits for the gateway when whoever listens at the address is not the one it was", async () => {
    const network = new TestNetwork();
    const { alice, bob } = await met(network);
    const other = await network.connect("blue.example/hotels/other", { listens: true });
    await goDown(network);
    network.direct.redirect(bob.status().direct.listening ?? "", other.status().direct.listening ?? "");
    await network.clock.until(bob.close());
    const sent = alice.send(bobName, "later", { timeoutMs: 7_200_000 });
    await network.clock.advance(3_600_000);
    expect([other.status().direct.links, alice.status().direct.links]).toEqual([[], []]);
    network.hub.isUp = true;
    const back = await network.connect(bobName, { home: bob.home });
    const taken: unknown[] = [];
    back.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(sent);
    expect(taken).toEqual(["later"]);
  });

  test("loses, doubles and reorders nothing when the way changes in the middle of channel and stream [ANA-96]", async () => {
    let [directly, relayed] = [0, 0];
    for (let seed = 1; seed <= 12; seed++) {
      const carried = await changeWays(seed);
      directly += carried.directly;
      relayed += carried.relayed;
    }
    expect(Math.min(directly, relayed)).toBeGreaterThan(200);
  }, 120_000);
});

/** Sends messages and a stream while gateways and direct links come and go. How many frames took which way. */
async function changeWays(seed: number): Promise<{ readonly directly: number; readonly relayed: number }> {
  const network = new TestNetwork({ seed });
  const random = new SeededRandom(seed);
  const { alice, bob, taken } = await met(network);
  const parts: unknown[] = [];
  bob.onStream(async (stream) => {
    for await (const [part] of stream) parts.push(part);
    await stream.end();
  });
  network.hub.faults = { loss: 0.1, duplication: 0.1, delayMs: 40 };
  const stream = alice.openStream(bobName);
  const sent: Promise<unknown>[] = [];
  const count = 80;
  for (let n = 0; n < count; n++) {
    sent.push(alice.send(bobName, n, { timeoutMs: 3_600_000 }), stream.write(Uint8Array.of(n)));
    const turn = random.below(12);
    if (turn === 0) await goDown(network);
    if (turn === 1) network.hub.isUp = true;
    if (turn === 2) network.direct.cutAll();
    if (turn === 3) network.hub.cut(bob.id);
    await network.clock.advance(random.below(400));
  }
  network.hub.isUp = true;
  network.hub.faults = {};
  await network.clock.until(Promise.all(sent));
  await network.clock.until(stream.end());
  await network.clock.until(stream.closed);
  const expected = Array.from({ length: count }, (_, n) => n);
  expect({ seed, taken, parts }).toEqual({ seed, taken: expected, parts: expected });
  return { directly: network.direct.carried.length, relayed: passed(network, alice.id, bob.id) };
}

describe("always", () => {
  test("never goes directly: what leaves while there is no gateway waits for it [ANA-96]", async () => {
    const network = new TestNetwork();
    const alice = await network.connect(aliceName, { gatewayUse: "always" });
    const bob = await network.connect(bobName, { listens: true });
    const taken: unknown[] = [];
    bob.onMessage(({ data }) => void taken.push(data));
    await network.clock.until(alice.send(bobName, 1));
    await network.clock.advance(1_000);
    await goDown(network);
    const sent = alice.send(bobName, 2, { timeoutMs: 600_000 });
    await network.clock.advance(60_000);
    expect([taken, network.direct.dialled]).toEqual([[1], []]);
    network.hub.isUp = true;
    await network.clock.until(sent);
    expect([taken, network.direct.carried]).toEqual([[1, 2], []]);
  });

  test("of the domain forbids direct links to everybody: nobody listens, tells or dials [ANA-96]", async () => {
    const network = new TestNetwork({ gatewayUse: "always" });
    const bob = await network.connect(bobName, { listens: true });
    const alice = await network.connect(aliceName, {
      listens: true,
      direct: { peers: { [bobName]: "https://127.0.0.1:7500" } },
    });
    bob.onMessage(() => undefined);
    await network.clock.until(alice.send(bobName, 1));
    await network.clock.advance(1_000);
    expect(bob.status().direct).toEqual({ gatewayUse: "always", listening: undefined, known: 0, links: [] });
    await goDown(network);
    expect(await codeOf(network.clock.until(alice.send(bobName, 2, { timeoutMs: 20_000 })))).toBe(
      "CAUSEWAY_UNREACHABLE",
    );
    expect(network.direct.dialled).toEqual([]);
    const stubborn = new TestNetwork({ gatewayUse: "always" });
    await stubborn.connect(bobName);
    const never = await stubborn.connect(aliceName, { gatewayUse: "never" });
    expect(await codeOf(stubborn.clock.until(never.send(bobName, 1)))).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    expect(never.status().direct.gatewayUse).toBe("none");
  });
});

describe("never", () => {
  test("goes directly from the first contact on, with a key package of the other agent itself, and no gateway sees it [ANA-96]", async () => {
    const network = new TestNetwork();
    const bob = await network.connect(bobName, { listens: true });
    const url = bob.status().direct.listening ?? "";
    const alice = await network.connect(aliceName, { gatewayUse: "never", direct: { peers: { [bobName]: url } } });
    const carol = await network.connect(carolName);
    const taken: unknown[] = [];
    for (const agent of [bob, carol]) agent.onMessage(({ data }) => void taken.push(data));
    const kinds: string[] = [];
    network.hub.onFrame = (kind) => void kinds.push(kind);
    await network.clock.until(alice.send(bobName, "inside"));
    expect([taken, network.hub.seen, kinds.filter((kind) => kind === "control")]).toEqual([["inside"], [], []]);
    // The rest of the world is reached as ever.
    await network.clock.until(alice.send(carolName, "outside"));
    expect(taken).toEqual(["inside", "outside"]);
    expect(passed(network, alice.id, carol.id)).toBeGreaterThan(0);
    await goDown(network);
    await network.clock.until(alice.send(bobName, "still inside"));
    expect(taken).toEqual(["inside", "outside", "still inside"]);
  });

  test("says that there is no direct way instead of going another one [ANA-96]", async () => {
    const network = new TestNetwork();
    await network.connect(bobName);
    const alice = await network.connect(aliceName, { gatewayUse: "never" });
    expect(await codeOf(network.clock.until(alice.send(bobName, "x")))).toBe("CAUSEWAY_DIRECT_NO_WAY");
    expect(await codeOf(network.clock.until(alice.request(bobName, {})))).toBe("CAUSEWAY_DIRECT_NO_WAY");
    expect(network.hub.seen).toEqual([]);
  });
});

describe("another domain", () => {
  test("is not reached directly, whatever address somebody names or tells [ANA-95]", async () => {
    const network = new TestNetwork();
    const direct = { peers: { [carolName]: "https://127.0.0.1:7500" } };
    expect(await codeOf(network.connect(aliceName, { direct }))).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    const alice = await network.connect(aliceName, { listens: true });
    const carol = await network.connect(carolName, { listens: true });
    alice.onMessage(() => undefined);
    carol.onMessage(() => undefined);
    await network.clock.until(alice.send(carolName, 1));
    await network.clock.until(carol.send(aliceName, 1));
    await network.clock.advance(1_000);
    expect([alice.status().direct.known, carol.status().direct.known]).toEqual([0, 0]);
    await goDown(network);
    expect(await codeOf(network.clock.until(alice.send(carolName, 2, { timeoutMs: 20_000 })))).toBe(
      "CAUSEWAY_UNREACHABLE",
    );
    expect(network.direct.dialled).toEqual([]);
  });
});

describe("a direct link", () => {
  test("ends when the other agent is revoked, and no new one begins", async () => {
    const network = new TestNetwork();
    const { alice, bob } = await met(network);
    await goDown(network);
    await network.clock.until(alice.send(bobName, 1));
    const events: AgentEvent[] = [];
    bob.onEvent((event) => events.push(event));
    network.revoke(alice.home.identity);
    await network.clock.advance(100);
    expect([alice.status().direct.links, bob.status().direct.links]).toEqual([[], []]);
    const refusals = (): string[] => events.flatMap((event) => (event.type === "security" ? [event.error.code] : []));
    expect(refusals()).toContain("CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED");
    expect(await codeOf(network.clock.until(alice.send(bobName, 2, { timeoutMs: 5_000 })))).not.toBe("none");
  });

  test("that rests is closed, and made anew when it is needed", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    await goDown(network);
    await network.clock.until(alice.send(bobName, 1));
    await network.clock.advance(700_000);
    expect([alice.status().direct.links, bob.status().direct.links]).toEqual([[], []]);
    await network.clock.until(alice.send(bobName, 2));
    expect([taken, network.direct.dialled]).toEqual([
      [1, 2],
      [expect.anything(), expect.anything()],
    ]);
  });

  test("ends when the domain forbids it from the next attachment on, and nobody listens any more [ANA-96]", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    const url = bob.status().direct.listening ?? "";
    await goDown(network);
    await network.clock.until(alice.send(bobName, 1));
    expect(bob.status().direct.links).toHaveLength(1);
    network.hub.gatewayUse = "always";
    network.hub.isUp = true;
    await network.clock.advance(70_000);
    expect(bob.status().direct).toMatchObject({ gatewayUse: "always", listening: undefined, links: [] });
    expect(alice.status().direct.links).toEqual([]);
    expect(() => new RawLink(network, url, alice, bob)).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_UNREACHABLE" }),
    );
    await network.clock.until(alice.send(bobName, 2));
    expect(taken).toEqual([1, 2]);
  });

  test("does not begin when the domain forbids it while it is dialled [ANA-96]", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    // Where bob listened, somebody still takes what comes.
    const url = bob.status().direct.listening ?? "";
    const kept = "https://127.0.0.1:7999";
    network.direct.redirect(kept, url);
    const dialling = Promise.withResolvers<void>();
    network.direct.held = dialling.promise;
    await goDown(network);
    const sent = alice.send(bobName, "by the gateway", { timeoutMs: 600_000 });
    await network.clock.advance(100);
    network.hub.gatewayUse = "always";
    network.hub.isUp = true;
    await network.clock.advance(70_000);
    expect(alice.status().direct.gatewayUse).toBe("always");
    network.direct.redirect(url, kept);
    dialling.resolve();
    await network.clock.until(sent);
    await network.clock.advance(1_000);
    expect(network.direct.dialled).toHaveLength(1);
    expect([taken, network.direct.carried]).toEqual([["by the gateway"], []]);
    expect([alice.status().direct.links, bob.status().direct.links]).toEqual([[], []]);
  });

  test("is not taken while the listener closes, because it is forbidden or the agent ends [ANA-96]", async () => {
    const network = new TestNetwork();
    const { alice, bob } = await met(network);
    const kept = "https://127.0.0.1:7999";
    network.direct.redirect(kept, bob.status().direct.listening ?? "");
    network.hub.gatewayUse = "always";
    await goDown(network);
    network.hub.isUp = true;
    await network.clock.advance(70_000);
    const late = new RawLink(network, kept, alice, bob);
    await network.clock.advance(100);
    expect(late.code).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    await network.clock.until(bob.close());
    const later = new RawLink(network, kept, alice, bob);
    await network.clock.advance(100);
    expect(later.code).toBe("CAUSEWAY_CANCELLED");
    expect(bob.status().direct).toMatchObject({ listening: undefined, links: [] });
  });

  test("is not for agents of other domains, even where the platform let one through [ANA-95]", async () => {
    const network = new TestNetwork();
    const bob = await network.connect(bobName, { listens: true });
    const carol = await network.connect(carolName);
    const ended = new RawLink(network, bob.status().direct.listening ?? "", carol, bob);
    await network.clock.advance(10);
    expect(ended.code).toBe("CAUSEWAY_DIRECT_NOT_ALLOWED");
    expect(bob.status().direct.links).toEqual([]);
  });

  test("on which nobody says who it is ends in time", async () => {
    const network = new TestNetwork();
    const bob = await network.connect(bobName, { listens: true });
    const alice = await network.connect(aliceName);
    const ended = new RawLink(network, bob.status().direct.listening ?? "", alice, bob);
    await network.clock.advance(9_000);
    expect(ended.code).toBeUndefined();
    await network.clock.advance(2_000);
    expect(ended.code).toBe("CAUSEWAY_TIMEOUT");
  });

  test("beyond the bound is refused with its name", async () => {
    const network = new TestNetwork();
    const bob = await network.connect(bobName, { listens: true, direct: { limits: { linksMax: 1 } } });
    bob.onMessage(() => undefined);
    const direct = { peers: { [bobName]: bob.status().direct.listening ?? "" } };
    const first = await network.connect(aliceName, { gatewayUse: "never", direct });
    await network.clock.until(first.send(bobName, 1));
    const second = await network.connect("blue.example/travel/zoe", { gatewayUse: "never", direct });
    expect(await codeOf(network.clock.until(second.send(bobName, 1, { timeoutMs: 5_000 })))).toBe(
      "CAUSEWAY_LIMIT_COUNT",
    );
    expect(bob.status().direct.links).toHaveLength(1);
  });

  test("renews the keys of its pair by a new one, since no delivery service orders a commit [ANA-96]", async () => {
    const network = new TestNetwork();
    const { alice, bob, taken } = await met(network);
    const payloads: Uint8Array[] = [];
    network.onPayload = (_agent, direction, payload) => void (direction === "sealed" && payloads.push(payload));
    await goDown(network);
    await network.clock.until(alice.send(bobName, 0));
    payloads.length = 0;
    // An hour is as long as an agent keeps its keys.
    await network.clock.advance(3_700_000);
    await network.clock.until(alice.send(bobName, 1));
    await network.clock.until(alice.send(bobName, 2));
    expect(taken).toEqual([0, 1, 2]);
    const kinds = payloads.map((payload) => checkMlsPayload(payload)).map((framed) => framed.wireFormat);
    expect(kinds).toContain("welcome");
    expect([alice.status().sessions, bob.status().sessions]).toMatchObject([[{ epoch: 1 }], [{ epoch: 1 }]]);
  });
});

describe("key packages over a direct link", () => {
  test("are bounded for each agent and for all, and take none from the gateway", async () => {
    const network = new TestNetwork();
    const direct = { limits: { keyPackagesPerMinute: 3, keyPackagesPerMinuteTotal: 5 } };
    const bob = await network.connect(bobName, { listens: true, direct });
    const url = bob.status().direct.listening ?? "";
    const links: RawLink[] = [];
    for (const name of [aliceName, "blue.example/travel/zoe"]) {
      const link = new RawLink(network, url, await network.connect(name), bob);
      links.push(link);
      link.greet();
      for (let n = 0; n < 10; n++) link.ask();
      await network.clock.advance(100);
    }
    const given = (): number[] => links.map(({ answers }) => answers.filter((code) => code === "").length);
    expect(given()).toEqual([3, 2]);
    expect(links.map(({ answers }) => answers.length)).toEqual([10, 10]);
    expect(links.flatMap(({ answers }) => answers.filter((code) => code !== "CAUSEWAY_LIMIT_RATE"))).toHaveLength(5);
    await network.clock.advance(60_000);
    for (const link of links) link.ask();
    await network.clock.advance(100);
    expect(given()).toEqual([4, 3]);
    // The gateway's are as good as before.
    bob.onMessage(() => undefined);
    const carol = await network.connect(carolName);
    expect(await codeOf(network.clock.until(carol.send(bobName, "from outside")))).toBe("none");
  });
});

/** A link of an agent that says nothing by itself. */
class RawLink {
  /** The codes of the answers to `ask`; empty for a key package. */
  readonly answers: string[] = [];
  /** What the link was ended with. */
  code: string | undefined;
  readonly #link: GatewayLink;
  readonly #from: string;
  readonly #to: string;
  #asked = 0;

  constructor(network: TestNetwork, url: string, from: TestAgent, to: TestAgent) {
    this.#from = from.id;
    this.#to = to.id;
    this.#link = network.direct.dial(url, {
      identity: () => from.home.identity,
      verify: () => undefined as never,
    });
    this.#link.onClose((error) => {
      this.code = error?.code ?? "none";
    });
    this.#link.onFrames((frames) => {
      for (const { buffer, start, end } of frames) this.#take(decodeFrame(new Uint8Array(buffer.subarray(start, end))));
    });
  }

  greet(withoutGateway = false): void {
    this.#link.send(
      encodeFrame({ case: "directHello", value: { source: this.#from, target: this.#to, withoutGateway } }),
    );
  }

  /** Asks for a key package. */
  ask(): void {
    const messageId = new Uint8Array(16).fill(++this.#asked);
    const header = {
      version: 1,
      hopTtl: 4,
      targetKind: agp.TargetKind.AGENT,
      target: this.#to,
      source: this.#from,
      messageId,
      trafficClass: agp.TrafficClass.CONTROL,
    };
    const body = { case: "keyPackageFetch", value: { suite: 1 } } as const;
    this.#link.send(encodeFrame({ case: "control", value: { header, requestId: messageId, body } }));
  }

  #take(frame: ReturnType<typeof decodeFrame>): void {
    if (frame.case !== "control" || frame.value.body.case !== "keyPackageResult") return;
    const { error, keyPackage } = frame.value.body.value;
    this.answers.push(keyPackage.length > 0 ? "" : (error?.code ?? "neither package nor error"));
  }
}
