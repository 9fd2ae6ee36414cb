/** What a peer may see or wants changes while messages are on the way: nothing leaks, and nothing is lost for good. */
import { parseAgentId } from "@causeway/core-base";
import { parseOriginStatement } from "@causeway/core-records";
import { expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";

const agent = "blue.example/x/agent";

function edgeAndCore(limits: Record<string, number> = {}): SyncNetwork {
  const net = new SyncNetwork();
  net.add("core", { options: { limits } });
  net.add("edge", { role: "level1" });
  net.connect("edge", "core");
  return net;
}

function subscribe(net: SyncNetwork, tag: string): bigint {
  let id = 0n;
  net.input("edge", (m) => {
    id = m.subscribe(net.now, { tags: [tag] });
  });
  return id;
}

const mismatches = (net: SyncNetwork): number =>
  [...net.nodes.values()].flatMap((node) => node.events).filter((event) => event.name === "sync.view_mismatch").length;

test("unsubscribed and subscribed again before the withdrawals went out, the records come again", () => {
  const net = edgeAndCore({ flushMs: 1_000 });
  net.run(2_000);
  const id = subscribe(net, "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(3_000);
  expect(net.route("edge", agent)).toBe("core [core]");
  // One change goes out, and the next ones wait for a second.
  net.announce("core", "blue.example/x/other", { tags: ["hotel"] });
  net.input("edge", (m) => m.unsubscribe(net.now, id));
  subscribe(net, "hotel");
  net.run(5_000);
  expect(net.route("edge", agent)).toBe("core [core]");
});

test("what was unsubscribed while the peer was away is not subscribed after its return", () => {
  const net = edgeAndCore();
  net.run(1_000);
  const id = subscribe(net, "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(1_000);
  net.cut("edge", "core");
  net.input("edge", (m) => m.unsubscribe(net.now, id));
  net.heal("edge", "core");
  net.run(5_000);
  expect(net.machine("core").subscriptionsOf(net.node("edge").uri).size).toBe(0);
  subscribe(net, "hotel");
  net.run(1_000);
  expect(net.route("edge", agent)).toBe("core [core]");
});

test("a subscription made between our Hello and the peer's reaches the peer", () => {
  const net = edgeAndCore();
  net.announce("core", agent, { tags: ["hotel"] });
  // The dial fires and the transport opens; nothing that is said on it has arrived yet.
  net.run(0, () => undefined);
  for (const move of net.moves()) net.make(move);
  expect(net.machine("edge").peers()[0]?.state).toBe("HELLO_SENT");
  subscribe(net, "hotel");
  net.run(1_000);
  expect(net.route("edge", agent)).toBe("core [core]");
});

test("what was said before our own Hello would end the session: it follows the Hello", () => {
  const net = new SyncNetwork();
  net.add("core");
  net.add("other");
  net.connect("other", "core");
  // The transport is open at both ends, and the accepter has not answered yet.
  net.run(0, () => undefined);
  for (const move of net.moves()) net.make(move);
  expect(net.machine("core").peers()[0]?.state).toBe("CONNECTING");
  net.input("core", (m) => m.subscribe(net.now, { tags: ["hotel"] }));
  net.run(1_000);
  const said = net.crossings.flatMap(({ from, message: { body } }) => (from === "core" ? [body.case] : []));
  expect(said.slice(0, 2)).toEqual(["hello", "subscribe"]);
  expect(net.machine("other").subscriptionsOf(net.node("core").uri).size).toBe(1);
});

test("a complete view removes the doubt that an unsubscription left: the next session goes on again", () => {
  const net = edgeAndCore();
  net.run(1_000);
  const id = subscribe(net, "hotel");
  net.run(1_000);
  net.input("edge", (m) => m.unsubscribe(net.now, id));
  const isFull = (): boolean => {
    const from = net.crossings.length;
    net.cut("edge", "core", false);
    net.run(5_000);
    const views = net.crossings.slice(from).flatMap(({ from: sender, message: { body } }) => {
      return sender === "core" && body.case === "snapshotBegin" ? [body.value.full] : [];
    });
    expect(views).toHaveLength(1);
    return views[0] === true;
  };
  expect([isFull(), isFull()]).toEqual([true, false]);
});

test("a second subscription brings only what the first one did not", () => {
  const net = edgeAndCore();
  net.run(1_000);
  subscribe(net, "hotel");
  net.announce("core", agent, { tags: ["hotel", "flight"] });
  net.announce("core", "blue.example/x/other", { tags: ["flight"] });
  net.run(1_000);
  expect(net.updates("core", "edge")).toHaveLength(1);
  subscribe(net, "flight");
  net.run(1_000);
  expect(net.updates("core", "edge")).toHaveLength(2);
});

test("a subscription that was one too many is tried again, and served once another has ended", () => {
  const net = edgeAndCore({ subscriptionsActiveMax: 1 });
  net.run(1_000);
  const first = subscribe(net, "flight");
  subscribe(net, "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(1_000);
  expect(net.route("edge", agent)).toBeUndefined();
  net.input("edge", (m) => m.unsubscribe(net.now, first));
  net.run(61_000);
  expect(net.route("edge", agent)).toBe("core [core]");
});

test("a withdrawal that crosses an unsubscription leaves both views equal", () => {
  const net = edgeAndCore({ auditMs: 1_000 });
  net.run(1_000);
  const id = subscribe(net, "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(2_000);
  net.withdraw("core", agent);
  net.input("edge", (m) => m.unsubscribe(net.now, id));
  net.run(60_000);
  expect(mismatches(net)).toBe(0);
  expect(net.machine("edge").peers()[0]).toMatchObject({ state: "ESTABLISHED", recordsIn: 0 });
});

test.each(["blue", "green"])(
  "a withdrawal is shown to nobody who might not see the record, after %s restarts either",
  (name) => {
    const net = new SyncNetwork();
    net.add("blue");
    net.add("green", { domain: "green.example" });
    net.line("blue", "green");
    net.run(1_000);
    net.announce("blue", "blue.example/x/open");
    net.announce("blue", agent, { visibleDomains: ["blue.example"] });
    // Until an audit has told the green gateway how far it knows the blue one's versions.
    net.run(70_000);
    net.cut("blue", "green");
    net.withdraw("blue", agent);
    net.crash(name);
    net.heal("blue", "green");
    net.restart(name);
    net.run(5_000);
    const named = net
      .updates("blue", "green")
      .map((update) => parseOriginStatement(update.origin?.statement ?? new Uint8Array()).agentId);
    expect(new Set(named)).toEqual(new Set([parseAgentId("blue.example/x/open")]));
  },
);

test.each([
  { name: "opened", before: ["blue.example"], after: [], isTold: true },
  { name: "closed", before: [], after: ["blue.example"], isTold: false },
])("a withdrawal goes to those who might see the record as it was last: $name before", ({ before, after, isTold }) => {
  const net = new SyncNetwork();
  net.add("blue");
  net.add("green", { domain: "green.example" });
  net.line("blue", "green");
  net.run(1_000);
  net.announce("blue", agent, { visibleDomains: before });
  net.run(1_000);
  net.announce("blue", agent, { visibleDomains: after, revision: 2n });
  net.run(1_000);
  net.withdraw("blue", agent);
  net.run(1_000);
  // Tombstones outlast the connection; a way that only ends would let the record come back from elsewhere.
  expect([...net.node("green").store.records.values()].map(({ withdrawn }) => withdrawn)).toEqual([isTold]);
});
