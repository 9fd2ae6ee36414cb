/** Sessions: every transition, opening, resume, flow control, silence, end (AMSP-99, AMSP-102, C-12). */
import { create } from "@bufbuild/protobuf";
import { parseAgentId } from "@causeway/core-base";
import { amsp } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";
import { nextPeerState, type PeerEvent, type PeerState, sessionTable } from "./session-table.ts";

const agent = "blue.example/x/agent";
const message = (body: NonNullable<Parameters<typeof create<typeof amsp.MessageSchema>>[1]>["body"]): amsp.Message =>
  create(amsp.MessageSchema, body === undefined ? {} : { body });
const pairOf = (more: Parameters<SyncNetwork["add"]>[1] = {}) => {
  const net = new SyncNetwork();
  const a = net.add("a", more);
  const b = net.add("b");
  net.connect("a", "b");
  net.run(1_000);
  const state = (of: "a" | "b") => net.machine(of).peers()[0]?.state;
  return { net, a, b, state };
};
const moves = (net: SyncNetwork, name: string): readonly string[] =>
  net.node(name).events.flatMap((e) => (e.name === "sync.peer_changed" ? [`${e.from} ${e.to}`] : []));

describe("the state table [AMSP-99]", () => {
  test("has every state, reaches every state, and keeps what may not happen out", () => {
    const states = Object.keys(sessionTable) as PeerState[];
    expect(states).toEqual([
      "IDLE",
      "CONNECTING",
      "HELLO_SENT",
      "SYNCING",
      "ESTABLISHED",
      "RESYNC",
      "OFFLINE",
      "CLOSED",
    ]);
    const reached = new Set<PeerState>(["IDLE"]);
    for (let before = -1; before !== reached.size; ) {
      before = reached.size;
      for (const state of reached) for (const to of Object.values(sessionTable[state])) reached.add(to);
    }
    expect(reached.size).toBe(8);
    const impossible: readonly (readonly [PeerState, PeerEvent])[] = [
      ["IDLE", "synced"],
      ["CONNECTING", "synced"],
      ["HELLO_SENT", "synced"],
      ["OFFLINE", "synced"],
      ["CLOSED", "synced"],
      ["ESTABLISHED", "hello-agreed"],
      ["SYNCING", "hello-agreed"],
      ["IDLE", "lost"],
    ];
    for (const [state, event] of impossible)
      expect([state, event, nextPeerState(state, event)]).toEqual([state, event, undefined]);
    for (const state of states) expect(nextPeerState(state, "leave")).toBe("CLOSED");
  });

  test("dialler and accepter go their ways to ESTABLISHED", () => {
    const { net } = pairOf();
    expect(moves(net, "a")).toEqual([
      "IDLE CONNECTING",
      "CONNECTING HELLO_SENT",
      "HELLO_SENT SYNCING",
      "SYNCING ESTABLISHED",
    ]);
    expect(moves(net, "b")).toEqual(["IDLE CONNECTING", "CONNECTING SYNCING", "SYNCING ESTABLISHED"]);
  });

  test("simultaneous open: the session that the lower name dialled stays, at both ends", () => {
    for (const first of [0, 1]) {
      const net = new SyncNetwork();
      net.add("a");
      net.add("b");
      net.connect("a", "b");
      net.connect("b", "a");
      net.settle((all) => all[all.length > 1 ? first : 0]);
      net.run(60_000);
      for (const name of ["a", "b"]) expect(net.machine(name).peers()).toMatchObject([{ state: "ESTABLISHED" }]);
      const hellos = net.crossings.flatMap((c) => (c.message.body.case === "hello" ? [c.from] : []));
      expect(hellos[0]).toBe(hellos.filter((h) => h === "a").length > 0 ? hellos[0] : "a");
      net.announce("a", agent);
      net.run(1_000);
      expect(net.updates("a", "b").length).toBe(1);
    }
  });

  test("once one session of two that were dialled stays, nobody dials any more", () => {
    for (const first of [0, 1]) {
      const net = new SyncNetwork();
      net.add("a");
      net.add("b");
      net.connect("a", "b");
      net.connect("b", "a");
      net.settle((all) => all[all.length > 1 ? first : 0]);
      net.run(10_000);
      let dials = 0;
      net.onEffect = (_node, { type }) => void (dials += type === "dial" ? 1 : 0);
      net.run(120_000);
      expect(dials).toBe(0);
    }
  });

  test("a peer that connects anew before its Hello is still known", () => {
    const net = new SyncNetwork();
    const { peer } = net.add("a");
    net.add("b");
    for (const session of [900, 901]) net.input("b", (m) => m.handleOpened(net.now, { session, peer }));
    expect(net.machine("b").peers()).toMatchObject([{ name: net.node("a").uri, state: "CONNECTING" }]);
  });

  test("no Hello in time ends the session, and the dialler tries again", () => {
    const net = new SyncNetwork();
    net.add("a");
    const mute = net.add("mute");
    mute.isPuppet = true;
    net.connect("a", "mute");
    net.run(10_500);
    expect(moves(net, "a").slice(0, 3)).toEqual(["IDLE CONNECTING", "CONNECTING HELLO_SENT", "HELLO_SENT IDLE"]);
    mute.isPuppet = false;
    net.run(40_000);
    expect(net.machine("a").peers()).toMatchObject([{ state: "ESTABLISHED" }]);
  });

  test("a message before Hello ends the session", () => {
    const net = new SyncNetwork();
    net.add("a");
    const early = net.add("early");
    early.isPuppet = true;
    early.targets.add("a");
    net.node("a").machine.handleOpened(net.now, { session: 77, peer: early.peer });
    net.node("a").machine.handleMessage(net.now, 77, message({ case: "keepAlive", value: {} }));
    expect(
      net
        .node("a")
        .machine.drain()
        .find((e) => e.type === "close"),
    ).toMatchObject({ error: { code: "CAUSEWAY_FRAME_UNEXPECTED" } });
  });

  test("bytes that are no message end the session with a reason", () => {
    const { net, state } = pairOf();
    net.input("b", (m) => m.handleMalformed(net.now, 1));
    net.run(100);
    expect(state("b")).toBe("OFFLINE");
    expect(net.crossings.at(-1)?.message.body).toMatchObject({
      case: "close",
      value: { error: { code: "CAUSEWAY_FRAME_MALFORMED" } },
    });
    net.run(5_000);
    expect(state("b")).toBe("ESTABLISHED");
  });

  test("a message type of a later version is answered and changes nothing", () => {
    const { net, state } = pairOf();
    net.inject("a", "b", message(undefined));
    net.run(100);
    expect([state("a"), state("b")]).toEqual(["ESTABLISHED", "ESTABLISHED"]);
    expect(net.crossings.at(-1)?.message.body).toMatchObject({
      case: "notify",
      value: { error: { code: "CAUSEWAY_FRAME_UNKNOWN" } },
    });
  });

  test("a lost message leaves no permanent difference: the view is asked for again [AMSP-33]", () => {
    const { net, state } = pairOf();
    net.announce("a", "blue.example/x/first");
    net.run(1_000);
    // The update is taken off the wire.
    net.announce("a", "blue.example/x/lost");
    net.drop("a", "b");
    net.run(1_000);
    net.announce("a", "blue.example/x/second");
    net.run(1_000);
    expect(moves(net, "b").slice(-2)).toEqual(["ESTABLISHED RESYNC", "RESYNC ESTABLISHED"]);
    expect([state("b"), net.node("b").table.size]).toEqual(["ESTABLISHED", 3]);
  });

  test("a last message that is lost is found by the audit [AMSP-33]", () => {
    const { net } = pairOf();
    net.announce("a", agent);
    net.run(1_000);
    net.announce("a", "blue.example/x/lost");
    net.drop("a", "b");
    net.crossings.length = 0;
    // The sender believes that it was acknowledged.
    net.inject("b", "a", message({ case: "ack", value: { number: 2n } }));
    net.run(61_000);
    expect(net.node("b").table.size).toBe(2);
    expect(net.node("b").events.some((e) => e.name === "sync.view_mismatch")).toBe(true);
  });

  test("views that differ again and again end the session", () => {
    const { net, a } = pairOf();
    net.run(1_000);
    a.isPuppet = true;
    for (let i = 0; i < 4; i++) {
      if (i > 0)
        net.inject("a", "b", message({ case: "snapshotBegin", value: { full: true, token: Uint8Array.of(i) } }));
      net.inject("a", "b", message({ case: "snapshotEnd", value: { digest: Uint8Array.of(i) } }));
    }
    net.run(100);
    const codes = net.crossings.flatMap(({ message: { body } }) =>
      body.case === "close" ? [body.value.error?.code] : [],
    );
    expect(codes).toEqual(["CAUSEWAY_SYNC_VIEW_MISMATCH"]);
  });
});

describe("loss and return (C-12)", () => {
  test("an offline peer's agents are inapplicable and come back without being sent again; others hear after a moment", () => {
    const net = new SyncNetwork();
    for (const name of ["a", "b", "c"]) net.add(name);
    net.line("a", "b", "c");
    net.announce("a", agent);
    net.run(1_000);
    net.cut("a", "b");
    net.run(1_000);
    expect([net.route("b", agent), net.route("c", agent)]).toEqual(["a [a] inapplicable", "b [b a]"]);
    net.run(2_000);
    expect(net.route("c", agent)).toBeUndefined();
    const sent = net.updates("a", "b").length;
    net.heal("a", "b");
    net.run(31_000);
    expect([net.route("b", agent), net.route("c", agent)]).toEqual(["a [a]", "b [b a]"]);
    expect(net.updates("a", "b").length).toBe(sent);
    // The body was still there: one way had been taken back, not the record.
    expect(net.updates("b", "c").at(-1)?.record).toBeUndefined();
  });

  test("a short loss is not told to others (graceful restart)", () => {
    const net = new SyncNetwork();
    for (const name of ["a", "b", "c"]) net.add(name);
    net.line("a", "b", "c");
    net.announce("a", agent);
    net.run(1_000);
    const before = net.crossings.filter((c) => c.to === "c").length;
    net.cut("a", "b", false);
    net.run(1_900);
    expect(net.route("b", agent)).toBe("a [a]");
    expect(net.crossings.filter((c) => c.to === "c").length).toBe(before);
  });

  test("Close with leaving removes at once what only this peer told; other ways stay", () => {
    const net = new SyncNetwork();
    for (const name of ["a", "b", "c"]) net.add(name);
    net.add("edge", { role: "level1" });
    for (const up of ["a", "b"]) net.connect("edge", up);
    net.line("a", "c", "b");
    net.announce("edge", agent);
    net.announce("a", "blue.example/x/only-a");
    net.run(1_000);
    net.input("a", (m) => m.leave(net.now));
    net.run(1_000);
    expect([net.route("c", agent), net.route("c", "blue.example/x/only-a")]).toEqual(["b [b]", undefined]);
    expect(net.node("c").store.records.size).toBe(1);
    expect(net.node("edge").store.records.size).toBe(1);
  });

  test("a peer that does not come back within a day is forgotten", () => {
    const { net } = pairOf();
    net.announce("a", agent);
    net.run(1_000);
    net.crash("a");
    net.run(86_300_000);
    expect(net.node("b").store.records.size).toBe(1);
    net.run(200_000);
    expect([net.node("b").store.records.size, net.machine("b").peers()]).toEqual([0, []]);
  });

  test("a peer is not forgotten in the middle of its return, and no transport is left behind", () => {
    const net = new SyncNetwork();
    const { peer } = net.add("a");
    net.add("b", { options: { limits: { offlineKeepMs: 5_000, helloMs: 2_000 } } });
    net.connect("a", "b");
    net.announce("a", agent);
    net.run(1_000);
    net.crash("a");
    net.run(4_500);
    const closed: number[] = [];
    net.onEffect = (_node, effect) => void (effect.type === "close" && closed.push(effect.session));
    net.input("b", (m) => m.handleOpened(net.now, { session: 900, peer }));
    net.run(1_000);
    expect(net.machine("b").peers()).toMatchObject([{ recordsIn: 1 }]);
    net.run(10_000);
    expect([closed, net.machine("b").peers()]).toEqual([[900], []]);
  });

  test("keep-alives leave at the negotiated interval, busy or idle, and silence of 90 s means offline", () => {
    const { net, state } = pairOf({ options: { limits: { keepAliveMs: 10_000 } } });
    const from = net.crossings.length;
    for (let second = 0; second < 60; second++) {
      net.announce("a", `blue.example/x/a${second}`);
      net.run(1_000);
    }
    const count = (name: string) =>
      net.crossings.slice(from).filter((c) => c.from === name && c.message.body.case === "keepAlive").length;
    expect([count("a"), count("b")]).toEqual([6, 6]);
    net.freeze("a", "b");
    net.run(80_000);
    expect(state("b")).toBe("ESTABLISHED");
    net.run(11_000);
    expect(state("b")).toBe("OFFLINE");
  });

  test("after a restart the records are still there and only statements are sent again, no bodies", () => {
    const { net } = pairOf();
    for (let i = 0; i < 20; i++) net.announce("a", `blue.example/x/a${i}`);
    net.run(70_000);
    net.crash("b");
    net.restart("b");
    const before = net.updates("a", "b").length;
    net.run(31_000);
    const again = net.updates("a", "b").slice(before);
    expect([again.length, again.filter((u) => u.record !== undefined).length]).toEqual([20, 0]);
    expect(net.node("b").table.size).toBe(20);
  });

  test("a body that is not held after all is asked for", () => {
    const { net, a, b } = pairOf();
    net.announce("a", agent);
    net.run(70_000);
    net.crash("b");
    b.store.records.clear();
    net.restart("b");
    net.run(31_000);
    expect(net.route("b", agent)).toBe("a [a]");
    expect(a.events.filter((e) => e.name === "sync.notified")).toMatchObject([{ code: "CAUSEWAY_SYNC_BODY_MISSING" }]);
  });
});

describe("acknowledgement, flow control, resume [AMSP-102]", () => {
  test("a slow peer does not grow memory: one entry per record waits, and at most the window is out", () => {
    const { net, b } = pairOf();
    b.isPuppet = true;
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 300; i++)
        net.announce("a", `blue.example/x/a${i}`, { revision: BigInt(round + 1), attachment: BigInt(round) });
      net.run(100);
    }
    expect(net.machine("a").peers()).toMatchObject([{ unacknowledged: 256 }]);
    expect(net.machine("a").peers()[0]?.queued).toBeLessThanOrEqual(300);
    expect(net.updates("a", "b").length).toBe(256);
  });

  test("a reconnect goes on after the last number that was processed", () => {
    const { net } = pairOf();
    for (let i = 0; i < 50; i++) net.announce("a", `blue.example/x/a${i}`);
    net.run(1_000);
    net.setStatus("a", "blue.example/x/a0", "degraded");
    net.run(60);
    net.setStatus("a", "blue.example/x/a1", "degraded");
    net.cut("a", "b");
    const before = net.updates("a", "b").length;
    net.heal("a", "b");
    net.run(31_000);
    const sent = net.updates("a", "b").slice(before);
    expect(sent.length).toBeGreaterThan(0);
    expect(sent.length).toBeLessThan(3);
    expect(net.machine("b").routes(parseAgentId("blue.example/x/a1"))[0]?.status).toBe("degraded");
    expect(net.crossings.some(({ message: { body } }) => body.case === "hello" && body.value.resumeNumber >= 50n)).toBe(
      true,
    );
  });

  test("an acknowledgement of what was never sent ends the session", () => {
    const { net } = pairOf();
    net.inject("b", "a", message({ case: "ack", value: { number: 9_999n } }));
    net.run(100);
    expect(net.crossings.at(-1)?.message.body).toMatchObject({
      case: "close",
      value: { error: { code: "CAUSEWAY_FRAME_UNEXPECTED" } },
    });
  });

  test("complete views can be asked for a few times a minute", () => {
    const { net, b } = pairOf();
    b.isPuppet = true;
    for (let i = 0; i < 20; i++) net.inject("b", "a", message({ case: "refresh", value: {} }));
    net.run(100);
    const cases = net.crossings.flatMap((c) => (c.from === "a" ? [c.message.body.case] : []));
    expect(cases.filter((c) => c === "notify").length).toBe(8);
  });

  test("more records than allowed are refused one by one; those held are kept current", () => {
    const net = new SyncNetwork();
    net.add("a");
    net.add("small", { options: { limits: { recordsPerPeerMax: 3 } } });
    net.connect("a", "small");
    for (let i = 0; i < 5; i++) net.announce("a", `blue.example/x/a${i}`);
    net.run(2_000);
    net.setStatus("a", "blue.example/x/a0", "degraded");
    net.run(2_000);
    expect(net.node("small").table.size).toBe(3);
    expect(net.machine("small").routes(parseAgentId("blue.example/x/a0"))[0]?.status).toBe("degraded");
    expect(net.machine("small").peers()).toMatchObject([{ state: "ESTABLISHED", recordsIn: 3 }]);
  });
});

test("two Level-2 gateways with 10,000 disjoint records each hold 20,000 equal ones, although the link is cut three times; then one change is one update [AMSP-70] [AMSP-71]", () => {
  const net = new SyncNetwork();
  const names = ["a", "b"];
  for (const name of names) net.add(name);
  for (const name of names) {
    for (let i = 0; i < 10_000; i++) net.announce(name, `blue.example/${name}/agent${i}`);
  }
  net.connect("a", "b");
  for (let cut = 0; cut < 3; cut++) {
    net.run(700);
    expect(net.node("b").table.size).toBeLessThan(20_000);
    net.cut("a", "b", false);
  }
  net.run(60_000);
  expect([net.machine("a").recordCount(), net.machine("b").recordCount()]).toEqual([20_000, 20_000]);
  expect(Buffer.from(net.machine("a").digest()).equals(net.machine("b").digest())).toBe(true);
  expect(net.updates("a", "b").length + net.updates("b", "a").length).toBeLessThan(22_000);
  net.run(130_000);
  const before = net.crossings.length;
  net.setStatus("a", "blue.example/a/agent77", "degraded");
  net.run(1_000);
  const sent = net.crossings.slice(before).filter((c) => c.message.body.case === "update");
  expect(sent.map((c) => [c.from, c.to])).toEqual([["a", "b"]]);
  expect(sent[0]?.bytes).toBeLessThan(600);
});
