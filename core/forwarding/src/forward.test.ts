import { readdirSync, readFileSync } from "node:fs";
import {
  type AgentId,
  asUnixMs,
  type Domain,
  type GatewayUri,
  parseAgentId,
  parseGatewayUri,
} from "@causeway/core-base";
import { asLinkId, decrementTtl, encodeMessageFrame, FrameScan, type HeaderInit, scanFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { forward } from "./forward.ts";
import { HopTrace } from "./hop-trace.ts";
import { ForwardingPolicy, type PolicyRule } from "./policy.ts";
import type { Arrival, LocalAttachment, RouteCandidate } from "./route.ts";
import { ForwardingTable } from "./table.ts";
import type { Verdict } from "./verdict.ts";

const blue = "blue.example" as Domain;
const g = (n: string): GatewayUri => parseGatewayUri(`https://${n}.example/amsp`);
const [self, g2, g3] = [g("gw1"), g("gw2"), g("gw3")];
const booker = parseAgentId("blue.example/travel/booker");
const hotel = parseAgentId("blue.example/travel/hotel");
const remote = parseAgentId("green.example/shop/seller");
const now = asUnixMs(1_700_000_000_000);
const open = new ForwardingPolicy([], blue);

const scanOf = (init: HeaderInit, payload = Uint8Array.of(1)): FrameScan => {
  const frame = encodeMessageFrame({ targetKind: 1, messageId: new Uint8Array(16), source: booker, ...init }, payload);
  const scan = new FrameScan();
  expect(scanFrame(frame, 0, frame.length, scan)).toBeUndefined();
  return scan;
};
const local = (agentId: AgentId, more: Partial<LocalAttachment> = {}): LocalAttachment => ({
  agentId,
  instance: "i",
  link: asLinkId(7),
  attachmentSequence: 1n,
  stale: false,
  ...more,
});
const candidate = (agentId: AgentId, origin: GatewayUri, more: Partial<RouteCandidate> = {}): RouteCandidate => ({
  agentId,
  origin,
  via: origin === self ? { kind: "local" } : { kind: "peer", peer: origin },
  path: [],
  epoch: 1n,
  sequence: 1n,
  status: 1,
  applicable: true,
  attachmentSequence: 1n,
  ...more,
});
const fromBooker: Arrival = { kind: "agent", link: asLinkId(1), agentId: booker, instance: "i" };
const fromPeer = (peer: GatewayUri, domain = "green.example"): Arrival => ({
  kind: "peer",
  link: asLinkId(2),
  peer,
  domain,
});
const tableWith = (...deltas: Parameters<ForwardingTable["apply"]>[0][]): ForwardingTable => {
  const table = new ForwardingTable({ self, domain: blue });
  for (const delta of deltas) table.apply(delta);
  return table;
};
const up = (peer: GatewayUri) => ({ kind: "peer", peer, isUp: true }) as const;
const attach = (agentId: AgentId, more?: Partial<LocalAttachment>) =>
  ({ kind: "attach", attachment: local(agentId, more) }) as const;
const put = (agentId: AgentId, origin: GatewayUri, more?: Partial<RouteCandidate>) =>
  ({ kind: "put", candidate: candidate(agentId, origin, more) }) as const;
const go = (table: ForwardingTable, init: HeaderInit, arrival: Arrival = fromBooker, policy = open): Verdict =>
  forward(scanOf(init), table, policy, arrival, now);

describe("lookup", () => {
  test("a target attached here is delivered to its link, no neighbour is used [AAP-77]", () => {
    const verdict = go(tableWith(up(g2), attach(hotel)), { target: hotel });
    expect(verdict).toEqual({ action: "deliver", link: 7, agentId: hotel, instance: "i", reason: "local-attachment" });
  });

  test("a target behind a neighbour is relayed to that one [AAP-78]", () => {
    const table = tableWith(up(g2), up(g3), put(remote, g2));
    expect(go(table, { target: remote })).toEqual({ action: "relay", peer: g2, reason: "only-candidate" });
  });

  test("exact, prefix, local, remote and absent entries [AAP-23]", () => {
    const table = tableWith(up(g2), up(g3), attach(hotel), put(remote, g2), {
      kind: "prefix",
      prefix: "spiffe://green.example",
      peer: g3,
    });
    expect(go(table, { target: hotel })).toMatchObject({ action: "deliver" });
    expect(go(table, { target: remote })).toMatchObject({ action: "relay", peer: g2 });
    expect(go(table, { target: "spiffe://green.example/other" })).toMatchObject({
      action: "relay",
      peer: g3,
      reason: "longest-prefix",
    });
    expect(go(table, { target: "spiffe://red.example/x" })).toMatchObject({
      action: "drop",
      code: "CAUSEWAY_FORWARDING_NO_ROUTE",
      reason: "no-entry",
    });
  });

  test("the longest prefix on a segment boundary wins [AAP-76]", () => {
    const table = tableWith(
      up(g2),
      up(g3),
      { kind: "prefix", prefix: "spiffe://green.example", peer: g2 },
      { kind: "prefix", prefix: "spiffe://green.example/a/b/", peer: g3 },
    );
    const peerOf = (target: string): unknown => {
      const verdict = go(table, { target });
      return verdict.action === "relay" && verdict.peer;
    };
    expect([
      peerOf("spiffe://green.example/a/b/c"),
      peerOf("spiffe://green.example/a/bc"),
      peerOf("spiffe://green.example/a"),
    ]).toEqual([g3, g2, g2]);
    table.apply({ kind: "prefix", prefix: "spiffe://green.example/a/b", peer: undefined });
    expect(peerOf("spiffe://green.example/a/b/c")).toBe(g2);
  });

  test("what an edge gateway doesn't know goes up, but not from neighbour to neighbour", () => {
    const table = tableWith(up(g2), { kind: "uplink", peer: g2 });
    expect(go(table, { target: remote })).toEqual({ action: "relay", peer: g2, reason: "default-uplink" });
    expect(go(table, { target: remote, source: remote }, fromPeer(g2))).toMatchObject({
      action: "drop",
      code: "CAUSEWAY_FORWARDING_NO_ROUTE",
    });
    table.apply({ kind: "peer", peer: g2, isUp: false });
    expect(go(table, { target: remote })).toMatchObject({ code: "CAUSEWAY_FORWARDING_PEER_LOST" });
  });

  test("a topic is left to the topics room", () => {
    expect(go(tableWith(), { targetKind: 3, target: "blue.example/travel/booker/deals" })).toEqual({
      action: "topic",
      reason: "topic",
    });
  });
});

describe("known and not reachable", () => {
  test("stale is held; so is a record of ours without attachment", () => {
    const table = tableWith(put(hotel, self), attach(hotel, { stale: true }));
    expect(go(table, { target: hotel })).toMatchObject({ action: "hold", agentId: hotel, reason: "attachment-stale" });
    table.apply({ kind: "detach", agentId: hotel, instance: "i", link: asLinkId(7) });
    expect(go(table, { target: hotel })).toMatchObject({
      action: "hold",
      code: "CAUSEWAY_FORWARDING_NOT_ATTACHED",
      reason: "not-attached",
    });
    expect(table.serves(scanOf({ target: hotel }))).toBe(true);
    table.apply({ kind: "withdraw", agentId: hotel, origin: self });
    expect(go(table, { target: hotel })).toMatchObject({ action: "drop", code: "CAUSEWAY_FORWARDING_NO_ROUTE" });
    expect([table.size, table.serves(scanOf({ target: hotel }))]).toEqual([0, false]);
  });

  test("a lost neighbour is named, and used again when it returns", () => {
    const table = tableWith(up(g2), put(remote, g2));
    table.apply({ kind: "peer", peer: g2, isUp: false });
    expect(go(table, { target: remote })).toMatchObject({ action: "drop", code: "CAUSEWAY_FORWARDING_PEER_LOST" });
    table.apply(up(g2));
    expect(go(table, { target: remote })).toMatchObject({ action: "relay" });
    table.apply(put(remote, g2, { applicable: false }));
    expect(go(table, { target: remote })).toMatchObject({ code: "CAUSEWAY_FORWARDING_PEER_LOST" });
  });

  test("a detach by an older link leaves the newer attachment alone", () => {
    const table = tableWith(attach(hotel), attach(hotel, { link: asLinkId(9), attachmentSequence: 2n }));
    table.apply({ kind: "detach", agentId: hotel, instance: "i", link: asLinkId(7) });
    expect(go(table, { target: hotel })).toMatchObject({ action: "deliver", link: 9 });
  });

  test("a message never goes back to the neighbour it came from", () => {
    const table = tableWith(up(g2), up(g3), put(remote, g2));
    expect(go(table, { target: remote, source: remote }, fromPeer(g2))).toMatchObject({
      action: "drop",
      code: "CAUSEWAY_FORWARDING_NOT_ATTACHED",
      reason: "only-way-is-back",
    });
    table.apply(put(remote, g3, { path: [g2] }));
    expect(go(table, { target: remote, source: remote }, fromPeer(g2))).toEqual({
      action: "relay",
      peer: g3,
      reason: "better-way-leads-back",
    });
  });
});

describe("choice among origins", () => {
  const reasonFor = (...candidates: readonly RouteCandidate[]): unknown => {
    const table = tableWith(up(g2), up(g3), ...candidates.map((c) => ({ kind: "put", candidate: c }) as const));
    return [go(table, { target: remote }), table.explain(remote).chosen?.reason];
  };
  test.each([
    ["applicable-first", { applicable: false }, {}],
    ["online-first", { status: 3 }, { status: 2 }],
    ["newest-attachment", { attachmentSequence: 4n }, { attachmentSequence: 5n }],
    ["shortest-path", { path: [g2, g("gw9")] }, { path: [g3] }],
  ] as const)("%s", (reason, worse, better) => {
    expect(reasonFor(candidate(remote, g2, worse), candidate(remote, g3, better))).toEqual([
      { action: "relay", peer: g3, reason },
      reason,
    ]);
  });

  test("lowest-origin, when all else is equal", () => {
    expect(reasonFor(candidate(remote, g3), candidate(remote, g2))).toEqual([
      { action: "relay", peer: g2, reason: "lowest-origin" },
      "lowest-origin",
    ]);
  });

  test("an agent that attached elsewhere later gets nothing at its old attachment [AAP-95]", () => {
    const table = tableWith(up(g2), attach(hotel, { attachmentSequence: 5n }));
    expect(go(table, { target: hotel })).toMatchObject({ action: "deliver" });
    table.apply(put(hotel, g2, { attachmentSequence: 6n }));
    expect(go(table, { target: hotel })).toEqual({ action: "relay", peer: g2, reason: "newest-attachment" });
  });

  test("of a multi-homed agent the origin that still reaches it is used", () => {
    const table = tableWith(up(g2), attach(hotel, { stale: true, attachmentSequence: 9n }), put(hotel, g2));
    expect(go(table, { target: hotel })).toEqual({ action: "relay", peer: g2, reason: "online-first" });
    table.apply(put(hotel, g2, { status: 3 }));
    expect(go(table, { target: hotel })).toMatchObject({ action: "hold", reason: "attachment-stale" });
  });
});

describe("instances and anycast", () => {
  const three = ["a", "b", "c"].map((instance, i) => attach(hotel, { instance, link: asLinkId(20 + i) }));
  const source = (n: number): string => `spiffe://green.example/client-${n}`;
  const linkOf = (verdict: Verdict): number => (verdict.action === "deliver" ? verdict.link : -1);

  test("three instances: anycast spreads over sources, unicast always hits the named one [BEY-7]", () => {
    const table = tableWith(...three);
    const hits = new Map<number, number>();
    for (let n = 0; n < 300; n++) {
      const link = linkOf(go(table, { target: hotel, source: source(n) }, fromPeer(g2)));
      hits.set(link, (hits.get(link) ?? 0) + 1);
    }
    expect([...hits].sort()).toEqual([
      [20, 100],
      [21, 100],
      [22, 100],
    ]);
    for (let n = 0; n < 30; n++) {
      expect(go(table, { target: `${hotel}/@b`, source: source(n) }, fromPeer(g2))).toMatchObject({
        link: 21,
        reason: "named-instance",
      });
    }
  });

  test("a source stays at its instance, and moves when that one is gone", () => {
    const table = tableWith(...three);
    const first = go(table, { target: hotel, source: source(1) }, fromPeer(g2));
    expect(first).toMatchObject({ reason: "least-loaded-instance" });
    for (let i = 0; i < 5; i++) {
      expect(go(table, { target: hotel, source: source(1) }, fromPeer(g2))).toMatchObject({
        link: linkOf(first),
        reason: "sticky-instance",
      });
    }
    table.apply(attach(hotel, { instance: "a", link: asLinkId(20), stale: true }));
    const second = go(table, { target: hotel, source: source(1) }, fromPeer(g2));
    expect(linkOf(second)).not.toBe(20);
    table.apply({ kind: "detach", agentId: hotel, instance: "b", link: asLinkId(21) });
    table.apply({ kind: "detach", agentId: hotel, instance: "c", link: asLinkId(22) });
    expect(go(table, { target: hotel, source: source(1) }, fromPeer(g2))).toMatchObject({ action: "hold" });
  });

  test("a source leaves a degraded instance for one that runs well, and degraded ones serve when all are [ANA-103]", () => {
    const table = tableWith(...three);
    const ask = (): number => linkOf(go(table, { target: hotel, source: source(1) }, fromPeer(g2)));
    const names = new Map([
      [20, "a"],
      [21, "b"],
      [22, "c"],
    ]);
    const ill = new Set<number>();
    for (let round = 0; round < 3; round++) {
      const link = ask();
      expect([...ill]).not.toContain(link);
      ill.add(link);
      table.apply(attach(hotel, { instance: names.get(link) ?? "", link: asLinkId(link), degraded: true }));
    }
    expect([...ill].sort()).toEqual([20, 21, 22]);
    const last = ask();
    expect(ask()).toBe(last);
    // Elsewhere one runs well: that is better than degraded here.
    table.apply(up(g2));
    table.apply(put(hotel, g2));
    expect(go(table, { target: hotel })).toMatchObject({ action: "relay", peer: g2 });
  });

  test("an instance that isn't here is looked for elsewhere, then held", () => {
    const table = tableWith(up(g2), ...three, put(hotel, g2));
    expect(go(table, { target: `${hotel}/@z` })).toMatchObject({ action: "relay", peer: g2 });
    table.apply({ kind: "withdraw", agentId: hotel, origin: g2 });
    expect(go(table, { target: `${hotel}/@z` })).toMatchObject({ action: "hold", reason: "not-attached" });
  });

  test("a prefix goes to one matching agent, attached here first [AAP-69]", () => {
    const table = tableWith(
      up(g2),
      put(parseAgentId("blue.example/travel/a"), g2),
      attach(hotel),
      put(parseAgentId("blue.example/travelling/x"), g2),
    );
    const toPrefix = (target: string, arrival: Arrival = fromBooker): Verdict =>
      go(table, { targetKind: 2, target }, arrival);
    expect(toPrefix("spiffe://blue.example/travel")).toMatchObject({ action: "deliver", agentId: hotel });
    expect(toPrefix("spiffe://blue.example/travel/")).toMatchObject({ action: "deliver", agentId: hotel });
    expect(toPrefix("spiffe://blue.example/travelling")).toMatchObject({ action: "relay", peer: g2 });
    expect(toPrefix("spiffe://blue.example/trav")).toMatchObject({
      action: "drop",
      code: "CAUSEWAY_FORWARDING_NO_ROUTE",
    });
    table.apply({ kind: "detach", agentId: hotel, instance: "i", link: asLinkId(7) });
    expect(toPrefix("spiffe://blue.example/travel")).toMatchObject({ action: "relay", peer: g2 });
  });

  test("choices of a prefix go round over sources and stick to each", () => {
    const agents = ["a", "b", "c"].map((n) => parseAgentId(`blue.example/pool/${n}`));
    const table = tableWith(...agents.map((a, i) => attach(a, { link: asLinkId(30 + i) })));
    const choose = (n: number): number =>
      linkOf(go(table, { targetKind: 2, target: "spiffe://blue.example/pool", source: source(n) }, { kind: "own" }));
    const first = [0, 1, 2].map(choose);
    expect([...first].sort()).toEqual([30, 31, 32]);
    expect([0, 1, 2].map(choose)).toEqual(first);
  });

  test("of what is not known it is refused for good that the only way leads back", () => {
    const unknown = { action: "drop", code: "CAUSEWAY_FORWARDING_NO_ROUTE", reason: "unknown-way-is-back" };
    const prefix = tableWith(up(g2), { kind: "prefix", prefix: "spiffe://green.example/site", peer: g2 } as never);
    const typo = "spiffe://green.example/site/typo";
    expect(go(prefix, { target: typo, source: remote }, fromPeer(g2))).toMatchObject(unknown);
    // The way back to a sender that nobody advertises.
    const [guest, carol] = [parseAgentId("green.example/cli/guest"), parseAgentId("green.example/cli/carol")];
    const table = tableWith(up(g2), up(g3), put(parseAgentId("green.example/cli/other"), g3));
    const toAny = { targetKind: 2, target: "spiffe://green.example/cli", source: guest } as const;
    expect(go(table, toAny, fromPeer(g2))).toMatchObject({ action: "relay", peer: g3 });
    expect(go(table, { target: guest, source: carol }, fromPeer(g2))).toMatchObject(unknown);
  });

  test("from a neighbour a prefix takes the nearest member, never back", () => {
    const [near, far] = [parseAgentId("red.example/p/near"), parseAgentId("red.example/p/far")];
    const table = tableWith(up(g2), up(g3), put(far, g3, { path: [g3, g("gw9")] }), put(near, g2, { path: [g2] }));
    const target = { targetKind: 2, target: "spiffe://red.example/p", source: remote } as const;
    expect(go(table, target, fromPeer(g("gw8")))).toMatchObject({ peer: g2 });
    expect(go(tableWith(up(g2), put(near, g2)), target, fromPeer(g2))).toMatchObject({ reason: "only-way-is-back" });
  });
});

describe("limits of a message", () => {
  test("a loop of broken tables ends after as many gateways as the TTL says [AAP-71]", () => {
    const gateways = [self, g2, g3];
    const tables = gateways.map((me, i) => {
      const table = new ForwardingTable({ self: me, domain: blue });
      const next = gateways[(i + 1) % 3] as GatewayUri;
      table.apply(up(next));
      table.apply(put(remote, next, { via: { kind: "peer", peer: next } }));
      return table;
    });
    for (const ttl of [1, 2, 16, 127]) {
      const scan = scanOf({ target: remote, hopTtl: ttl });
      let arrival: Arrival = fromBooker;
      let passed = 0;
      let verdict: Verdict;
      for (;;) {
        const at = passed % 3;
        verdict = forward(scan, tables[at] as ForwardingTable, open, arrival, now);
        passed++;
        // Bounded, so that a missing check fails instead of looping.
        if (verdict.action !== "relay" || passed > 200) break;
        decrementTtl(scan);
        arrival = fromPeer(gateways[at] as GatewayUri, "blue.example");
      }
      expect([passed, verdict]).toEqual([
        ttl,
        expect.objectContaining({ action: "drop", code: "CAUSEWAY_FORWARDING_TTL_EXHAUSTED" }),
      ]);
    }
  });

  test("a TTL of 1 still allows delivery here", () => {
    expect(go(tableWith(attach(hotel)), { target: hotel, hopTtl: 1 })).toMatchObject({ action: "deliver" });
  });

  test("expiry", () => {
    const table = tableWith(attach(hotel));
    expect(go(table, { target: hotel, expiresUnixMs: BigInt(now) - 1n })).toMatchObject({
      action: "drop",
      code: "CAUSEWAY_FORWARDING_EXPIRED",
    });
    expect(go(table, { target: hotel, expiresUnixMs: BigInt(now) })).toMatchObject({ action: "deliver" });
    expect(go(table, { target: hotel, expiresUnixMs: 0n })).toMatchObject({ action: "deliver" });
  });
});

describe("who may send what", () => {
  const table = tableWith(up(g2), attach(hotel), put(remote, g2));

  test("a source other than the attachment is refused [AAP-42]", () => {
    for (const source of [hotel, remote, `${booker}/@other`, `${booker}2`, "spiffe://blue.example/travel/booke"]) {
      expect(go(table, { target: hotel, source }), source).toMatchObject({
        action: "drop",
        code: "CAUSEWAY_IDENTITY_MISMATCH",
      });
    }
    for (const source of [booker, `${booker}/@i`])
      expect(go(table, { target: hotel, source })).toMatchObject({ action: "deliver" });
  });

  test("nobody outside speaks for an agent of this domain", () => {
    expect(go(table, { target: hotel, source: booker }, fromPeer(g2))).toMatchObject({
      code: "CAUSEWAY_FORWARDING_NOT_ALLOWED",
      reason: "source-of-own-domain-from-outside",
    });
    expect(go(table, { target: hotel, source: booker }, fromPeer(g2, "blue.example"))).toMatchObject({
      action: "deliver",
    });
    expect(go(table, { target: hotel, source: "spiffe://blue.example.evil/x" }, fromPeer(g2))).toMatchObject({
      action: "deliver",
    });
  });

  test("rules permit and deny by source, target, domain and direction; the first match decides [AAP-7]", () => {
    const judge = (rules: readonly PolicyRule[], init: HeaderInit, arrival?: Arrival): unknown => {
      const verdict = go(table, init, arrival, new ForwardingPolicy(rules, blue));
      return verdict.action === "drop" ? [verdict.code, verdict.rule?.name] : verdict.action;
    };
    const denyPair = { name: "no-green", effect: "deny", source: "blue.example", target: "green.example" } as const;
    expect(judge([denyPair], { target: remote })).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED", "no-green"]);
    expect(judge([denyPair], { target: hotel })).toBe("deliver");
    expect(judge([], { target: remote })).toBe("relay");
    expect(judge([{ name: "ok", effect: "permit", source: booker }, denyPair], { target: remote })).toBe("relay");
    expect(judge([{ name: "out", effect: "deny", direction: "outbound" }], { target: remote })).toEqual([
      "CAUSEWAY_FORWARDING_NOT_ALLOWED",
      "out",
    ]);
    expect(judge([{ name: "out", effect: "deny", direction: "outbound" }], { target: hotel })).toBe("deliver");
    expect(
      judge([{ name: "in", effect: "deny", direction: "inbound" }], { target: hotel, source: remote }, fromPeer(g2)),
    ).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED", "in"]);
    expect(judge([{ name: "t", effect: "deny", target: "spiffe://blue.example/travel/hot" }], { target: hotel })).toBe(
      "deliver",
    );
    expect(
      judge([{ name: "topics", effect: "deny", target: "blue.example/travel" }], {
        targetKind: 3,
        target: "blue.example/travel/booker/deals",
      }),
    ).toEqual(["CAUSEWAY_FORWARDING_NOT_ALLOWED", "topics"]);
  });

  test("a rule that is no rule is a configuration error", () => {
    for (const rule of [
      { name: "", effect: "deny" },
      { name: "x", effect: "deny", source: "" },
      { name: "x", effect: "deny", target: "a//b" },
    ] as const) {
      expect(() => new ForwardingPolicy([rule], blue)).toThrow(
        expect.objectContaining({ code: "CAUSEWAY_CONFIG_INVALID" }),
      );
    }
  });
});

describe("payloads", () => {
  const world = (): ForwardingTable => tableWith(up(g2), attach(hotel), put(remote, g2), { kind: "uplink", peer: g2 });
  const headers = fc.record({
    target: fc.constantFrom(hotel, remote, `${hotel}/@i`, "spiffe://red.example/x"),
    hopTtl: fc.integer({ min: 1, max: 127 }),
    flags: fc.nat(3),
  });

  test("two messages with equal headers and different payloads get the same verdict [AAP-31]", () => {
    fc.assert(
      fc.property(headers, fc.uint8Array({ maxLength: 500 }), fc.uint8Array({ maxLength: 500 }), (init, a, b) => {
        expect(forward(scanOf(init, a), world(), open, fromBooker, now)).toEqual(
          forward(scanOf(init, b), world(), open, fromBooker, now),
        );
      }),
    );
  });

  test("the security context is opaque: any value gets the same verdict and is left as it is [AAP-72]", () => {
    fc.assert(
      fc.property(headers, fc.uint8Array({ maxLength: 64 }), (init, securityContextId) => {
        const scan = scanOf({ ...init, securityContextId });
        expect(forward(scan, world(), open, fromBooker, now)).toEqual(
          forward(scanOf(init), world(), open, fromBooker, now),
        );
        expect(scan.buf.slice(scan.securityContextStart, scan.securityContextEnd)).toEqual(securityContextId);
      }),
    );
  });

  test("any payload passes three gateways byte for byte; nothing in this room can read one [AAP-97]", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (payload) => {
        const scan = scanOf({ target: remote }, payload);
        const before = scan.bytes().slice();
        for (let hop = 0; hop < 3; hop++) {
          expect(forward(scan, world(), open, fromBooker, now).action).toBe("relay");
          decrementTtl(scan);
        }
        expect(scan.buf.subarray(scan.payloadStart, scan.payloadEnd)).toEqual(payload);
        before[scan.hopTtlAt] = 13;
        expect(scan.bytes()).toEqual(before);
      }),
    );
    const folder = new URL(".", import.meta.url);
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))) {
      const code = readFileSync(new URL(file, folder), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
      expect(code, file).not.toMatch(/payload|mls|e2ee|\.body\(\)|\.bytes\(\)|decodeFrame/i);
    }
  });
});

describe("hop trace", () => {
  test("keeps traced messages and every drop, bounded, with words", () => {
    const trace = new HopTrace({ gateway: self, entriesMax: 3 });
    const table = tableWith(up(g2), put(remote, g2));
    const note = (init: HeaderInit): unknown => {
      const scan = scanOf(init);
      return trace.note(scan, fromBooker, forward(scan, table, open, fromBooker, now), now);
    };
    expect(note({ target: remote })).toBeUndefined();
    expect(note({ target: remote, flags: 1, messageId: new Uint8Array(16).fill(1) })).toMatchObject({
      from: booker,
      to: g2,
      action: "relay",
      hopTtl: 16,
      reason: "only one way is known",
      gateway: self,
    });
    for (const id of [2, 3, 4]) note({ target: hotel, messageId: new Uint8Array(16).fill(id) });
    expect(trace.recent(10).map((e) => e.messageId.slice(0, 2))).toEqual(["04", "03", "02"]);
    expect(trace.recent(1)).toHaveLength(1);
    expect(trace.find("03".repeat(16))).toMatchObject([
      { action: "drop", to: "", reason: expect.stringContaining("no gateway on the way knows the target") },
    ]);
    expect(trace.find("01".repeat(16))).toEqual([]);
  });
});
