/** Subscriptions of Level-1 gateways, policies, and their limits (seed 003, sections 4.5.1 and 4.5.3). */
import { create } from "@bufbuild/protobuf";
import { parseAgentId } from "@causeway/core-base";
import { amsp } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";
import type { SyncPolicy } from "./policy.ts";

const agent = "blue.example/x/agent";
const star = (...edges: readonly string[]): SyncNetwork => {
  const net = new SyncNetwork();
  net.add("core");
  for (const edge of edges) {
    net.add(edge, { role: "level1" });
    net.connect(edge, "core");
  }
  net.run(1_000);
  return net;
};
const subscribe = (net: SyncNetwork, at: string, tag: string): bigint => {
  let id = 0n;
  net.input(at, (m) => {
    id = m.subscribe(net.now, { tags: [tag] });
  });
  return id;
};
const held = (net: SyncNetwork, at: string): readonly string[] =>
  [...net.machine(at).allRoutes()].map((r) => r.agentId.split("/").at(-1) ?? "").sort();

test("asking twice for a topic makes exactly one subscription, visible with topic and requester [AMSP-64]", () => {
  const net = star("edge");
  expect(subscribe(net, "edge", "hotel")).toBe(subscribe(net, "edge", "hotel"));
  net.run(1_000);
  const topics = [...net.machine("core").subscriptionsOf(net.node("edge").uri).values()];
  expect(topics).toMatchObject([{ tags: ["hotel"], skills: [], all: false }]);
  expect(net.crossings.filter((c) => c.message.body.case === "subscribe").length).toBe(1);
});

test("of two Level-1 gateways only the subscriber gets the record [AMSP-65]", () => {
  const net = star("asks", "silent");
  subscribe(net, "asks", "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(1_000);
  expect(net.machine("asks").peers()[0]).toMatchObject({ received: 1 });
  expect(net.machine("silent").peers()[0]).toMatchObject({ received: 0, recordsIn: 0 });
});

test("a change goes to the Level-2 gateway first, and from there to the others [AMSP-66]", () => {
  const net = star("origin", "other");
  net.add("far");
  net.connect("core", "far");
  subscribe(net, "other", "hotel");
  net.run(1_000);
  net.announce("origin", agent, { tags: ["hotel"] });
  net.run(1_000);
  net.setStatus("origin", agent, "offline");
  net.run(1_000);
  const way = net.crossings.flatMap(({ from, to, message: { body } }) =>
    body.case === "update" ? [`${from} ${to}`] : [],
  );
  expect(way).toEqual(["origin core", "core other", "core far", "origin core", "core other", "core far"]);
});

test("with ten Level-1 gateways and three subscribers exactly those three get a change, once each [AMSP-67]", () => {
  const names = Array.from({ length: 10 }, (_, i) => `edge${i}`);
  const net = star(...names);
  for (const name of ["edge1", "edge4", "edge7"]) subscribe(net, name, "hotel");
  net.announce("edge0", agent, { tags: ["hotel"] });
  net.run(1_000);
  const before = net.crossings.length;
  net.setStatus("edge0", agent, "degraded");
  net.run(1_000);
  const changes = net.crossings
    .slice(before)
    .flatMap(({ from, to, message }) => (from === "core" && message.body.case === "update" ? [to] : []));
  expect(changes.sort()).toEqual(["edge1", "edge4", "edge7"]);
});

test("a change reaches every other Level-2 gateway and its subscribers; each takes it once [AMSP-68]", () => {
  const net = new SyncNetwork();
  const core = ["g1", "g2", "g3", "g4"];
  for (const name of core) net.add(name);
  core.forEach((a, i) => core.slice(i + 1).forEach((b) => net.connect(a, b)));
  net.add("edge", { role: "level1" });
  net.connect("edge", "g4");
  subscribe(net, "edge", "hotel");
  net.run(1_000);
  const changes: string[] = [];
  net.announce("g1", agent, { tags: ["hotel"] });
  net.run(1_000);
  net.onEffect = (node, effect) => {
    if (effect.type === "persist" && effect.change.kind === "record") changes.push(node.name);
  };
  net.setStatus("g1", agent, "offline");
  net.run(1_000);
  expect(changes.sort()).toEqual(["edge", "g1", "g2", "g3", "g4"]);
});

test("after 900 s without use a subscription ends: unsubscribed, cache empty, state at the Level-2 gateway freed [AMSP-69]", () => {
  const net = star("edge");
  subscribe(net, "edge", "hotel");
  const used = subscribe(net, "edge", "flight");
  net.announce("core", "blue.example/x/hotel", { tags: ["hotel"] });
  net.announce("core", "blue.example/x/flight", { tags: ["flight"] });
  net.run(800_000);
  net.input("edge", (m) => m.touch(net.now, used));
  expect(held(net, "edge")).toEqual(["flight", "hotel"]);
  net.run(101_000);
  expect(net.crossings.filter((c) => c.message.body.case === "unsubscribe").length).toBe(1);
  expect(held(net, "edge")).toEqual(["flight"]);
  expect([...net.node("edge").store.records.keys()].length).toBe(1);
  expect(net.machine("core").peers()[0]).toMatchObject({ subscriptions: 1, recordsOut: 1 });
  net.run(900_000);
  expect(net.machine("core").peers()[0]).toMatchObject({ subscriptions: 0, recordsOut: 0 });
  expect(net.machine("edge").peers()[0]).toMatchObject({ state: "ESTABLISHED", recordsIn: 0 });
});

test("without subscription nothing comes; after one exactly its records [AMSP-84]", () => {
  const net = new SyncNetwork();
  net.add("publisher", { options: { policy: { mode: () => "publish-subscribe" } } });
  net.add("receiver");
  net.connect("receiver", "publisher");
  net.run(1_000);
  for (let i = 0; i < 6; i++)
    net.announce("publisher", `blue.example/x/a${i}`, { tags: [i % 2 === 0 ? "even" : "odd"] });
  net.run(1_000);
  expect(held(net, "receiver")).toEqual([]);
  subscribe(net, "receiver", "even");
  net.run(1_000);
  expect(held(net, "receiver")).toEqual(["a0", "a2", "a4"]);
});

test("subscriptions survive a reconnect and are freed with the peer [AMSP-85]", () => {
  const net = star("edge");
  subscribe(net, "edge", "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(1_000);
  net.cut("edge", "core");
  expect(net.machine("core").subscriptionsOf(net.node("edge").uri).size).toBe(1);
  net.setStatus("core", agent, "degraded");
  net.heal("edge", "core");
  net.run(5_000);
  expect(net.machine("edge").routes(parseAgentId(agent))[0]?.status).toBe("degraded");
  net.input("core", (m) =>
    m.disconnect(net.now, net.node("edge").uri, { code: "CAUSEWAY_CANCELLED", message: "removed" }),
  );
  expect(net.machine("core").subscriptionsOf(net.node("edge").uri).size).toBe(0);
  expect(net.machine("core").peers()).toEqual([]);
});

test("1,000 subscriptions in a second: 100 are taken, the rest is refused with a retry time, others are served [AMSP-107]", () => {
  const net = star("greedy", "modest");
  for (let i = 0; i < 1_000; i++) subscribe(net, "greedy", `tag${i}`);
  subscribe(net, "modest", "hotel");
  net.announce("core", agent, { tags: ["hotel"] });
  net.run(900);
  expect(net.machine("core").subscriptionsOf(net.node("greedy").uri).size).toBe(100);
  expect(net.route("modest", agent)).toBe("core [core]");
  const refusals = net.crossings.flatMap(({ message: { body } }) => (body.case === "notify" ? [body.value.error] : []));
  expect(refusals.length).toBe(900);
  expect(
    refusals.every((e) => e?.code === "CAUSEWAY_LIMIT_RATE" && e.retryAfterMs > 50_000 && e.retryAfterMs <= 60_000),
  ).toBe(true);
  net.run(61_000);
  expect(net.machine("core").subscriptionsOf(net.node("greedy").uri).size).toBe(200);
});

test("an interest entry is no longer than a name", () => {
  const net = star("edge");
  subscribe(net, "edge", "x".repeat(513));
  subscribe(net, "edge", "short");
  net.run(1_000);
  const codes = net.crossings.flatMap(({ message: { body } }) =>
    body.case === "notify" ? [body.value.error?.details["limit"]] : [],
  );
  expect(codes).toEqual(["nameBytesMax"]);
});

test("at most so many subscriptions are active [AMSP-107]", () => {
  const net = new SyncNetwork();
  net.add("core", { options: { limits: { subscriptionsActiveMax: 3, interestEntriesMax: 2 } } });
  net.add("edge", { role: "level1" });
  net.connect("edge", "core");
  net.run(1_000);
  for (let i = 0; i < 5; i++) subscribe(net, "edge", `tag${i}`);
  net.input("edge", (m) => m.subscribe(net.now, { tags: ["a", "b", "c"] }));
  net.run(1_000);
  const codes = net.crossings.flatMap(({ message: { body } }) =>
    body.case === "notify" ? [body.value.error?.details["limit"]] : [],
  );
  expect(codes).toEqual(["subscriptionsActiveMax", "subscriptionsActiveMax", "interestEntriesMax"]);
});

describe("policies", () => {
  const internal: SyncPolicy["exports"] = (record) =>
    record.tags.includes("internal") ? { denied: "internal records stay here" } : true;
  const play = (policy: SyncPolicy, subscribed: boolean): readonly string[] => {
    const net = new SyncNetwork();
    net.add("sender", { options: { policy: { ...policy, exports: internal } } });
    net.add("receiver");
    net.connect("receiver", "sender");
    if (subscribed) subscribe(net, "receiver", "hotel");
    net.run(1_000);
    net.announce("sender", "blue.example/x/open-hotel", { tags: ["hotel"] });
    net.announce("sender", "blue.example/x/open-other");
    net.announce("sender", "blue.example/x/secret-hotel", { tags: ["hotel", "internal"] });
    net.announce("sender", "blue.example/x/secret-other", { tags: ["internal"] });
    net.run(1_000);
    return held(net, "receiver");
  };

  test.each([
    ["send-filter", ["open-hotel", "open-other"]],
    ["publish-subscribe", ["open-hotel", "secret-hotel"]],
    ["hybrid", ["open-hotel"]],
  ] as const)("one scenario under %s gives the records of the table [AMSP-81]", (mode, expected) => {
    expect(play({ mode: () => mode }, true)).toEqual(expected);
  });

  test.each([
    ["both allow", true, "open-hotel", true],
    ["filter denies", true, "secret-hotel", false],
    ["no subscription", false, "open-hotel", false],
    ["neither", false, "secret-hotel", false],
  ] as const)("hybrid, %s [AMSP-87]", (_name, subscribed, record, expected) => {
    expect(play({ mode: () => "hybrid" }, subscribed).includes(record)).toBe(expected);
  });

  test("a record denied for a neighbour is absent from everything sent to it [AMSP-31]", () => {
    const net = new SyncNetwork();
    net.add("sender", {
      options: {
        policy: {
          exports: (r, peer) =>
            r.tags.includes("internal") && peer.domain !== "blue.example" ? { denied: "internal" } : true,
        },
      },
    });
    net.add("inside");
    net.add("outside", { domain: "green.example" });
    net.connect("sender", "inside");
    net.connect("sender", "outside");
    net.run(1_000);
    net.announce("sender", agent, { tags: ["internal"] });
    net.run(500);
    net.setStatus("sender", agent, "offline");
    net.withdraw("sender", agent);
    net.run(1_000);
    const text = (to: string): string =>
      net.crossings
        .filter((c) => c.to === to)
        .map((c) =>
          Buffer.from(
            JSON.stringify(c.message, (_k, v: unknown) =>
              v instanceof Uint8Array ? Buffer.from(v).toString("latin1") : typeof v === "bigint" ? v.toString() : v,
            ),
          ).toString(),
        )
        .join();
    expect(text("inside")).toContain("/x/agent");
    expect(text("outside")).not.toContain("/x/agent");
  });

  test("rules look at domain, tag, skill and trust; a dry run shows what they would do [AMSP-82]", () => {
    const net = new SyncNetwork();
    net.add("sender");
    const peer = net.add("receiver", { domain: "green.example" });
    net.connect("sender", "receiver");
    net.run(1_000);
    net.announce("sender", "blue.example/x/tagged", { tags: ["internal"] });
    net.announce("sender", "blue.example/x/restricted", { allowedDomains: ["blue.example"] });
    net.announce("sender", "blue.example/x/plain");
    net.run(1_000);
    expect(held(net, "receiver")).toEqual(["plain", "restricted", "tagged"]);
    const strict: SyncPolicy = {
      exports: (r, to) => {
        if (r.tags.includes("internal")) return { denied: "tag internal" };
        if (r.allowedDomains.length > 0 && !r.allowedDomains.includes(to.domain)) return { denied: "trust" };
        if (r.card.skills.some((s) => s.id === "secret")) return { denied: "skill" };
        return true;
      },
    };
    const dryRun = () =>
      net
        .machine("sender")
        .preview(net.now, peer.uri, strict)
        .map(({ route, verdict }) => [route.agentId.split("/").at(-1), verdict === true ? "sent" : verdict.denied]);
    expect(dryRun()).toEqual([
      ["tagged", "tag internal"],
      ["restricted", "trust"],
      ["plain", "sent"],
    ]);
    expect(held(net, "receiver")).toEqual(["plain", "restricted", "tagged"]);
    net.input("sender", (m) => m.setPolicy(net.now, strict));
    net.run(1_000);
    expect(held(net, "receiver")).toEqual(["plain"]);
  });

  test("a record is shown to the domains that it names and to no other, also behind them", () => {
    const net = new SyncNetwork();
    net.add("blue");
    net.add("green", { domain: "green.example" });
    net.add("red", { domain: "red.example" });
    net.line("blue", "green", "red");
    net.run(1_000);
    net.announce("blue", agent, { visibleDomains: ["green.example"] });
    net.run(1_000);
    expect([held(net, "green"), held(net, "red")]).toEqual([["agent"], []]);
  });

  test("received and sent view of each peer, and the reason for every withheld record [AMSP-74]", () => {
    const net = new SyncNetwork();
    net.add("a", { options: { policy: { exports: internal } } });
    const b = net.add("b");
    const edge = net.add("edge", { role: "level1" });
    net.connect("a", "b");
    net.connect("edge", "a");
    net.run(1_000);
    net.announce("a", "blue.example/x/open");
    net.announce("a", "blue.example/x/secret", { tags: ["internal"] });
    net.announce("b", "blue.example/x/theirs");
    net.run(1_000);
    expect(net.machine("a").peers()).toMatchObject([
      { name: b.uri, recordsIn: 1, recordsOut: 1 },
      { name: edge.uri, recordsIn: 0, recordsOut: 0 },
    ]);
    const why = (name: string, origin: string, to: typeof b.uri) => {
      const verdict = net
        .machine("a")
        .explainExport(net.now, parseAgentId(`blue.example/x/${name}`), net.node(origin).uri, to);
      return verdict === true ? "sent" : verdict.denied;
    };
    expect([
      why("open", "a", b.uri),
      why("secret", "a", b.uri),
      why("theirs", "b", b.uri),
      why("open", "a", edge.uri),
    ]).toEqual([
      "sent",
      "internal records stay here",
      "it was learned from this peer",
      "the peer has no subscription for it",
    ]);
    expect(net.machine("a").ways(parseAgentId("blue.example/x/theirs"), b.uri)).toMatchObject([
      { via: b.uri, path: [b.uri] },
    ]);
  });
});

test("a Level-1 gateway drops what arrives after it unsubscribed", () => {
  const net = star("edge");
  const id = subscribe(net, "edge", "hotel");
  net.run(1_000);
  net.announce("core", agent, { tags: ["hotel"] });
  net.input("edge", (m) => m.unsubscribe(net.now, id));
  net.run(2_000);
  expect([held(net, "edge"), net.node("edge").store.records.size]).toEqual([[], 0]);
  expect(net.machine("edge").peers()[0]).toMatchObject({ state: "ESTABLISHED" });
});

test("a subscription to a gateway that serves none is refused", () => {
  const net = star("edge");
  net.inject(
    "core",
    "edge",
    create(amsp.MessageSchema, { body: { case: "subscribe", value: { id: 1n, interest: { all: true } } } }),
  );
  net.run(1_000);
  const codes = net.crossings.flatMap(({ message: { body } }) =>
    body.case === "notify" ? [body.value.error?.code] : [],
  );
  expect(codes).toEqual(["CAUSEWAY_UNSUPPORTED"]);
});
