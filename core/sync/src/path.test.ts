/** PATH: prepended, newest first, Level-2 gateways only (C-10), and what happens to one that lies. */
import { create } from "@bufbuild/protobuf";
import { defaults, parseAgentId } from "@causeway/core-base";
import { signOrigin } from "@causeway/core-records";
import { amsp } from "@causeway/core-wire";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";

const agent = "blue.example/x/agent";

/** Two established neighbours; `liar` says what the test wants. */
function neighbours(role: "level1" | "level2" = "level2") {
  const net = new SyncNetwork();
  const honest = net.add("honest");
  const liar = net.add("liar", { role });
  net.connect("liar", "honest");
  net.run(1_000);
  liar.isPuppet = true;
  const update = (path: readonly string[] | undefined, number = 1n, sequence = 1n): amsp.Message => {
    const { verified } = net.registered(agent);
    const statement = {
      agentId: parseAgentId(agent),
      origin: liar.uri,
      version: { epoch: 1n, sequence },
      status: "online",
      bodyDigest: verified.digest,
      at: net.now.unix,
      withdrawn: false,
      attachmentSequence: 1n,
    } as const;
    const value = create(amsp.UpdateSchema, {
      number,
      record: verified.signed,
      origin: signOrigin(liar.signer, statement),
      ...(path !== undefined && { path: { gateways: [...path] } }),
    });
    return create(amsp.MessageSchema, { body: { case: "update", value } });
  };
  const notices = () =>
    net.crossings.flatMap(({ from, message: { body } }) =>
      from === "honest" && body.case === "notify" ? [body.value.error?.code] : [],
    );
  const peer = () => honest.machine.peers().find((p) => p.name === liar.uri);
  return { net, honest, liar, update, notices, peer };
}

test("an update without PATH is refused, the peer is told, and nothing else happens [AMSP-75]", () => {
  const { net, honest, update, notices, peer } = neighbours();
  net.inject("liar", "honest", update(undefined));
  net.run(200);
  expect(notices()).toEqual(["CAUSEWAY_SYNC_PATH_MISSING"]);
  expect(honest.table.size).toBe(0);
  expect(honest.store.records.size).toBe(0);
  expect(peer()).toMatchObject({ state: "ESTABLISHED", refused: 1, recordsIn: 0 });
});

test("every update that crosses any link carries a PATH [AMSP-75]", () => {
  const net = new SyncNetwork();
  for (const name of ["a", "b", "c"]) net.add(name);
  net.add("edge", { role: "level1" });
  net.line("a", "b", "c");
  net.connect("edge", "a");
  net.run(500);
  net.announce("edge", agent);
  net.run(500);
  net.setStatus("edge", agent, "offline");
  net.withdraw("edge", agent);
  net.run(500);
  const updates = net.crossings.flatMap(({ message: { body } }) => (body.case === "update" ? [body.value] : []));
  expect(updates.length).toBeGreaterThan(5);
  expect(updates.filter((u) => u.path === undefined)).toEqual([]);
});

describe("element 0 is the sending peer, or the update is refused [AMSP-77]", () => {
  const liarUri = "https://liar.blue.example/amsp";
  test.each<[string, readonly string[]]>([
    ["fail/ somebody else first", ["https://other.blue.example/amsp", liarUri]],
    ["fail/ empty", []],
    ["fail/ repeats", [liarUri, "https://x.blue.example/amsp", "https://x.blue.example/amsp"]],
    ["fail/ not a URI", [liarUri, "x"]],
    [
      "fail/ too long",
      [liarUri, ...Array.from({ length: defaults.pathHopsMax }, (_, i) => `https://g${i}.blue.example/amsp`)],
    ],
  ])("%s", (_name, path) => {
    const { net, honest, update, notices } = neighbours();
    net.inject("liar", "honest", update(path));
    net.run(200);
    expect(notices()).toEqual(["CAUSEWAY_SYNC_PATH_INVALID"]);
    expect(honest.table.size + honest.store.records.size).toBe(0);
  });

  test("ok/ the sender first", () => {
    const { net, honest, update, notices } = neighbours();
    net.inject("liar", "honest", update([liarUri, "https://x.blue.example/amsp"]));
    net.run(200);
    expect(notices()).toEqual([]);
    expect(honest.table.size).toBe(1);
  });

  test("fail/ a Level-1 gateway with a PATH", () => {
    const { net, update, notices } = neighbours("level1");
    net.inject("liar", "honest", update([liarUri]));
    net.run(200);
    expect(notices()).toEqual(["CAUSEWAY_SYNC_PATH_INVALID"]);
  });
});

test("a line of five lists at its end the four before it in travel order [AMSP-76]", () => {
  const net = new SyncNetwork();
  for (const name of ["g1", "g2", "g3", "g4", "g5"]) net.add(name);
  net.line("g1", "g2", "g3", "g4", "g5");
  net.run(500);
  net.announce("g1", agent);
  net.run(2_000);
  expect(net.route("g5", agent)).toBe("g4 [g4 g3 g2 g1]");
});

test("what has our own URI in PATH is dropped without a word, counted, and voids what the peer said before [AMSP-78]", () => {
  const { net, honest, liar, update, notices, peer } = neighbours();
  net.inject("liar", "honest", update([liar.uri]));
  net.run(200);
  expect(honest.table.size).toBe(1);
  net.inject("liar", "honest", update([liar.uri, honest.uri], 2n));
  net.run(200);
  expect(notices()).toEqual([]);
  expect(peer()).toMatchObject({ loopsDiscarded: 1, refused: 0 });
  expect(honest.table.size).toBe(0);
});

test("in a ring of four without split horizon the loop check alone stops every update [AMSP-78]", () => {
  const net = new SyncNetwork();
  const names = ["g1", "g2", "g3", "g4"];
  for (const name of names) net.add(name, { rules: { isBackToSource: () => false } });
  net.line(...names, "g1");
  net.run(1_000);
  net.announce("g1", agent);
  net.run(1_000);
  const count = net.crossings.length;
  net.run(20_000);
  expect(net.crossings.slice(count).filter((c) => c.message.body.case === "update")).toEqual([]);
  expect(net.crossings.filter((c) => c.message.body.case === "notify")).toEqual([]);
  const loops = names.flatMap((name) =>
    net
      .machine(name)
      .peers()
      .map((p) => p.loopsDiscarded),
  );
  expect(loops.reduce((sum, n) => sum + n, 0)).toBeGreaterThan(0);
});

test.each(["ring", "mesh"])(
  "in a %s of five the traffic of one update stops by itself within a second [AMSP-30]",
  (shape) => {
    const net = new SyncNetwork();
    const names = ["g1", "g2", "g3", "g4", "g5"];
    for (const name of names) net.add(name);
    names.forEach((a, i) =>
      names.slice(i + 1).forEach((b, j) => {
        if (shape === "mesh" || j === 0 || (i === 0 && j === 3)) net.connect(a, b);
      }),
    );
    net.run(1_000);
    net.announce("g1", agent);
    net.run(1_000);
    const count = net.crossings.length;
    net.run(20_000);
    expect(net.crossings.slice(count).map((c) => c.message.body.case)).toEqual([]);
    expect(names.map((name) => net.route(name, agent)?.split(" ").length)).not.toContain(undefined);
  },
);

test("in an hour of churn no record is ever sent to the neighbour it was learned from [AMSP-73]", () => {
  const net = new SyncNetwork();
  const names = ["g1", "g2", "g3", "g4"];
  for (const name of names) net.add(name);
  names.forEach((a, i) => names.slice(i + 1).forEach((b) => net.connect(a, b)));
  net.add("edge", { role: "level1" });
  net.connect("edge", "g1");
  net.input("edge", (m) => m.subscribe(net.now, { all: true }));
  net.run(1_000);
  // The checker knows only what crossed: who told whom, and what PATH says of where it came from.
  for (let minute = 0; minute < 60; minute++) {
    const at = [...names, "edge"][minute % 5] ?? "";
    const name = `blue.example/x/agent${minute % 7}`;
    const isKnown = net
      .machine(at)
      .routes(parseAgentId(name))
      .some((r) => r.via === "local");
    if (isKnown && minute % 3 === 0) net.withdraw(at, name);
    else if (isKnown) net.setStatus(at, name, minute % 2 === 0 ? "online" : "offline");
    else net.announce(at, name);
    if (minute % 10 === 5) net.cut("g1", "g2");
    if (minute % 10 === 7) net.heal("g1", "g2");
    net.run(60_000);
  }
  const back = net.crossings.filter(({ to, message: { body } }) => {
    if (body.case !== "update") return false;
    return body.value.path?.gateways[1] === net.node(to).uri;
  });
  expect(net.crossings.filter((c) => c.message.body.case === "update").length).toBeGreaterThan(300);
  expect(back).toEqual([]);
});
