import { parseGatewayUri } from "@causeway/core-base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SyncNetwork } from "../testing/index.ts";
import { type Candidate, compareOrigins, decide, type RankedOrigin } from "./decide.ts";

const uri = (name: string) => parseGatewayUri(`https://${name}.blue.example/amsp`);
const way = (via: string, hops: number, more: Partial<Candidate> = {}): Candidate => ({
  via: uri(via),
  version: { epoch: 1n, sequence: 1n },
  path: Array.from({ length: hops }, (_, i) => uri(`${via}-${i}`)),
  applicable: true,
  delayClass: 0,
  ...more,
});
const version = (epoch: bigint, sequence: bigint) => ({ version: { epoch, sequence } });

describe("the decision says who wins and why", () => {
  test.each<[string, readonly Candidate[], string, string]>([
    ["nothing to choose", [way("a", 3)], "a", "only candidate"],
    ["version before path, sequence", [way("a", 1), way("b", 5, version(1n, 2n))], "b", "newer version"],
    ["version before path, epoch", [way("a", 1, version(1n, 99n)), way("b", 5, version(2n, 1n))], "b", "newer version"],
    ["applicable before path", [way("a", 1, { applicable: false }), way("b", 5)], "b", "applicable"],
    ["path before delay", [way("a", 2), way("b", 1, { delayClass: 9 })], "b", "shortest path"],
    ["delay before name", [way("a", 1, { delayClass: 2 }), way("b", 1, { delayClass: 1 })], "b", "lower delay class"],
    ["name at last", [way("b", 1), way("a", 1)], "a", "lower uri"],
  ])("%s", (_name, candidates, winner, reason) => {
    for (const order of [candidates, [...candidates].reverse()]) {
      const decision = decide(order);
      expect([decision?.winner.via, decision?.reason]).toEqual([uri(winner), reason]);
    }
  });

  test("local beats all", () => {
    const local: Candidate = { ...way("a", 0), via: "local" };
    expect(decide([way("b", 1, version(9n, 9n)), local])).toEqual({ winner: local, reason: "local" });
  });

  test("nothing is nothing", () => expect(decide([])).toBeUndefined());

  test("does not depend on the order of arrival", () => {
    const candidate = fc
      .record({
        via: fc.constantFrom("a", "b", "c", "d", "e"),
        hops: fc.integer({ min: 1, max: 3 }),
        sequence: fc.integer({ min: 1, max: 2 }),
        delayClass: fc.nat(1),
        applicable: fc.boolean(),
      })
      .map(({ via, hops, sequence, delayClass, applicable }) =>
        way(via, hops, { delayClass, applicable, ...version(1n, BigInt(sequence)) }),
      );
    const set = fc.uniqueArray(candidate, { selector: (c) => c.via, minLength: 1 });
    fc.assert(
      fc.property(set, fc.infiniteStream(fc.nat()), (candidates, numbers) => {
        const shuffled = candidates
          .map((c) => [numbers.next().value ?? 0, c] as const)
          .sort((a, b) => a[0] - b[0])
          .map(([, c]) => c);
        expect(decide(shuffled)).toEqual(decide(candidates));
      }),
    );
  });
});

test("between origins: applicable, online, later attachment, nearer, name", () => {
  const origin = (name: string, more: Partial<RankedOrigin> = {}): RankedOrigin => ({
    origin: uri(name),
    via: uri(name),
    status: "online",
    applicable: true,
    attachmentSequence: 1n,
    path: [uri(name)],
    ...more,
  });
  const ranked = [
    origin("later", { attachmentSequence: 2n, path: [uri("x"), uri("y"), uri("z")] }),
    origin("here", { via: "local", path: [] }),
    origin("a"),
    origin("b"),
    origin("far", { path: [uri("x"), uri("y")] }),
    origin("degraded", { status: "degraded", attachmentSequence: 9n }),
    origin("offline", { status: "offline", attachmentSequence: 9n }),
    origin("away", { applicable: false, attachmentSequence: 9n }),
  ];
  expect([...ranked].reverse().sort(compareOrigins)).toEqual(ranked);
});

test("a diamond with a long side uses the short side, and after its loss the long side [AMSP-79]", () => {
  const net = new SyncNetwork();
  for (const name of ["start", "short", "long1", "long2", "end"]) net.add(name);
  net.line("start", "short", "end");
  net.line("start", "long1", "long2", "end");
  net.run(1_000);
  net.announce("start", "blue.example/x/agent");
  net.run(1_000);
  expect(net.route("end", "blue.example/x/agent")).toBe("short [short start]");
  net.cut("short", "end");
  net.run(1_000);
  expect(net.route("end", "blue.example/x/agent")).toBe("long2 [long2 long1 start]");
  net.heal("short", "end");
  net.run(40_000);
  expect(net.route("end", "blue.example/x/agent")).toBe("short [short start]");
});

test("among equal paths every node chooses the same after any message order [AMSP-80]", () => {
  const topology = fc.record({
    size: fc.integer({ min: 4, max: 6 }),
    extra: fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { maxLength: 8 }),
    seeds: fc.tuple(fc.nat(), fc.nat()),
  });
  const play = (size: number, extra: readonly (readonly [number, number])[], seed: number): readonly string[] => {
    const net = new SyncNetwork();
    const names = Array.from({ length: size }, (_, i) => `g${i}`);
    for (const name of names) net.add(name);
    const edges = new Set(names.slice(1).map((_, i) => `${i} ${i + 1}`));
    for (const [a, b] of extra) if (a < b && b < size) edges.add(`${a} ${b}`);
    for (const edge of edges) {
      const [a = 0, b = 0] = edge.split(" ").map(Number);
      net.connect(`g${a}`, `g${b}`);
    }
    let state = seed + 1;
    net.run(500);
    net.announce("g0", "blue.example/x/agent");
    net.run(5_000, (moves) => moves[(state = (state * 48_271) % 0x7fff_ffff) % Math.max(1, moves.length)]);
    return names.map((name) => net.route(name, "blue.example/x/agent") ?? "none");
  };
  fc.assert(
    fc.property(topology, ({ size, extra, seeds }) => {
      expect(play(size, extra, seeds[0])).toEqual(play(size, extra, seeds[1]));
    }),
    { numRuns: 100 },
  );
});
