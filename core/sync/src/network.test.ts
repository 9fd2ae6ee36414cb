/** Networks of machines under random work, faults and interleavings. Judged by checkers that know no rule of ours. */
import { create, toBinary } from "@bufbuild/protobuf";
import { parseAgentId } from "@causeway/core-base";
import { record as record_ } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { convergenceFaults, type Move, SafetyCheckers, SyncNetwork, type SyncRules } from "../testing/index.ts";

type Shape = "line" | "ring" | "mesh";

interface Plan {
  readonly shape: Shape;
  readonly size: number;
  readonly seed: number;
  readonly steps: readonly Step[];
}

type Step =
  | { readonly do: "announce" | "withdraw"; readonly at: number; readonly agent: number }
  | {
      readonly do: "status";
      readonly at: number;
      readonly agent: number;
      readonly status: "online" | "degraded" | "offline";
    }
  | { readonly do: "cut" | "heal" | "freeze"; readonly at: number }
  | { readonly do: "crash" | "restart"; readonly at: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "moves"; readonly count: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("announce" as const, "withdraw" as const),
      at: fc.nat(20),
      agent: fc.nat(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("status" as const),
      at: fc.nat(20),
      agent: fc.nat(3),
      status: fc.constantFrom("online" as const, "degraded" as const, "offline" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom("cut" as const, "heal" as const, "freeze" as const), at: fc.nat(20) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("crash" as const, "restart" as const), at: fc.nat(20) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(10, 60, 500, 5_000, 100_000) }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("moves" as const), count: fc.nat(40) }) },
);

const plan: fc.Arbitrary<Plan> = fc.record({
  shape: fc.constantFrom<Shape>("line", "ring", "mesh"),
  size: fc.integer({ min: 2, max: 5 }),
  seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
  steps: fc.array(step, { minLength: 10, maxLength: 60, size: "max" }),
});

/** Runs a plan, heals everything, and returns what was wrong: safety first, then convergence. */
function execute(
  { shape, size, seed, steps }: Plan,
  rules: Partial<SyncRules> = {},
  alsoCheck: (net: SyncNetwork) => readonly string[] = () => [],
): readonly string[] {
  const net = new SyncNetwork();
  const checkers = new SafetyCheckers(net);
  const core = Array.from({ length: size }, (_, i) => `core${i}`);
  for (const name of core) net.add(name, { rules });
  const edges = pairs(shape, core);
  for (const [a, b] of edges) net.connect(a, b);
  const leaves = core.slice(0, 3).map((name, i) => [`edge${i}`, name] as const);
  for (const [leaf, home] of leaves) {
    net.add(leaf, { role: "level1", rules });
    net.connect(leaf, home);
    edges.push([leaf, home]);
  }
  // One Level-1 gateway has two uplinks and wants everything: nothing may leak from one uplink to the other.
  net.connect("edge0", core.at(-1) ?? "");
  if (core.length > 1) edges.push(["edge0", core.at(-1) ?? ""]);
  net.input("edge0", (m) => m.subscribe(net.now, { all: true }));
  net.add("reader", { role: "reader", rules });
  net.connect("reader", core[0] ?? "");
  const names = [...net.nodes.keys()].filter((name) => name !== "reader");
  const live = new Map<string, Set<string>>();
  let state = seed;
  const draw = (below: number): number => {
    state = (state * 48_271) % 0x7fff_ffff;
    return state % below;
  };
  const choose = (moves: readonly Move[]): Move | undefined => moves[draw(Math.max(1, moves.length))];

  const make = (each: Step): void => {
    const name = "at" in each ? (names[each.at % names.length] ?? "") : "";
    const [a, b] = "at" in each ? (edges[each.at % edges.length] ?? ["", ""]) : ["", ""];
    const agent = "agent" in each ? `blue.example/x/agent${each.agent}` : "";
    const origins = live.get(agent) ?? new Set<string>();
    switch (each.do) {
      case "announce":
        if (!net.node(name).isUp || origins.has(name)) break;
        net.announce(name, agent, { attachment: BigInt(draw(100)) });
        live.set(agent, origins.add(name));
        break;
      case "status":
        if (net.node(name).isUp && origins.has(name)) net.setStatus(name, agent, each.status);
        break;
      case "withdraw":
        if (net.node(name).isUp && origins.delete(name)) net.withdraw(name, agent);
        break;
      case "cut":
        net.cut(a, b);
        break;
      case "freeze":
        net.freeze(a, b);
        break;
      case "heal":
        net.heal(a, b);
        break;
      case "crash":
        net.crash(name);
        break;
      case "restart":
        if (net.node(name).isUp) break;
        checkers.forget(name);
        net.restart(name);
        if (name === "edge0") net.input(name, (m) => m.subscribe(net.now, { all: true }));
        break;
      case "wait":
        net.run(each.ms, choose);
        break;
      case "moves":
        for (let i = 0; i < each.count; i++) {
          const move = choose(net.moves());
          if (move !== undefined) net.make(move);
        }
    }
  };
  for (const each of steps) {
    make(each);
    checkers.check();
    checkers.broken.push(...alsoCheck(net));
    if (checkers.broken.length > 0) return checkers.broken;
  }
  for (const name of net.nodes.keys()) if (!net.node(name).isUp) make({ do: "restart", at: names.indexOf(name) });
  for (const [a, b] of edges) net.heal(a, b);
  net.run(400_000, choose);
  checkers.check();
  const expected = new Map([...live].map(([agent, origins]) => [agent, [...origins]]));
  const quiet = net.crossings.length;
  net.run(1_000, choose);
  const chatter = net.crossings.slice(quiet).filter((c) => c.message.body.case === "update").length;
  return [
    ...checkers.broken,
    ...convergenceFaults(net, expected),
    ...(chatter > 0 ? ["updates go on without a change"] : []),
  ];
}

function pairs(shape: Shape, names: readonly string[]): [string, string][] {
  const result: [string, string][] = [];
  names.forEach((name, i) => {
    for (let j = i + 1; j < names.length; j++) {
      const isNeighbour = j === i + 1 || (shape === "ring" && i === 0 && j === names.length - 1);
      if (shape === "mesh" || isNeighbour) result.push([name, names[j] ?? ""]);
    }
  });
  return result;
}

describe("a random network under random faults", () => {
  const runs = Number(process.env["SYNC_RUNS"] ?? 100);

  test("keeps every invariant, heals, and all replicas converge to the model with equal digests [AMSP-22] [AMSP-48] [AMSP-49]", () => {
    fc.assert(
      fc.property(plan, (each) => {
        expect(execute(each)).toEqual([]);
      }),
      { numRuns: runs },
    );
  });

  test("after every step the forwarding table is a function of the record base [AMSP-24]", () => {
    // The function, written again from what each peer told: the nearest way of the newest version over an open link.
    const tableFaults = (net: SyncNetwork): readonly string[] =>
      [...net.nodes.values()]
        .filter((node) => node.isUp)
        .flatMap((node) => {
          const faults: string[] = [];
          const stored = [...node.store.records.values()].filter((r) => !r.withdrawn);
          for (const { agentId, origin, epoch, sequence } of stored) {
            const isCurrent = (w: { version: { epoch: bigint; sequence: bigint } }): boolean =>
              w.version.epoch === epoch && w.version.sequence === sequence;
            const ways = node.machine.ways(agentId, origin).filter(isCurrent);
            const row = node.table.get(`${agentId} ${origin}`);
            if ((row === undefined) !== (ways.length === 0))
              faults.push(`${node.name}: row without way, or way without row, for ${agentId}`);
            const usable = node.machine
              .peers()
              .filter((p) => ["SYNCING", "ESTABLISHED", "RESYNC"].includes(p.state))
              .map((p) => p.name as string);
            const near = Math.min(
              ...ways.filter((w) => w.via === "local" || usable.includes(w.via)).map((w) => w.path.length),
            );
            if (row?.applicable === true && row.path.length !== near)
              faults.push(`${node.name}: ${agentId} over ${row.path.length} hops, not ${near}`);
            if (row?.applicable === false && near !== Infinity)
              faults.push(`${node.name}: ${agentId} is inapplicable although a way is open`);
          }
          for (const key of node.table.keys()) {
            if (!stored.some((r) => `${r.agentId} ${r.origin}` === key))
              faults.push(`${node.name}: row ${key} without record`);
          }
          return faults;
        });
    fc.assert(
      fc.property(plan, (each) => {
        expect(execute(each, {}, tableFaults)).toEqual([]);
      }),
      { numRuns: runs },
    );
  });
});

test("an update costs about its size for each interested peer, and nothing is sent again later [AMSP-21]", () => {
  const net = new SyncNetwork();
  net.add("core");
  for (const name of ["g1", "g2", "g3"]) {
    net.add(name);
    net.connect("core", name);
  }
  for (const name of ["asks", "silent"]) {
    net.add(name, { role: "level1" });
    net.connect(name, "core");
  }
  net.input("asks", (m) => m.subscribe(net.now, { tags: ["hotel"] }));
  for (let i = 0; i < 100; i++) net.announce("core", `blue.example/x/other${i}`);
  net.run(70_000);
  const card = new TextEncoder().encode(
    JSON.stringify({
      name: "a",
      description: "d".repeat(7_000),
      version: "1",
      skills: [{ id: "s", name: "s", description: "s" }],
    }),
  );
  const before = net.crossings.length;
  net.announce("core", "blue.example/x/agent", { agentCard: card, tags: ["hotel"] });
  net.run(800_000);
  const size = net.crossings.slice(before).flatMap((c) => (c.message.body.case === "update" ? [c.bytes] : []));
  expect(size.length).toBe(4);
  const record = net.machine("core").routes(parseAgentId("blue.example/x/agent"))[0]?.signed;
  const recordBytes = toBinary(record_.SignedRecordSchema, record ?? create(record_.SignedRecordSchema)).length;
  for (const bytes of size) expect(bytes).toBeLessThan(recordBytes + 500);
  // What else crossed until the subscription idles out is keep-alives, acknowledgements and audits, none of them with a record.
  const rest = net.crossings.slice(before).filter((c) => c.message.body.case !== "update");
  expect(Math.max(...rest.map((c) => c.bytes))).toBeLessThan(200);
  expect(new Set(rest.map((c) => c.message.body.case))).toEqual(new Set(["ack", "keepAlive", "snapshotEnd"]));
});

test("records of 1, 5, 12 and 16 KiB with Chinese and Arabic texts pass three hops unchanged, unknown fields included [AMSP-27] [AMSP-20]", () => {
  const net = new SyncNetwork();
  for (const name of ["a", "b", "c", "d"]) net.add(name);
  net.line("a", "b", "c", "d");
  net.run(1_000);
  const card = (bytes: number): Uint8Array => {
    const text = "预订航班和酒店 حجز الرحلات والفنادق ";
    const base = {
      name: "旅行",
      description: "",
      version: "1",
      "x-unknown": { kept: [1, null, "é"] },
      skills: [{ id: "s", name: "s", description: "s" }],
    };
    const encode = (description: string): Uint8Array =>
      new TextEncoder().encode(JSON.stringify({ ...base, description }));
    const unit = encode(text).length - encode("").length;
    const whole = encode(text.repeat(Math.floor((bytes - encode("").length) / unit)));
    return encode(text.repeat(Math.floor((bytes - encode("").length) / unit)) + ".".repeat(bytes - whole.length));
  };
  for (const bytes of [1_024, 5 * 1_024, 12 * 1_024, 16_384 - 250]) {
    const agentCard = card(bytes);
    net.announce("a", `blue.example/x/agent${bytes}`, { agentCard });
    net.run(1_000);
    const [route] = net.machine("d").routes(parseAgentId(`blue.example/x/agent${bytes}`));
    expect(route?.path.length).toBe(3);
    expect(Buffer.from(route?.record.agentCard ?? []).equals(agentCard)).toBe(true);
    expect(JSON.parse(new TextDecoder().decode(route?.record.agentCard))).toMatchObject({
      "x-unknown": { kept: [1, null, "é"] },
    });
  }
  expect(() => net.announce("a", "blue.example/x/huge", { agentCard: card(17 * 1_024) })).toThrow(
    /at most 16384 bytes, got 17/,
  );
});

describe("the checkers notice when one rule is missing", () => {
  const older = (
    a: { version: { epoch: bigint; sequence: bigint } },
    b: { version: { epoch: bigint; sequence: bigint } },
  ) =>
    a.version.epoch < b.version.epoch ||
    (a.version.epoch === b.version.epoch && a.version.sequence < b.version.sequence);
  const mutants: readonly (readonly [string, Partial<SyncRules>])[] = [
    ["loop check removed", { isLoop: () => false }],
    ["split horizon removed", { isBackToSource: () => false }],
    ["re-decision on peer loss removed", { isUsable: (state) => state !== "CLOSED" }],
    [
      "longest path preferred",
      {
        compareCandidates: (a, b) => ({
          order:
            a.via === "local" ? -1 : b.via === "local" ? 1 : b.path.length - a.path.length || (a.via < b.via ? -1 : 1),
          reason: "shortest path",
        }),
      },
    ],
    ["old version preferred", { isNewer: older }],
    [
      "tombstone ignored",
      { isNewer: (offered, held) => (held.withdrawn && !offered.withdrawn) || older(held, offered) },
    ],
    ["Level-1 gateways pass on", { mayAdvertise: () => true }],
    ["PATH not extended", { extendPath: (_self, path) => path }],
  ];
  test.each(mutants)("%s", (_name, rules) => {
    const found = fc.check(
      fc.property(plan, (each) => execute(each, rules).length === 0),
      { numRuns: 400, seed: 7, endOnFailure: true },
    );
    expect(found.failed).toBe(true);
  });
});
