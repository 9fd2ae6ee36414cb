import { create } from "@bufbuild/protobuf";
import { aap, asLinkId, decodeFrame, FrameKind, wrapFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  at,
  attach,
  binding,
  bodyOf,
  gateway,
  gatewayIdentity,
  hello,
  proofOf,
  refusalOf,
  sent,
} from "./fixtures/handshake.ts";
import { identity } from "./fixtures/identities.ts";
import type { GatewayAttachments } from "./gateway.ts";
import { gatewayTransitions } from "./gateway-transitions.ts";

const agent = identity("blue.example/a", "agent");
const heartbeat = (machine: GatewayAttachments, link: number, sequence: bigint): aap.Heartbeat =>
  create(aap.HeartbeatSchema, {
    leaseId: machine.attachmentOf(asLinkId(link))?.leaseId ?? new Uint8Array(0),
    sequence,
    condition: 1,
  });

describe("hello", () => {
  const cases: Record<string, readonly [Partial<aap.AttachHello>, string]> = {
    "another agent's id [AAP-63]": [{ agentId: "spiffe://blue.example/b" }, "CAUSEWAY_IDENTITY_MISMATCH"],
    "short form of its id": [{ agentId: "blue.example/a" }, "CAUSEWAY_IDENTITY_MISMATCH"],
    "no instance": [{ instance: "" }, "CAUSEWAY_NAME_INVALID"],
    "instance with a slash": [{ instance: "i/j" }, "CAUSEWAY_NAME_INVALID"],
    "instance of 65 letters": [{ instance: "i".repeat(65) }, "CAUSEWAY_NAME_INVALID"],
    "short nonce": [{ nonce: new Uint8Array(31) }, "CAUSEWAY_FRAME_MALFORMED"],
    "65 features": [{ features: Array.from({ length: 65 }, (_, i) => `f${i}/1`) }, "CAUSEWAY_FRAME_MALFORMED"],
    "feature without version": [{ features: ["mls"] }, "CAUSEWAY_FRAME_MALFORMED"],
    "no security feature": [{ features: ["agp/1"] }, "CAUSEWAY_ATTACHMENT_FEATURE_MISSING"],
  };
  for (const [name, [more, code]] of Object.entries(cases)) {
    test(`${name} is refused, without entry`, () => {
      const machine = gateway();
      const effects = attach(machine, agent, 1, more);
      expect([refusalOf(effects), effects.some((e) => e.kind === "install"), machine.attachments()]).toEqual([
        code,
        false,
        [],
      ]);
      const error = sent(effects, "error");
      expect(error && decodeFrame(error).value).toMatchObject({ fatal: true, error: { code } });
    });
  }

  test("bytes that are no hello", () => {
    const machine = gateway();
    machine.handleLinkUp(at(0), asLinkId(1), agent.peer, binding);
    machine.handleHello(at(0), asLinkId(1), Uint8Array.of(0x0a, 0x99));
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_FRAME_MALFORMED");
  });

  test("a certificate of another role", () => {
    expect(refusalOf(attach(gateway(), identity("blue.example/a", "gateway"), 1))).toBe("CAUSEWAY_IDENTITY_ROLE_WRONG");
  });

  test("a nonce is taken once, on whatever link", () => {
    const machine = gateway();
    const nonce = new Uint8Array(32).fill(9);
    expect(refusalOf(attach(machine, agent, 1, { nonce }))).toBeUndefined();
    expect(refusalOf(attach(machine, agent, 2, { nonce, attachmentSequence: 6n }))).toBe(
      "CAUSEWAY_ATTACHMENT_PROOF_INVALID",
    );
  });

  test("a second hello ends an attachment", () => {
    const machine = gateway();
    attach(machine, agent, 1);
    machine.handleHello(at(1), asLinkId(1), hello(agent, { attachmentSequence: 9n }));
    const effects = machine.drain();
    expect([refusalOf(effects), effects.find((e) => e.kind === "remove")]).toEqual([
      "CAUSEWAY_FRAME_UNEXPECTED",
      expect.objectContaining({ kind: "remove" }),
    ]);
  });
});

describe("proof", () => {
  const challenged = (): { machine: GatewayAttachments; helloBytes: Uint8Array; challenge: Uint8Array } => {
    const machine = gateway();
    const helloBytes = hello(agent);
    machine.handleLinkUp(at(0), asLinkId(1), agent.peer, binding);
    machine.handleHello(at(0), asLinkId(1), helloBytes);
    return { machine, helloBytes, challenge: bodyOf(sent(machine.drain(), "attachChallenge") ?? new Uint8Array(0)) };
  };

  test("a wrong one, one of another key, channel or hello is refused, and there is no second try [AAP-63]", () => {
    for (const bend of [
      (h: Uint8Array, c: Uint8Array) => proofOf(identity("blue.example/a", "agent", { key: "2" }), h, c),
      (h: Uint8Array, c: Uint8Array) => proofOf(agent, h, c, new Uint8Array(32)),
      (_: Uint8Array, c: Uint8Array) => proofOf(agent, hello(agent), c),
      (h: Uint8Array) => proofOf(agent, h, new Uint8Array(40)),
      () => create(aap.AttachProofSchema, {}),
    ]) {
      const { machine, helloBytes, challenge } = challenged();
      machine.handleProof(at(0), asLinkId(1), bend(helloBytes, challenge));
      expect(refusalOf(machine.drain())).toBe("CAUSEWAY_ATTACHMENT_PROOF_INVALID");
      machine.handleProof(at(0), asLinkId(1), proofOf(agent, helloBytes, challenge));
      expect([machine.drain(), machine.attachments()]).toEqual([[], []]);
    }
  });

  test("the entry is installed before the lease is sent, and only then [AAP-35]", () => {
    const { machine, helloBytes, challenge } = challenged();
    expect(machine.attachmentOf(asLinkId(1))).toBeUndefined();
    machine.handleProof(at(0), asLinkId(1), proofOf(agent, helloBytes, challenge));
    expect(machine.drain().map((e) => e.kind)).toEqual(["install", "send", "event"]);
    expect(machine.attachmentOf(asLinkId(1))).toMatchObject({ state: "attached", peer: agent.peer });
  });

  test("of two handshakes of one instance the newer sequence wins, whichever ends first [AAP-95]", () => {
    const machine = gateway();
    const [older, newer] = [hello(agent, { attachmentSequence: 1n }), hello(agent, { attachmentSequence: 2n })];
    const challenges = [older, newer].map((bytes, i) => {
      machine.handleLinkUp(at(0), asLinkId(i), agent.peer, binding);
      machine.handleHello(at(0), asLinkId(i), bytes);
      return bodyOf(sent(machine.drain(), "attachChallenge") ?? new Uint8Array(0));
    });
    machine.handleProof(at(0), asLinkId(1), proofOf(agent, newer, challenges[1] ?? newer));
    expect(machine.drain().some((e) => e.kind === "install")).toBe(true);
    machine.handleProof(at(0), asLinkId(0), proofOf(agent, older, challenges[0] ?? older));
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_ATTACHMENT_OUTDATED");
    expect(machine.attachments().map((a) => a.link)).toEqual([1]);
  });
});

describe("lease", () => {
  test("renewal extends it; renewal after its end is refused; without renewal the entry goes [AAP-65]", () => {
    const machine = gateway({ models: ["stateful"], removeAfterStaleMs: 600_000 });
    attach(machine, agent, 1);
    machine.handleHeartbeat(at(60_000), asLinkId(1), heartbeat(machine, 1, 1n));
    machine.handleTimeout(at(150_000));
    machine.handleHeartbeat(at(359_000), asLinkId(1), heartbeat(machine, 1, 2n));
    expect(sent(machine.drain(), "heartbeatAck")).toBeDefined();
    machine.handleTimeout(at(500_000));
    machine.handleHeartbeat(at(659_001), asLinkId(1), heartbeat(machine, 1, 3n));
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_ATTACHMENT_LEASE_EXPIRED");
    expect(machine.attachments()).toEqual([]);

    const silent = gateway();
    attach(silent, agent, 1, { model: 2 });
    silent.handleTimeout(at(300_000));
    expect([silent.attachments(), silent.drain().some((e) => e.kind === "remove")]).toEqual([[], true]);
  });

  test("a heartbeat with another lease ends the attachment; a repeated one renews nothing", () => {
    const machine = gateway();
    attach(machine, agent, 1);
    machine.handleHeartbeat(at(10), asLinkId(1), heartbeat(machine, 1, 1n));
    machine.drain();
    machine.handleHeartbeat(at(60_000), asLinkId(1), heartbeat(machine, 1, 1n));
    expect([machine.drain(), machine.attachmentOf(asLinkId(1))?.lastSeen]).toEqual([[], 10]);
    machine.handleHeartbeat(
      at(60_000),
      asLinkId(1),
      create(aap.HeartbeatSchema, { leaseId: new Uint8Array(16), sequence: 2n }),
    );
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_ATTACHMENT_LEASE_EXPIRED");
  });

  test("the admin view has agent, instance, model, features, start, lease and last sign [AAP-64]", () => {
    const machine = gateway();
    attach(machine, agent, 1, { advertise: true });
    machine.handleHeartbeat(at(30_000), asLinkId(1), heartbeat(machine, 1, 1n));
    expect(machine.attachments()).toEqual([
      {
        link: 1,
        agentId: agent.id,
        instance: "i",
        peer: agent.peer,
        model: "stateful",
        messagesPerSecondMax: 0,
        features: ["agp/1", "mls/1"],
        attachmentSequence: 5n,
        times: {
          heartbeatMs: 30_000,
          staleAfterMs: 90_000,
          removeAfterStaleMs: 300_000,
          leaseMs: 300_000,
          handshakeMs: 10_000,
        },
        leaseId: expect.any(Uint8Array),
        advertise: true,
        state: "attached",
        condition: "running",
        since: at(0).unix,
        lastSeen: 30_000,
        lastSeenUnix: at(30_000).unix,
      },
    ]);
  });

  test("traffic renews the soft model only, and only traffic of the attached link [AAP-90]", () => {
    const machine = gateway();
    attach(machine, agent, 1, { model: 2 });
    attach(machine, identity("blue.example/b", "agent"), 2);
    for (const link of [1, 2, 3]) machine.handleTraffic(at(50_000), asLinkId(link));
    expect(machine.attachments().map((a) => [a.model, a.lastSeen])).toEqual([
      ["soft", 50_000],
      ["stateful", 0],
    ]);
  });

  test("what is not attached is told so, whatever it sends", () => {
    const machine = gateway();
    machine.handleLinkUp(at(0), asLinkId(1), agent.peer, binding);
    machine.handleHeartbeat(at(0), asLinkId(1), create(aap.HeartbeatSchema, { sequence: 1n }));
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_FRAME_UNEXPECTED");
    machine.handleLinkUp(at(0), asLinkId(2), agent.peer, binding);
    machine.handleSessionEnd(at(0), asLinkId(2), create(aap.SessionEndSchema, {}));
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_ATTACHMENT_REQUIRED");
  });
});

describe("ends", () => {
  test("an operator's detach takes handshakes and attachments that match, and nobody else", () => {
    const machine = gateway();
    const other = identity("blue.example/b", "agent");
    attach(machine, agent, 1);
    attach(machine, other, 2);
    machine.handleLinkUp(at(0), asLinkId(3), agent.peer, binding);
    const count = machine.detach(at(1), (peer) => peer.spiffeId === agent.id, {
      code: "CAUSEWAY_ATTACHMENT_DETACHED",
      message: "out",
    });
    const closed = machine.drain().flatMap((e) => (e.kind === "close" ? [e.link] : []));
    expect([count, closed, machine.attachments().map((a) => a.agentId)]).toEqual([2, [1, 3], [other.id]]);
  });

  test("Session-End takes the entry out at once, before it is answered [AAP-87]", () => {
    const machine = gateway();
    attach(machine, agent, 1);
    machine.handleSessionEnd(at(1), asLinkId(1), create(aap.SessionEndSchema, { reason: "done" }));
    const effects = machine.drain();
    expect(effects.map((e) => e.kind)).toEqual(["remove", "event", "send", "close"]);
    expect(effects[0]).toMatchObject({ cause: undefined, attachment: { agentId: agent.id, state: "ending" } });
    expect([machine.attachments(), machine.attachmentOf(asLinkId(1))]).toEqual([[], undefined]);
  });

  test("after a detach an older handshake cannot bring the attachment back", () => {
    const machine = gateway();
    attach(machine, agent, 1, { attachmentSequence: 8n });
    machine.handleSessionEnd(at(1), asLinkId(1), create(aap.SessionEndSchema, {}));
    machine.handleLinkDown(at(2), asLinkId(1));
    expect(refusalOf(attach(machine, agent, 2, { attachmentSequence: 7n }))).not.toBeUndefined();
    expect(machine.attachments()).toEqual([]);
    machine.drain();
    expect(attach(machine, agent, 3, { attachmentSequence: 9n }).some((e) => e.kind === "install")).toBe(true);
  });

  test("handshakes have a bound of their own", () => {
    const machine = gateway({ handshakesMax: 2 });
    for (const link of [1, 2, 3]) machine.handleLinkUp(at(0), asLinkId(link), agent.peer, binding);
    expect(refusalOf(machine.drain())).toBe("CAUSEWAY_FORWARDING_OVERLOADED");
    machine.handleLinkDown(at(0), asLinkId(1));
    machine.handleLinkUp(at(0), asLinkId(4), agent.peer, binding);
    expect(refusalOf(machine.drain())).toBeUndefined();
    expect(refusalOf(attach(gateway({ instancesPerAgentMax: 0 }), agent, 1))).toBe("CAUSEWAY_LIMIT_COUNT");
  });

  test("a driver's mistakes are misuse", () => {
    const machine = gateway();
    machine.handleLinkUp(at(0), asLinkId(1), agent.peer, binding);
    const misuse = expect.objectContaining({ code: "CAUSEWAY_MISUSE" });
    expect(() => machine.handleLinkUp(at(0), asLinkId(1), agent.peer, binding)).toThrow(misuse);
    expect(() => machine.handleLinkUp(at(0), asLinkId(2), agent.peer, new Uint8Array(31))).toThrow(misuse);
  });
});

test("soft attachments cost less signalling than stateful ones [AAP-92]", () => {
  const acks = (model: 1 | 2, everyMs: number): number => {
    const machine = gateway();
    attach(machine, agent, 1, { model });
    let count = 0;
    for (let ms = everyMs, n = 1n; ms <= 600_000; ms += everyMs, n++) {
      machine.handleTimeout(at(ms));
      machine.handleHeartbeat(at(ms), asLinkId(1), heartbeat(machine, 1, n));
      count += machine.drain().filter((e) => e.kind === "send").length;
    }
    expect(machine.attachments()).toMatchObject([{ state: "attached" }]);
    return count;
  };
  expect([acks(1, 30_000), acks(2, 100_000)]).toEqual([20, 6]);
});

test("every state can be reached, and only a removed link has no way on", () => {
  const reached = new Set(["offered"]);
  for (const state of reached)
    for (const next of Object.values(gatewayTransitions[state as "offered"])) reached.add(next);
  expect([...reached].sort()).toEqual(Object.keys(gatewayTransitions).sort());
  const ends = Object.entries(gatewayTransitions).filter(([, inputs]) => Object.keys(inputs).length === 0);
  expect(ends.map(([state]) => state)).toEqual(["removed"]);
});

test("without a valid proof there is no attachment, whatever frames come in whatever order [AAP-54]", () => {
  const noise = fc.uint8Array({ maxLength: 60 });
  const step = fc.oneof(
    fc.constant("hello"),
    fc.constant("stranger"),
    fc.constant("proof"),
    fc.constant("heartbeat"),
    fc.constant("traffic"),
    fc.constant("end"),
    fc.constant("time"),
    noise,
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.integer({ min: 1, max: 3 })), { maxLength: 30 }), (steps) => {
      const machine = gateway();
      for (const link of [1, 2, 3]) machine.handleLinkUp(at(0), asLinkId(link), agent.peer, binding);
      let ms = 0;
      for (const [what, n] of steps) {
        const link = asLinkId(n);
        if (what === "hello") machine.handleHello(at(ms), link, hello(agent));
        else if (what === "stranger") machine.handleHello(at(ms), link, hello(identity("blue.example/x", "agent")));
        else if (what === "proof")
          machine.handleProof(at(ms), link, create(aap.AttachProofSchema, { signature: new Uint8Array(32).fill(ms) }));
        else if (what === "heartbeat")
          machine.handleHeartbeat(at(ms), link, create(aap.HeartbeatSchema, { sequence: 1n }));
        else if (what === "traffic") machine.handleTraffic(at(ms), link);
        else if (what === "end") machine.handleSessionEnd(at(ms), link, create(aap.SessionEndSchema, {}));
        else if (what === "time") machine.handleTimeout(at((ms += 3_000)));
        else machine.handleHello(at(ms), link, what as Uint8Array);
        expect(machine.drain().filter((e) => e.kind === "install" || e.kind === "update")).toEqual([]);
        expect(machine.attachments()).toEqual([]);
      }
    }),
    { numRuns: 300 },
  );
});

describe("against a naive model", () => {
  interface Held {
    readonly link: number;
    readonly sequence: bigint;
    lastSeen: number;
    isUp: boolean;
  }
  interface Model {
    ms: number;
    links: number;
    readonly held: Map<string, Held>;
    readonly floors: Map<string, bigint>;
  }
  interface Real {
    readonly machine: GatewayAttachments;
    /** The table as the effects tell it. */
    readonly table: Map<number, string>;
  }
  const names = ["a", "b"];
  const identities = new Map(names.map((n) => [n, identity(`blue.example/${n}`, "agent")]));
  const apply = (r: Real): void => {
    for (const e of r.machine.drain()) {
      if (e.kind === "install") {
        expect([...r.table.values()]).not.toContain(e.attachment.agentId);
        r.table.set(e.attachment.link, e.attachment.agentId);
      }
      if (e.kind === "update") expect(r.table.has(e.attachment.link)).toBe(true);
      if (e.kind === "remove") expect(r.table.delete(e.attachment.link)).toBe(true);
    }
  };
  const check = (m: Model, r: Real): void => {
    apply(r);
    const expected = [...m.held].map(([name, h]) => [
      `spiffe://blue.example/${name}`,
      h.link,
      h.isUp && m.ms < h.lastSeen + 90_000 ? "attached" : "stale",
    ]);
    expect(
      r.machine
        .attachments()
        .map((a) => [a.agentId, a.link, a.state])
        .sort(),
    ).toEqual(expected.sort());
    expect(new Map([...r.table].map(([link, id]) => [id, link]))).toEqual(
      new Map(expected.map(([id, link]) => [id, link])),
    );
    const deadline = r.machine.deadline();
    if (m.held.size > 0) expect(deadline).toBeDefined();
    if (deadline !== undefined) expect(deadline).toBeGreaterThan(m.ms);
  };
  const drop = (m: Model, name: string): void => {
    const held = m.held.get(name);
    if (held === undefined) return;
    m.held.delete(name);
    m.floors.set(name, held.sequence);
  };
  const command = (text: string, run: (m: Model, r: Real) => void): fc.Command<Model, Real> => ({
    check: () => true,
    run: (m, r) => {
      run(m, r);
      check(m, r);
    },
    toString: () => text,
  });
  const who = fc.constantFrom(...names);
  const commands = [
    fc.tuple(who, fc.bigInt(1n, 6n)).map(([name, sequence]) =>
      command(`attach ${name} ${sequence}`, (m, r) => {
        const link = ++m.links;
        const effects = attach(
          r.machine,
          identities.get(name) ?? agent,
          link,
          { attachmentSequence: sequence },
          at(m.ms),
        );
        const floor = m.held.get(name)?.sequence ?? m.floors.get(name) ?? -1n;
        const isTaken = sequence > floor;
        expect(effects.some((e) => e.kind === "install")).toBe(isTaken);
        for (const e of effects) {
          if (e.kind === "remove") r.table.delete(e.attachment.link);
          if (e.kind === "install") r.table.set(e.attachment.link, e.attachment.agentId);
        }
        if (!isTaken) return;
        drop(m, name);
        m.held.set(name, { link, sequence, lastSeen: m.ms, isUp: true });
      }),
    ),
    who.map((name) =>
      command(`heartbeat ${name}`, (m, r) => {
        const held = m.held.get(name);
        if (held === undefined || !held.isUp) return;
        r.machine.handleHeartbeat(at(m.ms), asLinkId(held.link), heartbeat(r.machine, held.link, BigInt(m.ms + 1)));
        if (m.ms > held.lastSeen + 300_000) drop(m, name);
        else held.lastSeen = m.ms;
      }),
    ),
    who.map((name) =>
      command(`end ${name}`, (m, r) => {
        const held = m.held.get(name);
        if (held === undefined || !held.isUp) return;
        r.machine.handleSessionEnd(at(m.ms), asLinkId(held.link), create(aap.SessionEndSchema, {}));
        drop(m, name);
      }),
    ),
    who.map((name) =>
      command(`lose ${name}`, (m, r) => {
        const held = m.held.get(name);
        if (held === undefined || !held.isUp) return;
        const isStale = m.ms >= held.lastSeen + 90_000;
        r.machine.handleLinkDown(at(m.ms), asLinkId(held.link));
        held.isUp = false;
        // The clock of the removal runs from the loss, unless it was stale already.
        if (!isStale) held.lastSeen = m.ms - 90_000;
      }),
    ),
    fc.constantFrom(1_000, 45_000, 90_000, 200_000).map((step) =>
      command(`advance ${step}`, (m, r) => {
        m.ms += step;
        // Due times are met exactly: the driver wakes the machine at each deadline.
        for (let due = r.machine.deadline(); due !== undefined && due <= m.ms; due = r.machine.deadline())
          r.machine.handleTimeout(at(due));
        for (const [name, held] of [...m.held]) if (m.ms >= held.lastSeen + 390_000) drop(m, name);
      }),
    ),
  ];

  test("attachments, table and time", () => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 50 }), (cmds) => {
        fc.modelRun(
          () => ({
            model: { ms: 0, links: 0, held: new Map(), floors: new Map() },
            real: { machine: gateway(), table: new Map() },
          }),
          cmds,
        );
      }),
      { numRuns: 300 },
    );
  });
});

test("the lease that is sent is wrapped byte for byte as signed", () => {
  const effects = attach(gateway(), agent, 1);
  const frame = sent(effects, "attachLease") ?? new Uint8Array(0);
  expect(wrapFrame(FrameKind.attachLease, bodyOf(frame))).toEqual(frame);
  expect(gatewayIdentity.peer.gateway?.uri).toBeDefined();
});
