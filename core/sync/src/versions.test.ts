/** Versions, withdrawals, persistence and damping (C-11, C-12, AMSP-29, AMSP-100). */
import { create } from "@bufbuild/protobuf";
import { parseAgentId } from "@causeway/core-base";
import { type Status, signOrigin } from "@causeway/core-records";
import { amsp } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";

const agent = "blue.example/x/agent";

/** A gateway with `count` puppets as neighbours; each may say any version of one record of origin `g0`. */
function audience(count: number) {
  const net = new SyncNetwork();
  const listener = net.add("listener");
  const puppets = Array.from({ length: count }, (_, i) => net.add(`g${i}`));
  for (const { name } of puppets) net.connect(name, "listener");
  net.run(1_000);
  for (const puppet of puppets) puppet.isPuppet = true;
  const { verified } = net.registered(agent);
  const numbers = new Map<number, bigint>();
  const say = (
    who: number,
    version: { epoch: bigint; sequence: bigint },
    withdrawn = false,
    status: Status = "online",
  ): void => {
    const [origin, speaker] = [puppets[0], puppets[who]];
    if (origin === undefined || speaker === undefined) return;
    const statement = {
      agentId: parseAgentId(agent),
      origin: origin.uri,
      version,
      status: withdrawn ? ("deregistered" as const) : status,
      bodyDigest: withdrawn ? new Uint8Array() : verified.digest,
      at: net.now.unix,
      withdrawn,
      attachmentSequence: 1n,
    };
    const number = (numbers.get(who) ?? 0n) + 1n;
    numbers.set(who, number);
    const path = who === 0 ? [origin.uri] : [speaker.uri, origin.uri];
    const value = create(amsp.UpdateSchema, {
      number,
      origin: signOrigin(origin.signer, statement),
      path: { gateways: path },
      ...(!withdrawn && { record: verified.signed }),
    });
    net.inject(speaker.name, "listener", create(amsp.MessageSchema, { body: { case: "update", value } }));
  };
  return { net, listener, say };
}

describe("older never replaces newer, in any order [AMSP-100]", () => {
  test("whoever says what first, the newest version stands at the end", () => {
    const said = fc.record({
      who: fc.nat(2),
      epoch: fc.integer({ min: 1, max: 2 }),
      sequence: fc.integer({ min: 1, max: 6 }),
      isLast: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(said, { minLength: 1, maxLength: 12 }), fc.boolean(), (statements, endsWithdrawn) => {
        const { net, listener, say } = audience(3);
        const value = (s: { epoch: number; sequence: number }): number => s.epoch * 100 + s.sequence;
        const newest = Math.max(...statements.map(value));
        let held = 0;
        for (const s of statements) {
          // One version is one statement: the newest is a withdrawal at every speaker, or at none.
          say(s.who, { epoch: BigInt(s.epoch), sequence: BigInt(s.sequence) }, endsWithdrawn && value(s) === newest);
          net.settle();
          const [stored] = [...listener.store.records.values()];
          const now = stored === undefined ? 0 : Number(stored.epoch) * 100 + Number(stored.sequence);
          expect(now).toBeGreaterThanOrEqual(held);
          held = now;
        }
        expect(held).toBe(newest);
        expect(listener.table.size).toBe(endsWithdrawn ? 0 : 1);
      }),
      { numRuns: 150 },
    );
  });

  test("a withdrawn record stays away: older updates come and change nothing, for 24 h", () => {
    const { net, listener, say } = audience(2);
    say(0, { epoch: 1n, sequence: 5n });
    say(0, { epoch: 1n, sequence: 6n }, true);
    net.run(100);
    say(1, { epoch: 1n, sequence: 5n });
    say(1, { epoch: 1n, sequence: 4n });
    net.run(100);
    expect([listener.table.size, [...listener.store.records.values()].map((r) => r.withdrawn)]).toEqual([0, [true]]);
  });

  test("tombstones go after 24 h", () => {
    const net = new SyncNetwork();
    net.add("a");
    net.add("b");
    net.connect("a", "b");
    net.announce("a", agent);
    net.run(1_000);
    net.withdraw("a", agent);
    net.run(86_000_000);
    expect([net.node("a").store.records.size, net.node("b").store.records.size]).toEqual([1, 1]);
    net.run(401_000);
    expect([net.node("a").store.records.size, net.node("b").store.records.size]).toEqual([0, 0]);
  });

  test("a tombstone survives a restart for the rest of its time", () => {
    const net = new SyncNetwork();
    net.add("a");
    net.announce("a", agent);
    net.withdraw("a", agent);
    net.run(80_000_000);
    net.crash("a");
    net.restart("a");
    net.run(6_000_000);
    expect(net.node("a").store.records.size).toBe(1);
    net.run(401_000);
    expect(net.node("a").store.records.size).toBe(0);
  });
});

test("a record is stored before anybody is told, and is there after a crash right after [AMSP-60]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  net.connect("edge", "core");
  net.run(1_000);
  const order: string[] = [];
  net.onEffect = (node, effect) => {
    if (node.name !== "edge") return;
    if (effect.type === "persist" && effect.change.kind === "record") order.push("stored");
    if (effect.type === "send" && effect.message.body.case === "update") order.push("sent");
  };
  net.announce("edge", agent);
  expect(order).toEqual(["stored", "sent"]);
  net.crash("edge");
  net.restart("edge");
  net.run(1_000);
  expect(net.route("edge", agent)).toBe("local []");
  expect(net.route("core", agent)).toBe("edge []");
});

test("a record is on every Level-2 gateway within 200 ms; one that is down gets it later [AMSP-61]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  for (const name of ["up", "down"]) {
    net.add(name);
    net.connect("edge", name);
  }
  net.run(1_000);
  net.crash("down");
  net.announce("edge", agent);
  net.run(200);
  expect([net.route("up", agent), net.route("down", agent)]).toEqual(["edge []", undefined]);
  net.restart("down");
  net.run(31_000);
  expect(net.route("down", agent)).toBe("edge []");
});

test("the table follows insert, change and withdrawal within 100 ms [AMSP-32]", () => {
  const net = new SyncNetwork();
  net.add("a");
  net.add("b");
  net.connect("a", "b");
  net.run(1_000);
  const seen = () => [...net.node("b").table.values()].map((r) => r.status);
  net.announce("a", agent);
  net.run(100);
  expect(seen()).toEqual(["online"]);
  net.setStatus("a", agent, "degraded");
  net.run(100);
  expect(seen()).toEqual(["degraded"]);
  net.withdraw("a", agent);
  net.run(100);
  expect(seen()).toEqual([]);
});

test("an agent that toggles each second is damped, and others are not [AMSP-29]", () => {
  const net = new SyncNetwork();
  net.add("a");
  net.add("b");
  net.connect("a", "b");
  net.run(1_000);
  net.announce("a", agent);
  net.announce("a", "blue.example/x/calm");
  net.run(1_000);
  const before = net.updates("a", "b").length;
  for (let second = 0; second < 120; second++) {
    net.setStatus("a", agent, second % 2 === 0 ? "offline" : "online");
    net.run(1_000);
  }
  expect(net.updates("a", "b").length - before).toBeLessThan(12);
  expect(net.node("a").table.get(`spiffe://${agent} ${net.node("a").uri}`)?.status).toBe("online");
  net.setStatus("a", "blue.example/x/calm", "degraded");
  net.setStatus("a", agent, "offline");
  net.run(200);
  const at = (name: string) => net.machine("b").routes(parseAgentId(`blue.example/x/${name}`))[0]?.status;
  expect(at("calm")).toBe("degraded");
  net.run(60_000);
  expect(at("agent")).toBe("offline");
});

describe("a store that was set back", () => {
  test("a greater epoch makes what is said now newer than what was said before", () => {
    const net = new SyncNetwork();
    net.add("a");
    net.add("b");
    net.connect("a", "b");
    net.announce("a", agent);
    const backup = net.node("a").store.copy();
    net.run(1_000);
    net.setStatus("a", agent, "degraded");
    net.announce("a", "blue.example/x/after");
    net.run(61_000);
    net.crash("a");
    net.run(1_000);
    net.restart("a", backup);
    net.run(40_000);
    net.setStatus("a", agent, "offline");
    net.run(1_000);
    expect(net.machine("b").routes(parseAgentId(agent))[0]).toMatchObject({
      status: "offline",
      version: { epoch: 2n },
    });
    expect(net.route("b", "blue.example/x/after")).toBeUndefined();
    expect(net.node("a").events.some((e) => e.name === "sync.epoch_raised")).toBe(true);
    expect(Buffer.from(net.machine("a").digest()).equals(net.machine("b").digest())).toBe(true);
  });

  test("a claimed epoch beyond reason changes nothing", () => {
    const net = new SyncNetwork();
    const a = net.add("a");
    const liar = net.add("liar");
    net.connect("liar", "a");
    net.run(1_000);
    net.announce("a", agent);
    liar.isPuppet = true;
    const end = create(amsp.SnapshotEndSchema, {
      digest: new Uint8Array(32),
      vector: [{ origin: a.uri, epoch: 2n ** 63n, sequence: 1n }],
    });
    net.inject("liar", "a", create(amsp.MessageSchema, { body: { case: "snapshotEnd", value: end } }));
    net.run(1_000);
    expect(a.machine.routes(parseAgentId(agent))[0]?.version.epoch).toBe(1n);
  });
});

test("a peer that claims versions of ours again and again does not make us say everything again each time", () => {
  const net = new SyncNetwork();
  const a = net.add("a");
  const liar = net.add("liar");
  net.connect("liar", "a");
  net.run(1_000);
  net.announce("a", agent);
  liar.isPuppet = true;
  const claim = (epoch: bigint) => {
    const vector = [{ origin: a.uri, epoch, sequence: 1_000n }];
    const value = create(amsp.SnapshotEndSchema, { digest: new Uint8Array(32), vector });
    net.inject("liar", "a", create(amsp.MessageSchema, { body: { case: "snapshotEnd", value } }));
    net.run(10);
  };
  for (let epoch = 1n; epoch <= 50n; epoch++) claim(epoch);
  expect(a.events.filter((e) => e.name === "sync.epoch_raised")).toHaveLength(1);
  expect(a.machine.routes(parseAgentId(agent))[0]?.version.epoch).toBe(2n);
});

describe("false announcements [AMSP-108]", () => {
  const refused = (net: SyncNetwork): readonly unknown[] =>
    net.crossings.flatMap(({ message: { body } }) => (body.case === "notify" ? [body.value.error?.code] : []));

  test("a gateway without authority over the namespace announces in vain", () => {
    const net = new SyncNetwork();
    net.add("travel", { namespaces: ["travel"] });
    net.add("core");
    net.connect("travel", "core");
    net.run(1_000);
    net.announce("travel", "blue.example/travel/booker");
    net.announce("travel", "blue.example/finance/payer");
    net.run(1_000);
    expect([...net.node("core").table.values()].map((r) => r.agentId)).toEqual(["spiffe://blue.example/travel/booker"]);
    expect(refused(net)).toEqual(["CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED"]);
    expect(net.machine("travel").peers()[0]).toMatchObject({ state: "ESTABLISHED", recordsOut: 1 });
  });

  test("a gateway of another domain cannot announce our agents", () => {
    const net = new SyncNetwork();
    const core = net.add("core");
    const foreign = net.add("foreign", { domain: "green.example" });
    net.connect("foreign", "core");
    net.run(1_000);
    foreign.isPuppet = true;
    const { verified } = net.registered(agent);
    const statement = {
      agentId: parseAgentId(agent),
      origin: foreign.uri,
      version: { epoch: 1n, sequence: 1n },
      status: "online",
      bodyDigest: verified.digest,
      at: net.now.unix,
      withdrawn: false,
      attachmentSequence: 1n,
    } as const;
    const value = create(amsp.UpdateSchema, {
      number: 1n,
      record: verified.signed,
      origin: signOrigin(foreign.signer, statement),
      path: { gateways: [foreign.uri] },
    });
    net.inject("foreign", "core", create(amsp.MessageSchema, { body: { case: "update", value } }));
    net.run(1_000);
    expect([core.table.size, refused(net)]).toEqual([0, ["CAUSEWAY_SYNC_ORIGIN_NOT_ALLOWED"]]);
    expect(() => net.announce("foreign", agent)).not.toThrow();
  });

  test("a gateway announces no agent of another domain itself", () => {
    const net = new SyncNetwork();
    net.add("core");
    expect(() => net.announce("core", "green.example/x/agent")).toThrow("announces its own domain only");
  });
});

describe("an announcement that is taken back", () => {
  test("leaves the record that it replaced, newer than both, or none", () => {
    const net = new SyncNetwork();
    net.add("a");
    net.add("b");
    net.connect("a", "b");
    net.announce("a", agent, { tags: ["first"] });
    net.run(1_000);
    net.announce("a", agent, { tags: ["second"] });
    net.announce("a", "blue.example/x/new");
    net.input("a", (m) => m.undoAnnounce(net.now));
    net.run(1_000);
    expect(net.machine("b").routes(parseAgentId("blue.example/x/new"))).toEqual([]);
    net.announce("a", agent, { tags: ["third"] });
    net.input("a", (m) => m.undoAnnounce(net.now));
    net.run(1_000);
    for (const name of ["a", "b"]) {
      const [route, ...others] = net.machine(name).routes(parseAgentId(agent));
      expect([route?.record.tags, others]).toEqual([["second"], []]);
      // Announced twice, then the new one and its withdrawal, then the third and what it replaced.
      expect(route?.version.sequence).toBe(6n);
    }
    // Once only: there is nothing more to take back.
    net.input("a", (m) => m.undoAnnounce(net.now));
    net.run(1_000);
    expect(net.machine("b").routes(parseAgentId(agent))).toHaveLength(1);
  });
});
