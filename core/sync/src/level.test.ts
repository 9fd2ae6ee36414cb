/** Levels, roles, identity of peers, and what a Level-1 gateway keeps to itself. */
import { create } from "@bufbuild/protobuf";
import { asUnixMs, isCausewayError, parseAgentId, parseGatewayUri } from "@causeway/core-base";
import { createTestDomain, testNow } from "@causeway/core-identity/testing";
import { amsp } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";
import type { SyncEffect } from "./effects.ts";

const agent = "blue.example/x/agent";
const established = (net: SyncNetwork, name: string): readonly string[] =>
  net
    .machine(name)
    .peers()
    .filter((p) => p.state === "ESTABLISHED")
    .map((p) => net.nameOf(p.name));

test("configured and later found peers end in an established session, also after restart [AMSP-10]", () => {
  const net = new SyncNetwork();
  for (const name of ["a", "configured", "found"]) net.add(name);
  net.connect("a", "configured");
  net.run(1_000);
  net.connect("a", "found");
  net.run(1_000);
  expect(established(net, "a")).toEqual(["configured", "found"]);
  net.crash("a");
  net.run(1_000);
  net.restart("a");
  net.run(1_000);
  expect(established(net, "a")).toEqual(["configured", "found"]);
});

test("a Level-1 gateway reaches its designated Level-2 gateway when that comes up [AMSP-11]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  net.crash("core");
  net.connect("edge", "core");
  net.run(20_000);
  expect(established(net, "edge")).toEqual([]);
  net.restart("core");
  net.run(31_000);
  expect(established(net, "edge")).toEqual(["core"]);
});

test("a third Level-2 gateway joins and meshes with two existing ones [AMSP-12]", () => {
  const net = new SyncNetwork();
  for (const name of ["a", "b"]) net.add(name);
  net.connect("a", "b");
  net.announce("a", agent);
  net.run(1_000);
  net.add("c");
  net.connect("c", "a");
  net.connect("c", "b");
  net.run(1_000);
  expect(["a", "b", "c"].map((name) => established(net, name))).toEqual([
    ["b", "c"],
    ["a", "c"],
    ["a", "b"],
  ]);
  expect(net.route("c", agent)).toBe("a [a]");
});

test("a Level-1 gateway with two uplinks passes nothing from one to the other, and a denied record is on no link [AMSP-23]", () => {
  const net = new SyncNetwork();
  net.add("up1", {
    options: { policy: { exports: (record) => (record.tags.includes("internal") ? { denied: "internal" } : true) } },
  });
  net.add("up2");
  net.add("edge", { role: "level1" });
  net.connect("edge", "up1");
  net.connect("edge", "up2");
  net.input("edge", (m) => m.subscribe(net.now, { all: true }));
  net.run(1_000);
  net.announce("up1", "blue.example/x/one");
  net.announce("up2", "blue.example/x/two");
  net.announce("up1", "blue.example/x/secret", { tags: ["internal"] });
  net.announce("edge", "blue.example/x/own");
  net.run(5_000);
  // Judged from what crossed alone: which agents went where.
  const seen = (from: string, to: string): readonly string[] => {
    const texts = net.crossings
      .filter((c) => c.from === from && c.to === to)
      .map((c) =>
        new TextDecoder().decode(
          c.message.body.case === "update" ? c.message.body.value.origin?.statement : new Uint8Array(),
        ),
      );
    return ["one", "two", "secret", "own"].filter((name) => texts.some((text) => text.includes(`/x/${name}`)));
  };
  expect(seen("up1", "edge")).toEqual(["one"]);
  expect(seen("up2", "edge")).toEqual(["two"]);
  expect(seen("edge", "up1")).toEqual(["own"]);
  expect(seen("edge", "up2")).toEqual(["own"]);
});

test("a Level-1 gateway serves its own agents, refuses to be dialled and answers no queries [AMSP-44]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  net.announce("edge", agent);
  expect(net.route("edge", agent)).toBe("local []");
  net.connect("core", "edge");
  net.run(5_000);
  expect(established(net, "edge")).toEqual([]);
  net.connect("edge", "core");
  net.run(40_000);
  const query = create(amsp.MessageSchema, {
    body: { case: "query", value: { id: 5n, agentId: `spiffe://${agent}`, hops: 1 } },
  });
  net.inject("core", "edge", query);
  net.run(100);
  const results = net.crossings.flatMap(({ message: { body } }) =>
    body.case === "result" ? [body.value.error?.code] : [],
  );
  expect(results).toEqual(["CAUSEWAY_UNSUPPORTED"]);
});

test("a Level-1 gateway keeps its own records and the subscribed ones only [AMSP-45]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  net.connect("edge", "core");
  net.run(1_000);
  net.announce("edge", "blue.example/x/own");
  for (let i = 0; i < 10; i++) net.announce("core", `blue.example/x/far${i}`, { tags: [i < 3 ? "wanted" : "other"] });
  net.input("edge", (m) => m.subscribe(net.now, { tags: ["wanted"] }));
  net.run(1_000);
  const held = [...net.machine("edge").allRoutes()].map((r) => r.agentId.split("/").at(-1));
  expect(held.sort()).toEqual(["far0", "far1", "far2", "own"]);
  expect(net.node("edge").store.records.size).toBe(4);
});

test("a Level-1 gateway reports, queries and subscribes in one session [AMSP-46]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  net.connect("edge", "core");
  net.announce("core", "blue.example/x/far");
  net.run(1_000);
  net.announce("edge", "blue.example/x/own");
  let query = 0n;
  net.input("edge", (m) => {
    query = m.query(net.now, { agentId: parseAgentId("blue.example/x/far") });
  });
  net.input("edge", (m) => m.subscribe(net.now, { skills: ["book-flight"] }));
  net.run(1_000);
  expect(net.route("core", "blue.example/x/own")).toBe("edge []");
  expect(net.node("edge").answers.get(query)).toMatchObject({ found: true });
  expect(net.route("edge", "blue.example/x/far")).toBe("core [core]");
  expect(net.crossings.filter((c) => c.from === "edge" && c.message.body.case === "hello").length).toBe(1);
});

test("a Level-2 gateway with a scope keeps and exports only records in scope [AMSP-47]", () => {
  const net = new SyncNetwork();
  const imports = (record: { readonly tags: readonly string[] }) =>
    record.tags.includes("region-x") || { denied: "outside region-x" };
  net.add("regional", { options: { policy: { imports } } });
  net.add("left");
  net.add("right");
  net.line("left", "regional", "right");
  net.run(1_000);
  net.announce("left", "blue.example/x/inside", { tags: ["region-x"] });
  net.announce("left", "blue.example/x/outside");
  net.run(1_000);
  expect(["inside", "outside"].map((a) => net.route("right", `blue.example/x/${a}`))).toEqual([
    "regional [regional left]",
    undefined,
  ]);
  expect(net.node("regional").store.records.size).toBe(1);
  expect(net.machine("left").peers()[0]).toMatchObject({ state: "ESTABLISHED", recordsOut: 1 });
});

test("a Level-2 gateway never opens a session to a Level-1 gateway [AMSP-54]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  const dials: string[] = [];
  net.onEffect = (node, effect: SyncEffect) => {
    if (effect.type === "dial") dials.push(node.name);
  };
  net.connect("edge", "core");
  for (let i = 0; i < 5; i++) {
    net.run(20_000);
    net.cut("edge", "core");
    net.run(5_000);
    net.heal("edge", "core");
  }
  expect(dials.length).toBeGreaterThan(4);
  expect(new Set(dials)).toEqual(new Set(["edge"]));
});

test("registrations go only upward and subscribed records only downward [AMSP-57]", () => {
  const net = new SyncNetwork();
  net.add("edge", { role: "level1" });
  net.add("core");
  net.connect("edge", "core");
  net.input("edge", (m) => m.subscribe(net.now, { tags: ["far"] }));
  net.run(1_000);
  for (let i = 0; i < 4; i++) net.announce("edge", `blue.example/x/own${i}`, { tags: ["far"] });
  for (let i = 0; i < 3; i++) net.announce("core", `blue.example/x/far${i}`, { tags: ["far"] });
  net.announce("core", "blue.example/x/unwanted");
  net.run(1_000);
  expect(net.machine("edge").peers()[0]).toMatchObject({ sent: 4, received: 3 });
  expect(net.machine("core").peers()[0]).toMatchObject({ sent: 3, received: 4 });
});

describe("identity", () => {
  test("a second gateway with the same name is refused and reported, and the first goes on [AMSP-40]", () => {
    const net = new SyncNetwork();
    const core = net.add("core");
    const first = net.add("twin");
    net.connect("twin", "core");
    net.run(1_000);
    const second = createTestDomain("blue.example").peer("gateway/twin", {
      role: "gateway",
      gateway: { uri: first.uri, level: 2 },
    });
    const effects: SyncEffect[] = [];
    core.machine.handleOpened(net.now, { session: 9_999, peer: second });
    effects.push(...core.machine.drain());
    expect(effects.map((e) => (e.type === "event" ? e.event.name : e.type))).toEqual([
      "send",
      "close",
      "sync.peer_refused",
    ]);
    expect(effects[1]).toMatchObject({ session: 9_999, error: { code: "CAUSEWAY_SYNC_DUPLICATE_GATEWAY" } });
    expect(established(net, "core")).toEqual(["twin"]);
  });

  test("a gateway of another domain does not take the place of one that is away [AMSP-40]", () => {
    const net = new SyncNetwork();
    const core = net.add("core");
    const first = net.add("twin");
    net.connect("twin", "core");
    net.run(1_000);
    net.crash("twin");
    net.run(60_000);
    // Any authority can certify any URI for a gateway of its own.
    const second = createTestDomain("green.example").peer("gateway/twin", {
      role: "gateway",
      gateway: { uri: first.uri, level: 2 },
    });
    core.machine.handleOpened(net.now, { session: 9_999, peer: second });
    expect(core.machine.drain().find((e) => e.type === "close")).toMatchObject({
      session: 9_999,
      error: { code: "CAUSEWAY_SYNC_DUPLICATE_GATEWAY" },
    });
    net.restart("twin");
    net.run(60_000);
    expect(established(net, "core")).toEqual(["twin"]);
  });

  test("a gateway with our own name is refused [AMSP-40]", () => {
    const net = new SyncNetwork();
    const core = net.add("core");
    core.machine.handleOpened(net.now, { session: 1, peer: core.peer });
    expect(core.machine.drain()[1]).toMatchObject({
      type: "close",
      error: { code: "CAUSEWAY_SYNC_DUPLICATE_GATEWAY" },
    });
  });

  test("a Level-1 gateway that claims level 2 is refused [AMSP-103]", () => {
    const net = new SyncNetwork();
    const core = net.add("core");
    const edge = net.add("edge", { role: "level1" });
    core.machine.handleOpened(net.now, { session: 1, peer: edge.peer });
    core.machine.drain();
    const hello = create(amsp.HelloSchema, { version: 1, gatewayUri: edge.uri, role: amsp.PeerRole.LEVEL2 });
    core.machine.handleMessage(net.now, 1, create(amsp.MessageSchema, { body: { case: "hello", value: hello } }));
    const effects = core.machine.drain();
    expect(effects.find((e) => e.type === "close")).toMatchObject({
      error: { code: "CAUSEWAY_SYNC_PEER_NOT_ALLOWED" },
    });
    expect(effects.flatMap((e) => (e.type === "send" ? [e.message.body.case] : []))).toEqual(["close"]);
  });

  test.each([
    ["an older version", { version: 0 }, "CAUSEWAY_SYNC_VERSION_UNSUPPORTED"],
    ["another name", { gatewayUri: "https://other.blue.example/amsp" }, "CAUSEWAY_IDENTITY_MISMATCH"],
  ])("a Hello with %s is refused [AMSP-103]", (_name, wrong, code) => {
    const net = new SyncNetwork();
    const core = net.add("core");
    const other = net.add("neighbour");
    core.machine.handleOpened(net.now, { session: 1, peer: other.peer });
    core.machine.drain();
    const hello = create(amsp.HelloSchema, { version: 1, gatewayUri: other.uri, role: amsp.PeerRole.LEVEL2, ...wrong });
    core.machine.handleMessage(net.now, 1, create(amsp.MessageSchema, { body: { case: "hello", value: hello } }));
    expect(core.machine.drain().find((e) => e.type === "close")).toMatchObject({ error: { code } });
  });

  describe("a peer without a good certificate receives no record and no hint [AMSP-104]", () => {
    const blue = createTestDomain("blue.example");
    const store = blue.store();
    const gateway = { role: "gateway", gateway: { uri: "https://peer.blue.example/amsp", level: 2 } } as const;
    const revoked = blue.identity("gateway/revoked", gateway);
    blue.revoke(store.verifyChain(revoked.chain("tls"), { now: testNow, purpose: "tls" }));
    store.replace(blue.trustState());
    const selfSigned = createTestDomain("blue.example").identity("gateway/self", gateway);
    const expired = blue.identity("gateway/old", {
      ...gateway,
      notBefore: asUnixMs(testNow - 3_000_000),
      notAfter: asUnixMs(testNow - 1_000_000),
    });
    const cases: readonly (readonly [string, readonly Uint8Array[]])[] = [
      ["no certificate", []],
      ["a chain of another root", selfSigned.chain("tls")],
      ["a leaf without its issuer's domain", [selfSigned.chain("tls")[0] ?? new Uint8Array()]],
      ["an expired one", expired.chain("tls")],
      ["a revoked one", revoked.chain("tls")],
      ["an agent's", blue.identity("x/agent").chain("tls")],
      ["an authority's", blue.identity("authority/aca", { role: "authority" }).chain("tls")],
    ];
    test.each(cases)("%s", (_name, chain) => {
      const net = new SyncNetwork();
      const core = net.add("core");
      net.announce("core", agent);
      let open = true;
      try {
        core.machine.handleOpened(net.now, {
          session: 1,
          peer: store.verifyChain(chain, { now: net.now.unix, purpose: "tls" }),
        });
      } catch (thrown) {
        expect(isCausewayError(thrown)).toBe(true);
        open = false;
      }
      const said = core.machine.drain().flatMap((e) => (e.type === "send" ? [e.message.body.case] : []));
      expect(said).toEqual(open ? ["close"] : []);
      expect(core.machine.peers()).toEqual([]);
    });

    test("a Level-1 gateway of another domain", () => {
      const net = new SyncNetwork();
      const core = net.add("core");
      const foreign = net.add("foreign", { role: "level1", domain: "green.example" });
      net.announce("core", agent);
      net.connect("foreign", "core");
      net.run(3_000);
      expect(net.crossings.filter((c) => c.from === "core" && c.message.body.case !== "close")).toEqual([]);
      expect([core.machine.peers(), foreign.table.size]).toEqual([[], 0]);
    });
  });
});

test("a reader receives everything of its domain's Level-2 gateway and sends nothing", () => {
  const net = new SyncNetwork();
  net.add("core");
  net.add("edge", { role: "level1" });
  net.add("ars", { role: "reader" });
  net.connect("edge", "core");
  net.connect("ars", "core");
  net.run(1_000);
  net.announce("edge", agent);
  net.announce("core", "blue.example/x/other");
  net.run(1_000);
  expect([...net.node("ars").table.values()].map((r) => r.agentId).sort()).toEqual([
    `spiffe://${agent}`,
    "spiffe://blue.example/x/other",
  ]);
  expect(net.updates("ars", "core")).toEqual([]);
});

test("skills map to a next hop or to the agent, local first [AMSP-25]", () => {
  const net = new SyncNetwork();
  for (const name of ["a", "b", "c"]) net.add(name);
  net.line("a", "b", "c");
  net.run(1_000);
  const skill = (id: string) =>
    new TextEncoder().encode(
      JSON.stringify({ name: id, description: id, version: "1", skills: [{ id, name: id, description: id }] }),
    );
  net.announce("a", "blue.example/x/near", { agentCard: skill("translate") });
  net.announce("c", "blue.example/x/far", { agentCard: skill("translate"), attachment: 9n });
  net.announce("c", "blue.example/x/other", { agentCard: skill("cook") });
  net.run(1_000);
  const table = (at: string, id: string) =>
    net
      .machine(at)
      .matching({ skills: [id] })
      .map((r) => `${r.agentId.split("/").at(-1)} ${r.via === "local" ? "local" : net.nameOf(r.via)}`);
  expect(table("a", "translate")).toEqual(["near local", "far b"]);
  expect(table("c", "Translate")).toEqual(["far local", "near b"]);
  expect(table("b", "cook")).toEqual(["other c"]);
  expect(table("b", "nothing")).toEqual([]);
  net.withdraw("a", "blue.example/x/near");
  net.run(1_000);
  expect(table("a", "translate")).toEqual(["far b"]);
});

test("gateways are named by certified URI; a bare address is normalised", () => {
  expect(parseGatewayUri("127.0.0.1:7443")).toBe("amsp://127.0.0.1:7443");
});
