import { type AgentId, type Domain, type GatewayUri, parseAgentId, parseGatewayUri } from "@causeway/core-base";
import { asLinkId } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { LocalAttachment, RouteCandidate, RouteStatus, TableDelta } from "./route.ts";
import { ForwardingTable, tableOf } from "./table.ts";

const gateways = ["gw1", "gw2", "gw3"].map((n) => parseGatewayUri(`https://${n}.example/amsp`));
const self = gateways[0] as GatewayUri;
const options = { self, domain: "blue.example" as Domain };
const agents = ["blue.example/a", "blue.example/a/b", "green.example/x"].map(parseAgentId);

const candidates: fc.Arbitrary<RouteCandidate> = fc
  .record({
    agentId: fc.constantFrom(...agents),
    origin: fc.constantFrom(...gateways),
    path: fc.array(fc.constantFrom(...gateways), { maxLength: 3 }),
    status: fc.constantFrom<RouteStatus>(1, 2, 3),
    applicable: fc.boolean(),
    attachmentSequence: fc.bigInt(0n, 2n),
    skills: fc.array(fc.constantFrom("translate", "book"), { maxLength: 2 }),
  })
  .map((c) => ({
    ...c,
    epoch: 1n,
    sequence: 1n,
    via: c.origin === self ? { kind: "local" as const } : { kind: "peer" as const, peer: c.origin },
  }));
const attachments: fc.Arbitrary<LocalAttachment> = fc.record({
  agentId: fc.constantFrom(...agents),
  instance: fc.constantFrom("i", "j"),
  link: fc.nat(3).map(asLinkId),
  attachmentSequence: fc.bigInt(0n, 2n),
  stale: fc.boolean(),
});
const deltas: fc.Arbitrary<TableDelta> = fc.oneof(
  candidates.map((candidate): TableDelta => ({ kind: "put", candidate })),
  candidates.map((c): TableDelta => ({ kind: "withdraw", agentId: c.agentId, origin: c.origin })),
  attachments.map((attachment): TableDelta => ({ kind: "attach", attachment })),
  attachments.map((a): TableDelta => ({ kind: "detach", agentId: a.agentId, instance: a.instance, link: a.link })),
  fc
    .tuple(fc.constantFrom(...gateways), fc.boolean())
    .map(([peer, isUp]): TableDelta => ({ kind: "peer", peer, isUp })),
);

/** The facts that a run of deltas leaves, kept naively. */
class Model {
  readonly candidates = new Map<string, RouteCandidate>();
  readonly attachments = new Map<string, LocalAttachment>();
  readonly peersUp = new Set<GatewayUri>();

  apply(delta: TableDelta): void {
    if (delta.kind === "put")
      this.candidates.set(`${delta.candidate.agentId} ${delta.candidate.origin}`, delta.candidate);
    if (delta.kind === "withdraw") this.candidates.delete(`${delta.agentId} ${delta.origin}`);
    if (delta.kind === "attach")
      this.attachments.set(`${delta.attachment.agentId} ${delta.attachment.instance}`, delta.attachment);
    if (delta.kind === "detach" && this.attachments.get(`${delta.agentId} ${delta.instance}`)?.link === delta.link) {
      this.attachments.delete(`${delta.agentId} ${delta.instance}`);
    }
    if (delta.kind === "peer" && delta.isUp) this.peersUp.add(delta.peer);
    if (delta.kind === "peer" && !delta.isUp) this.peersUp.delete(delta.peer);
  }
}

/** The rules of the ranking, said once more and slowly. */
function expectedVia(model: Model, agentId: AgentId): string | undefined {
  const own = [...model.attachments.values()].filter((a) => a.agentId === agentId);
  const live = own.filter((a) => !a.stale);
  const mine = [...model.candidates.values()].filter((c) => c.agentId === agentId);
  const max = (list: readonly bigint[]): bigint => list.reduce((a, b) => (b > a ? b : a), 0n);
  const ways = mine
    .filter((c) => c.origin !== self)
    .map((c) => ({
      via: c.origin as string,
      rank: [
        c.applicable && model.peersUp.has(c.origin) ? 0 : 1,
        c.status,
        -Number(c.attachmentSequence),
        1,
        c.path.length + 1,
        c.origin,
      ],
    }));
  const ownCandidate = mine.find((c) => c.origin === self);
  if (own.length > 0 || ownCandidate) {
    const sequence = max([
      ...(live.length > 0 ? live : own).map((a) => a.attachmentSequence),
      ownCandidate?.attachmentSequence ?? 0n,
    ]);
    ways.push({ via: "local", rank: [0, live.length > 0 ? 1 : 3, -Number(sequence), 0, 0, self] });
  }
  const less = (a: (string | number)[], b: (string | number)[]): number => {
    for (let i = 0; i < a.length; i++) {
      if (a[i] !== b[i]) return (a[i] as number) < (b[i] as number) ? -1 : 1;
    }
    return 0;
  };
  return ways.sort((a, b) => less(a.rank, b.rank))[0]?.via;
}

test("after every step the table equals a function of the record base, and the ranking its rules [AMSP-24]", () => {
  fc.assert(
    fc.property(fc.array(deltas, { maxLength: 40 }), (steps) => {
      const table = new ForwardingTable(options);
      const model = new Model();
      for (const delta of steps) {
        table.apply(delta);
        model.apply(delta);
        const rebuilt = tableOf(options, {
          candidates: model.candidates.values(),
          attachments: model.attachments.values(),
          peersUp: model.peersUp,
        });
        expect(table.snapshot()).toEqual(rebuilt.snapshot());
        const expected = agents.flatMap((a) => {
          const via = expectedVia(model, a);
          return via === undefined ? [] : [[a, via]];
        });
        expect(Object.entries(table.snapshot()).map(([a, { via }]) => [a, via])).toEqual(expected.sort());
        expect(table.size).toBe(expected.length);
      }
    }),
    { numRuns: 150 },
  );
});

test("an Agent ID or a skill leads to the local agent first, else to the next hop [AMSP-25]", () => {
  const table = new ForwardingTable(options);
  const put = (agent: string, origin: GatewayUri, skills: readonly string[]): void =>
    table.apply({
      kind: "put",
      candidate: {
        agentId: parseAgentId(agent),
        origin,
        via: origin === self ? { kind: "local" } : { kind: "peer", peer: origin },
        path: [],
        epoch: 1n,
        sequence: 1n,
        status: 1,
        applicable: true,
        attachmentSequence: 1n,
        skills,
      },
    });
  table.apply({ kind: "peer", peer: gateways[1] as GatewayUri, isUp: true });
  put("green.example/a-translator", gateways[1] as GatewayUri, ["translate"]);
  put("blue.example/translator", self, ["translate", "book"]);
  const attachment = {
    agentId: parseAgentId("blue.example/translator"),
    instance: "i",
    link: asLinkId(1),
    attachmentSequence: 1n,
    stale: false,
  };
  expect(table.resolveSkill("translate")).toBe("spiffe://green.example/a-translator");
  table.apply({ kind: "attach", attachment });
  expect(table.resolveSkill("translate")).toBe("spiffe://blue.example/translator");
  expect(table.snapshot()).toMatchObject({
    "spiffe://blue.example/translator": { via: "local" },
    "spiffe://green.example/a-translator": { via: gateways[1] },
  });
  put("blue.example/translator", self, ["book"]);
  expect(table.resolveSkill("translate")).toBe("spiffe://green.example/a-translator");
  table.apply({
    kind: "withdraw",
    agentId: parseAgentId("green.example/a-translator"),
    origin: gateways[1] as GatewayUri,
  });
  expect(table.resolveSkill("translate")).toBeUndefined();
});

test("explain says what was chosen, why, and what else is known", () => {
  const table = new ForwardingTable(options);
  const [, g2, g3] = gateways as [GatewayUri, GatewayUri, GatewayUri];
  const base = {
    agentId: parseAgentId("green.example/x"),
    epoch: 1n,
    sequence: 1n,
    status: 1,
    applicable: true,
    attachmentSequence: 1n,
  } as const;
  for (const peer of [g2, g3]) table.apply({ kind: "peer", peer, isUp: true });
  table.apply({ kind: "put", candidate: { ...base, origin: g2, via: { kind: "peer", peer: g2 }, path: [g2, g3] } });
  table.apply({ kind: "put", candidate: { ...base, origin: g3, via: { kind: "peer", peer: g3 }, path: [g3] } });
  expect(table.explain("green.example/x")).toMatchObject({
    chosen: { via: g3, reason: "shortest-path" },
    candidates: [{ origin: g3 }, { origin: g2 }],
    text: expect.stringContaining("fewer gateways are on the way"),
  });
  expect(table.explain("red.example/y").text).toContain("no gateway on the way knows the target");
  table.apply({ kind: "uplink", peer: g2 });
  expect(table.explain("red.example/y").chosen).toEqual({ via: g2, reason: "default-uplink" });
  table.apply({
    kind: "attach",
    attachment: {
      agentId: parseAgentId("blue.example/a"),
      instance: "i",
      link: asLinkId(1),
      attachmentSequence: 1n,
      stale: true,
    },
  });
  expect(table.explain("blue.example/a/@i").chosen).toEqual({ via: "local", reason: "attachment-stale" });
});

test("prefixes that are none are misuse", () => {
  const table = new ForwardingTable(options);
  for (const prefix of ["green.example", "spiffe://", ""]) {
    expect(() => table.apply({ kind: "prefix", prefix, peer: self })).toThrow(
      expect.objectContaining({ code: "CAUSEWAY_MISUSE" }),
    );
  }
});
