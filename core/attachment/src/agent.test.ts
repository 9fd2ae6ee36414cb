import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { aap, agp, decodeFrame, FrameKind, toErrorDetail, wrapFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AgentAttachment, type AgentAttachmentOptions } from "./agent.ts";
import { agentTransitions } from "./agent-transitions.ts";
import type { AgentEffect, BootstrapHint } from "./effects.ts";
import { at, binding, bodyOf, gatewayIdentity } from "./fixtures/handshake.ts";
import { countingRandom, identity, type TestIdentity, testCrypto } from "./fixtures/identities.ts";
import type { VerifiedOffer } from "./offers.ts";
import { leaseMessage, signLease } from "./transcript.ts";

const self = identity("blue.example/a", "agent");
const direct: BootstrapHint = { method: "static", endpoint: "https://gw1:1", discover: false };

const agent = (more: Partial<AgentAttachmentOptions> = {}): AgentAttachment =>
  new AgentAttachment({
    agentId: self.id,
    instance: "i",
    hints: [direct, { ...direct, endpoint: "https://gw2:1" }],
    signer: () => self.signer,
    crypto: testCrypto,
    random: countingRandom(),
    ...more,
  });
const frames = (effects: readonly AgentEffect[]): readonly string[] =>
  effects.flatMap((e) => (e.kind === "send" ? [decodeFrame(e.frame).case] : []));
const frameOf = (effects: readonly AgentEffect[], kind: string): Uint8Array =>
  effects.flatMap((e) => (e.kind === "send" && decodeFrame(e.frame).case === kind ? [e.frame] : []))[0] ??
  new Uint8Array(0);
const refusal = (effects: readonly AgentEffect[]): string | undefined =>
  effects.flatMap((e) => (e.kind === "close" ? [e.error?.code] : []))[0];
const challengeBytes = (more: Partial<aap.AttachChallenge> = {}): Uint8Array => {
  const { $typeName: _, ...fields } = {
    nonce: new Uint8Array(32),
    gatewayId: gatewayIdentity.id as string,
    gatewayUri: gatewayIdentity.peer.gateway?.uri as string,
    features: ["agp/1", "mls/1", "topics/1"],
    ...more,
  } as Partial<aap.AttachChallenge>;
  return toBinary(aap.AttachChallengeSchema, create(aap.AttachChallengeSchema, fields));
};
const goodLease = {
  leaseId: new Uint8Array(16),
  lifetimeMs: 300_000n,
  heartbeatIntervalMs: 30_000n,
  model: 1,
  features: ["agp/1", "mls/1", "topics/1"],
  gatewayUnixMs: BigInt(at(0).unix),
  attachmentSequence: BigInt(at(0).unix),
  gatewayUse: aap.GatewayUse.UNSPECIFIED,
};

/** Up to the point at which the lease is expected; with what is needed to make one. */
function proven(
  machine: AgentAttachment,
  peer: TestIdentity = gatewayIdentity,
): { lease: (more?: Partial<typeof goodLease>, by?: TestIdentity, channel?: Uint8Array) => Uint8Array } {
  machine.start(at(0));
  machine.handleLinkUp(at(0), 1, peer.peer, binding);
  const hello = bodyOf(frameOf(machine.drain(), "attachHello"));
  const challenge = challengeBytes();
  machine.handleChallenge(at(0), 1, challenge);
  const proof = fromBinary(aap.AttachProofSchema, bodyOf(frameOf(machine.drain(), "attachProof"))).signature;
  return {
    lease: (more = {}, by = gatewayIdentity, channel = binding) =>
      signLease({ ...goodLease, ...more }, (unsigned) =>
        by.signer.sign(leaseMessage(testCrypto, channel, { hello, challenge, proof }, unsigned)),
      ),
  };
}

describe("lease", () => {
  test("all fields are there and reported [AAP-105]", () => {
    const machine = agent();
    machine.handleLease(at(5), 1, proven(machine).lease());
    expect(machine.status()).toMatchObject({
      state: "attached",
      lease: {
        leaseId: new Uint8Array(16),
        lifetimeMs: 300_000,
        heartbeatMs: 30_000,
        model: "stateful",
        features: ["agp/1", "mls/1", "topics/1"],
        gatewayUnixMs: at(0).unix,
        attachmentSequence: BigInt(at(0).unix),
        gatewayId: gatewayIdentity.id,
        gatewayUri: gatewayIdentity.peer.gateway?.uri,
        gatewayUse: "prefer",
      },
      clockSkewMs: -5,
    });
  });

  test("what the operator prescribes is signed with the lease, and reported [ANA-96]", () => {
    const machine = agent();
    machine.handleLease(at(0), 1, proven(machine).lease({ gatewayUse: aap.GatewayUse.ALWAYS }));
    expect(machine.status().lease?.gatewayUse).toBe("always");
    const other = agent();
    const forged = fromBinary(aap.AttachmentLeaseSchema, proven(other).lease({ gatewayUse: aap.GatewayUse.ALWAYS }));
    forged.gatewayUse = aap.GatewayUse.NEVER;
    other.handleLease(at(0), 1, toBinary(aap.AttachmentLeaseSchema, forged));
    expect(other.status().lease).toBeUndefined();
  });

  const lacking: Record<string, Partial<typeof goodLease>> = {
    "lease id": { leaseId: new Uint8Array(0) },
    lifetime: { lifetimeMs: 0n },
    "sane lifetime": { lifetimeMs: 2n ** 63n },
    "heartbeat interval": { heartbeatIntervalMs: 0n },
    "heartbeat interval that an agent can keep up": { heartbeatIntervalMs: 1n },
    "lifetime that an agent can keep up": { lifetimeMs: 2_000n, heartbeatIntervalMs: 1_000n },
    "heartbeat interval within the lifetime": { heartbeatIntervalMs: 300_001n },
    model: { model: 0 },
    "negotiated features": { features: [] },
    "all negotiated features": { features: ["agp/1", "mls/1"] },
    "only negotiated features": { features: ["agp/1", "calls/1", "mls/1", "topics/1"] },
    "gateway time": { gatewayUnixMs: 0n },
    "attachment sequence": { attachmentSequence: 0n },
    "own attachment sequence": { attachmentSequence: 7n },
  };
  for (const [name, more] of Object.entries(lacking)) {
    test(`one without ${name} is refused [AAP-105]`, () => {
      const machine = agent();
      machine.handleLease(at(0), 1, proven(machine).lease(more));
      expect([refusal(machine.drain()), machine.status().state]).toEqual([
        expect.stringMatching(/MALFORMED|FEATURE_MISSING/),
        "proving",
      ]);
      expect(machine.status()).toMatchObject({ attempt: 2, lease: undefined });
    });
  }

  test("one that is changed, unsigned, of another gateway or channel is refused [AAP-62] [AGP-54]", () => {
    const forger = identity("blue.example/gateway/gw1", "gateway", { key: "2" });
    for (const bend of [
      (l: ReturnType<typeof proven>["lease"]) => l({}, forger),
      (l: ReturnType<typeof proven>["lease"]) => l({}, gatewayIdentity, new Uint8Array(32)),
      () => toBinary(aap.AttachmentLeaseSchema, create(aap.AttachmentLeaseSchema, goodLease)),
      (l: ReturnType<typeof proven>["lease"]) => {
        const changed = fromBinary(aap.AttachmentLeaseSchema, l());
        changed.features = ["agp/1", "mls/1"];
        return toBinary(aap.AttachmentLeaseSchema, changed);
      },
    ]) {
      const machine = agent();
      machine.handleLease(at(0), 1, bend(proven(machine).lease));
      const effects = machine.drain();
      expect([refusal(effects), effects.some((e) => e.kind === "attached")]).toEqual([
        "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
        false,
      ]);
    }
  });

  test("a lease before the proof is refused", () => {
    const machine = agent();
    machine.start(at(0));
    machine.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
    machine.handleLease(at(0), 1, new Uint8Array(0));
    expect(refusal(machine.drain())).toBe("CAUSEWAY_FRAME_UNEXPECTED");
  });
});

describe("gateway", () => {
  const bends: Record<string, (machine: AgentAttachment) => void> = {
    "without the role of one": (m) => m.handleLinkUp(at(0), 1, identity("blue.example/x", "agent").peer, binding),
    "whose challenge names another": (m) => {
      m.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
      m.handleChallenge(at(0), 1, challengeBytes({ gatewayId: "spiffe://blue.example/gateway/gw9" }));
    },
    "with a short nonce": (m) => {
      m.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
      m.handleChallenge(at(0), 1, challengeBytes({ nonce: new Uint8Array(8) }));
    },
    "without a security feature": (m) => {
      m.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
      m.handleChallenge(at(0), 1, challengeBytes({ features: ["agp/1"] }));
    },
    "that sends no challenge": (m) => {
      m.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
      m.handleChallenge(at(0), 1, Uint8Array.of(0xff));
    },
    "that takes too long": (m) => m.handleTimeout(at(10_000)),
    "that refuses": (m) =>
      m.handleError(
        at(0),
        1,
        create(agp.ErrorSchema, {
          fatal: true,
          error: toErrorDetail({ code: "CAUSEWAY_LIMIT_COUNT", message: "full" }),
        }),
      ),
    "that cannot be reached": (m) => m.handleLinkDown(at(0), 1),
  };
  for (const [name, bend] of Object.entries(bends)) {
    test(`one ${name} is left for the next candidate`, () => {
      const machine = agent();
      machine.start(at(0));
      bend(machine);
      const effects = machine.drain();
      expect(effects.filter((e) => e.kind === "connect").map((e) => e.candidate.endpoint)).toEqual([
        "https://gw1:1",
        "https://gw2:1",
      ]);
      expect(effects.some((e) => e.kind === "attached")).toBe(false);
    });
  }

  test("the peer has to be the one that made the offer; hints never replace authentication [AAP-53] [AAP-58]", () => {
    const machine = agent({ hints: [{ method: "dhcp", endpoint: "https://x:1", discover: true }] });
    machine.start(at(0));
    const nonce = machine.drain().flatMap((e) => (e.kind === "discover" ? [e.nonce] : []))[0] ?? new Uint8Array(0);
    const offer = {
      endpoint: "https://gw9:1",
      method: "dhcp",
      gatewayId: identity("blue.example/gateway/gw9", "gateway").id,
      features: ["mls/1"],
      load: 0,
      delayMs: 0,
      nonce,
      expiresUnixMs: at(0).unix,
    } as unknown as VerifiedOffer;
    machine.handleOffer(at(1), { ...offer, nonce: new Uint8Array(16) });
    machine.handleOffer(at(1), offer);
    machine.handleTimeout(at(500));
    const effects = machine.drain();
    // It connects to the endpoint of the offer and to no other.
    expect(effects.filter((e) => e.kind === "connect").map((e) => e.candidate.endpoint)).toEqual(["https://gw9:1"]);
    expect(effects.filter((e) => e.kind === "event").map((e) => e.type)).toEqual(["offer-refused"]);
    machine.handleLinkUp(at(501), 1, gatewayIdentity.peer, binding);
    expect([refusal(machine.drain()), machine.status().state]).toEqual(["CAUSEWAY_IDENTITY_MISMATCH", "backoff"]);
  });

  test.each(["static", "anycast", "dhcp", "dns"] as const)(
    "bootstrap by %s: no message may be sent before the lease [AAP-54]",
    (method) => {
      const machine = agent({ hints: [{ ...direct, method }] });
      machine.start(at(0));
      machine.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
      expect(frames(machine.drain())).toEqual(["attachHello"]);
      machine.handleHeartbeatAck(at(0), 1, create(aap.HeartbeatAckSchema, { sequence: 0n }));
      machine.noteTraffic(at(0));
      machine.setCondition(at(0), "degraded");
      expect([machine.drain(), machine.status().lease]).toEqual([[], undefined]);
    },
  );
});

describe("upkeep", () => {
  const attached = (more: Partial<AgentAttachmentOptions> = {}): AgentAttachment => {
    const machine = agent(more);
    machine.handleLease(at(0), 1, proven(machine).lease({ model: more.model === "soft" ? 2 : 1 }));
    machine.drain();
    return machine;
  };

  test("heartbeats leave every 30 s, 10 % more or less, with the condition [AAP-84]", () => {
    for (const fraction of [0, 0.5, 1]) {
      const machine = attached({ random: { ...countingRandom(), fraction: () => fraction } });
      expect(machine.deadline()).toBe(27_000 + 6_000 * fraction);
    }
    const machine = attached();
    machine.setCondition(at(1_000), "degraded");
    const beat = frameOf(machine.drain(), "heartbeat");
    expect(fromBinary(aap.HeartbeatSchema, bodyOf(beat))).toMatchObject({
      sequence: 1n,
      condition: aap.AgentCondition.DEGRADED,
    });
  });

  test("in the soft model own traffic replaces refreshes [AAP-90]", () => {
    const machine = attached({ model: "soft" });
    expect(machine.deadline()).toBe(100_000);
    machine.noteTraffic(at(90_000));
    expect(machine.deadline()).toBe(190_000);
    machine.handleTimeout(at(190_000));
    expect(frames(machine.drain())).toEqual(["heartbeat"]);
  });

  test("a newer attachment, an operator and a revocation end it for good; anything else brings it back", () => {
    const end = (code: Parameters<typeof toErrorDetail>[0]["code"]): unknown => {
      const machine = attached();
      machine.handleSessionEnd(
        at(60_000),
        1,
        create(aap.SessionEndSchema, { error: toErrorDetail({ code, message: "m" }) }),
      );
      const lost = machine.drain().find((e) => e.kind === "lost");
      return [lost?.kind === "lost" && lost.isFinal, machine.status().state];
    };
    for (const code of [
      "CAUSEWAY_ATTACHMENT_REPLACED",
      "CAUSEWAY_ATTACHMENT_DETACHED",
      "CAUSEWAY_IDENTITY_CERTIFICATE_REVOKED",
    ] as const)
      expect(end(code)).toEqual([true, "closed"]);
    for (const code of ["CAUSEWAY_ATTACHMENT_LEASE_EXPIRED", "CAUSEWAY_GATEWAY_DRAINING", "CAUSEWAY_INTERNAL"] as const)
      expect(end(code)).toEqual([false, "proving"]);
  });

  test("the attachment sequence grows over attachments, also when the clock goes back", () => {
    const machine = attached();
    machine.handleLinkDown(at(60_000), 1);
    machine.drain();
    machine.handleLinkUp({ ...at(60_001), unix: at(-5_000).unix }, 2, gatewayIdentity.peer, binding);
    expect(fromBinary(aap.AttachHelloSchema, bodyOf(frameOf(machine.drain(), "attachHello"))).attachmentSequence).toBe(
      BigInt(at(0).unix) + 1n,
    );
  });

  test("after a refusal as outdated the next sequence is above the one that is held", () => {
    const machine = agent();
    machine.start(at(0));
    machine.handleLinkUp(at(0), 1, gatewayIdentity.peer, binding);
    machine.drain();
    const held = BigInt(at(0).unix) + 1_000_000n;
    machine.handleError(
      at(0),
      1,
      create(agp.ErrorSchema, {
        fatal: true,
        error: toErrorDetail({ code: "CAUSEWAY_ATTACHMENT_OUTDATED", message: "m", details: { held: String(held) } }),
      }),
    );
    machine.handleLinkUp(at(1), 2, gatewayIdentity.peer, binding);
    expect(fromBinary(aap.AttachHelloSchema, bodyOf(frameOf(machine.drain(), "attachHello"))).attachmentSequence).toBe(
      held + 1n,
    );
  });

  test("a clock far from the gateway's is reported, and changes nothing else", () => {
    const machine = agent();
    const { lease } = proven(machine);
    machine.handleLease(at(0), 1, lease({ gatewayUnixMs: BigInt(at(120_000).unix) }));
    expect(
      machine
        .drain()
        .filter((e) => e.kind === "event")
        .map((e) => e.type),
    ).toEqual(["clock-skewed"]);
    expect(machine.status()).toMatchObject({ state: "attached", clockSkewMs: 120_000 });
    expect(machine.deadline()).toBe(30_000);
  });

  test("what belongs to an older link is ignored", () => {
    const machine = attached();
    machine.handleLinkDown(at(60_000), 1);
    machine.drain();
    machine.handleSessionEnd(at(60_000), 1, create(aap.SessionEndSchema, {}));
    machine.handleLinkDown(at(60_000), 1);
    machine.handleDrain(at(60_000), 1, create(agp.DrainSchema, {}));
    expect([machine.drain(), machine.status().state]).toEqual([[], "proving"]);
  });

  test("detaching waits for the gateway's answer, but not for ever", () => {
    const machine = attached();
    machine.detach(at(1), "done");
    expect([frames(machine.drain()), machine.status().state]).toEqual([["sessionEnd"], "detaching"]);
    machine.handleTimeout(at(5_001));
    expect([machine.drain().map((e) => e.kind), machine.status().state, machine.deadline()]).toEqual([
      ["close"],
      "closed",
      undefined,
    ]);
    for (const prepare of [(m: AgentAttachment) => m.start(at(0)), () => undefined]) {
      const early = agent();
      prepare(early);
      early.detach(at(0), "never mind");
      expect(early.status().state).toBe("closed");
    }
  });
});

test("misuse throws", () => {
  const misuse = expect.objectContaining({ code: "CAUSEWAY_MISUSE" });
  expect(() => agent({ hints: [] })).toThrow(misuse);
  expect(() => agent({ instance: "a/b" })).toThrow(expect.objectContaining({ code: "CAUSEWAY_NAME_INVALID" }));
  const machine = agent();
  machine.start(at(0));
  expect(() => machine.start(at(0))).toThrow(misuse);
});

test("every state can be reached, and only closed has no way on", () => {
  const reached = new Set(["idle"]);
  for (const state of reached) for (const next of Object.values(agentTransitions[state as "idle"])) reached.add(next);
  expect([...reached].sort()).toEqual(Object.keys(agentTransitions).sort());
  expect(
    Object.entries(agentTransitions)
      .filter(([, inputs]) => Object.keys(inputs).length === 0)
      .map(([s]) => s),
  ).toEqual(["closed"]);
});

test("any input in any state: never a throw, never attached without a verified lease, never two links", () => {
  const noise = fc.uint8Array({ maxLength: 40 });
  const step = fc.oneof(
    fc.constantFrom("up", "down", "challenge", "end", "drain", "ack", "error", "time", "long", "traffic", "condition"),
    noise,
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.nat(2)), { maxLength: 40 }), (steps) => {
      const machine = agent();
      machine.start(at(0));
      let ms = 0;
      for (const [what, back] of steps) {
        const attempt = Math.max(0, machine.status().attempt - back);
        if (what === "up") machine.handleLinkUp(at(ms), attempt, gatewayIdentity.peer, binding);
        else if (what === "down") machine.handleLinkDown(at(ms), attempt);
        else if (what === "challenge") machine.handleChallenge(at(ms), attempt, challengeBytes());
        else if (what === "end") machine.handleSessionEnd(at(ms), attempt, create(aap.SessionEndSchema, {}));
        else if (what === "drain") machine.handleDrain(at(ms), attempt, create(agp.DrainSchema, {}));
        else if (what === "ack") machine.handleHeartbeatAck(at(ms), attempt, create(aap.HeartbeatAckSchema, {}));
        else if (what === "error")
          machine.handleError(at(ms), attempt, create(agp.ErrorSchema, { fatal: true, error: { code: "X" } }));
        else if (what === "time") machine.handleTimeout(at((ms += 1_000)));
        else if (what === "long") machine.handleTimeout(at((ms += 60_000)));
        else if (what === "traffic") machine.noteTraffic(at(ms));
        else if (what === "condition") machine.setCondition(at(ms), back === 0 ? "running" : "degraded");
        else {
          machine.handleChallenge(at(ms), attempt, what as Uint8Array);
          machine.handleLease(at(ms), attempt, what as Uint8Array);
        }
        const effects = machine.drain();
        expect(effects.some((e) => e.kind === "attached")).toBe(false);
        const { state } = machine.status();
        if (state === "proving" || state === "backoff") expect(machine.deadline()).toBeDefined();
      }
    }),
    { numRuns: 300 },
  );
  expect(wrapFrame(FrameKind.attachHello, new Uint8Array(0))).toEqual(Uint8Array.of(0x1a, 0));
});

describe("beside other attachments of the agent", () => {
  const dials = (effects: readonly AgentEffect[]): readonly string[] =>
    effects.flatMap((e) => (e.kind === "connect" ? [e.candidate.endpoint] : []));
  const pauseOf = (machine: AgentAttachment, ms: number): number => (machine.deadline() ?? Number.NaN) - ms;

  /** Both endpoints lead to a gateway that another attachment has; what it dials until it rests. */
  function round(machine: AgentAttachment, ms: number): readonly string[] {
    const dialled: string[] = [];
    for (let found = dials(machine.drain()); found.length > 0; found = dials(machine.drain())) {
      dialled.push(...found);
      machine.handleLinkUp(at(ms), machine.status().attempt, gatewayIdentity.peer, binding);
    }
    expect(machine.status().state).toBe("backoff");
    return dialled;
  }

  test("a gateway that another one has is dialled once in ten minutes, and the pauses are long [AAP-15]", () => {
    const machine = agent({ mayUse: () => false });
    machine.start(at(0));
    expect(round(machine, 0)).toEqual(["https://gw1:1", "https://gw2:1"]);
    const dialled: number[] = [];
    let ms = 0;
    while (ms < 3_600_000) {
      expect(pauseOf(machine, ms)).toBeGreaterThanOrEqual(150_000);
      expect(pauseOf(machine, ms)).toBeLessThanOrEqual(300_000);
      ms = machine.deadline() as number;
      machine.handleTimeout(at(ms));
      dialled.push(round(machine, ms).length);
    }
    expect(dialled.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(2 * 6);
    expect(Math.max(...dialled)).toBe(2);
  });

  test("one that is free again is attached to at once, and who waits for something else waits as ever [AAP-15]", () => {
    let isFree = false;
    const machine = agent({ mayUse: () => isFree });
    machine.start(at(0));
    round(machine, 0);
    isFree = true;
    machine.handleFreed(at(1_000));
    expect(pauseOf(machine, 1_000)).toBeLessThanOrEqual(500);
    const ms = machine.deadline() as number;
    machine.handleTimeout(at(ms));
    expect(dials(machine.drain())).toEqual(["https://gw1:1"]);

    const other = agent();
    other.start(at(0));
    other.handleLinkDown(at(0), 1);
    other.handleLinkDown(at(0), 2);
    const due = other.deadline();
    other.handleFreed(at(1));
    expect(other.deadline()).toBe(due);
  });

  test("after a loss the gateway that was lost is tried again soon [AAP-15]", () => {
    const other = identity("blue.example/gateway/gw2", "gateway");
    for (const lastedMs of [1_000, 100_000]) {
      const machine = agent({ mayUse: (gateway) => gateway !== other.id });
      machine.handleLease(at(0), 1, proven(machine).lease());
      machine.handleLinkDown(at(lastedMs), 1);
      for (let found = dials(machine.drain()); found.length > 0; found = dials(machine.drain())) {
        const { attempt } = machine.status();
        if (found.at(-1) === "https://gw2:1") machine.handleLinkUp(at(lastedMs), attempt, other.peer, binding);
        else machine.handleLinkDown(at(lastedMs), attempt);
      }
      expect(machine.status().state).toBe("backoff");
      expect(pauseOf(machine, lastedMs)).toBeLessThanOrEqual(500);
    }
  });

  test("while one gateway cannot be reached, it is tried as often as without others [AAP-15]", () => {
    const machine = agent({ mayUse: () => false });
    machine.start(at(0));
    let ms = 0;
    for (let n = 0; n < 20; n++) {
      for (let found = dials(machine.drain()); found.length > 0; found = dials(machine.drain())) {
        const { attempt } = machine.status();
        if (found[0] === "https://gw1:1") machine.handleLinkUp(at(ms), attempt, gatewayIdentity.peer, binding);
        else machine.handleLinkDown(at(ms), attempt);
      }
      expect(pauseOf(machine, ms)).toBeLessThanOrEqual(30_000);
      ms = machine.deadline() as number;
      machine.handleTimeout(at(ms));
    }
  });
});
