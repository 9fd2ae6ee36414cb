import {
  type AgentId,
  asUnixMs,
  type Domain,
  type GatewayUri,
  parseAgentId,
  parseGatewayUri,
} from "@causeway/core-base";
import { asLinkId, encodeMessageFrame, FrameScan, scanFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { forward } from "./forward.ts";
import { ForwardingPolicy } from "./policy.ts";
import { recall } from "./recent-verdict.ts";
import type { Arrival, TableDelta } from "./route.ts";
import { ForwardingTable } from "./table.ts";

const blue = "blue.example" as Domain;
const g = (n: string): GatewayUri => parseGatewayUri(`https://${n}.example/amsp`);
const [self, g2, g3] = [g("gw1"), g("gw2"), g("gw3")];
const agents = ["blue.example/a", "blue.example/b", "green.example/c"].map((text) => parseAgentId(text));
const instances = ["i", "j"];
const now = asUnixMs(1_700_000_000_000);

/** A private message of an empty group. */
const payload = Uint8Array.from([
  0,
  1,
  0,
  2,
  0,
  ...Array(8).fill(0),
  1,
  0,
  16,
  ...Array(16).fill(5),
  16,
  ...Array(16).fill(6),
]);

const agent = fc.constantFrom(...agents);
const instance = fc.constantFrom(...instances);
const peer = fc.constantFrom(g2, g3);
const deltas: fc.Arbitrary<TableDelta> = fc.oneof(
  fc.record({ kind: fc.constant("peer" as const), peer, isUp: fc.boolean() }),
  fc.record({ kind: fc.constant("uplink" as const), peer: fc.option(peer, { nil: undefined }) }),
  fc.record({
    kind: fc.constant("prefix" as const),
    prefix: fc.constant("spiffe://green.example"),
    peer: fc.option(peer, { nil: undefined }),
  }),
  fc.record({ agentId: agent, instance, link: fc.integer({ min: 5, max: 6 }), stale: fc.boolean() }).map((a) => ({
    kind: "attach" as const,
    attachment: { ...a, link: asLinkId(a.link), attachmentSequence: 1n },
  })),
  fc.record({ agentId: agent, instance, link: fc.integer({ min: 5, max: 6 }) }).map((a) => ({
    kind: "detach" as const,
    ...a,
    link: asLinkId(a.link),
  })),
  fc
    .record({ agentId: agent, origin: fc.constantFrom(self, g2, g3) })
    .map((w) => ({ kind: "withdraw" as const, ...w })),
  fc.record({ agentId: agent, origin: fc.constantFrom(self, g2, g3), sequence: fc.bigInt(1n, 3n) }).map((c) => ({
    kind: "put" as const,
    candidate: {
      ...c,
      via: c.origin === self ? ({ kind: "local" } as const) : ({ kind: "peer", peer: c.origin } as const),
      path: [],
      epoch: 1n,
      status: 1 as const,
      applicable: true,
      attachmentSequence: c.sequence,
    },
  })),
);

/** Mostly what an agent sends under its own name. */
const arrivalOf = (source: AgentId, from: "itself" | "another" | "peer"): Arrival => {
  if (from === "peer") return fromPeer;
  const agentId = from === "itself" ? source : (agents.find((each) => each !== source) ?? source);
  let arrival = arrivals.get(agentId);
  if (arrival === undefined)
    arrivals.set(agentId, (arrival = { kind: "agent", link: asLinkId(1), agentId, instance: "i" }));
  return arrival;
};
const arrivals = new Map<AgentId, Arrival>();
const fromPeer: Arrival = { kind: "peer", link: asLinkId(2), peer: g2, domain: "green.example" };
const messages = fc.record({
  kind: fc.constant("message" as const),
  source: agent,
  target: fc.oneof(
    { weight: 3, arbitrary: agent },
    fc.tuple(agent, instance).map(([a, i]) => `${a}/@${i}`),
  ),
  from: fc.constantFrom("itself", "itself", "itself", "another", "peer"),
  hopTtl: fc.constantFrom(1, 16, 16),
  policy: fc.constantFrom(0, 0, 1),
  times: fc.integer({ min: 1, max: 3 }),
});
const open = new ForwardingPolicy([], blue);
const policies = [open, new ForwardingPolicy([{ name: "no c", effect: "deny", target: "green.example/c" }], blue)];

function scanOf(message: { readonly source: AgentId; readonly target: string; readonly hopTtl: number }): FrameScan {
  const { source, target, hopTtl } = message;
  const frame = encodeMessageFrame({ targetKind: 1, messageId: new Uint8Array(16), source, target, hopTtl }, payload);
  const scan = new FrameScan();
  expect(scanFrame(frame, 0, frame.length, scan, 11)).toBeUndefined();
  return scan;
}

/** One message again and again, with changes in between. */
const steps = fc
  .tuple(messages, deltas, messages, fc.boolean())
  .map(([message, delta, other, isOther]) => [
    message,
    message,
    delta,
    message,
    ...(isOther ? [{ ...other, source: message.source, target: message.target }, message] : []),
  ]);

test("what was decided before changes no decision", () => {
  let recalled = 0;
  fc.assert(
    fc.property(
      fc.array(deltas, { minLength: 8, maxLength: 20 }),
      fc.array(steps, { maxLength: 12 }),
      (before, after) => {
        const table = new ForwardingTable({ self, domain: blue });
        const without = new ForwardingTable({ self, domain: blue });
        for (const step of [...before, ...after.flat()]) {
          if (step.kind !== "message") {
            table.apply(step);
            without.apply(step);
            continue;
          }
          const policy = policies[step.policy] as ForwardingPolicy;
          for (let i = 0; i < step.times; i++) {
            const scan = scanOf(step);
            const held = scan.known && recall(scan.known, table, policy, arrivalOf(step.source, step.from));
            if (held !== undefined) recalled++;
            const verdict = forward(scan, table, policy, arrivalOf(step.source, step.from), now);
            const unknown = scanOf(step);
            unknown.known = undefined;
            expect(verdict).toEqual(forward(unknown, without, policy, arrivalOf(step.source, step.from), now));
          }
        }
      },
    ),
    { numRuns: 1_500 },
  );
  expect(recalled).toBeGreaterThan(1_000);
});

/** A table with an uplink, and a sender of g2's side that wrote to a. */
function learn(table: ForwardingTable, sender: AgentId): void {
  const scan = scanOf({ source: sender, target: agents[0] ?? sender, hopTtl: 16 });
  table.returnPaths.note(scan, scan.sourceEnd, table.wayBack(g2), true, now);
}

test.each([false, true])(
  "a sender that was learned later is answered the way it came (others before: %s)",
  (isFirst) => {
    const table = new ForwardingTable({ self, domain: blue });
    for (const each of [g2, g3]) table.apply({ kind: "peer", peer: each, isUp: true });
    table.apply({ kind: "uplink", peer: g3 });
    const [a, b, c] = agents as [AgentId, AgentId, AgentId];
    const send = () => forward(scanOf({ source: a, target: c, hopTtl: 16 }), table, open, arrivalOf(a, "itself"), now);
    if (isFirst) learn(table, b);
    for (let i = 0; i < 5; i++) expect(send()).toMatchObject({ action: "relay", peer: g3, reason: "default-uplink" });
    learn(table, c);
    expect(send()).toMatchObject({ action: "relay", peer: g2, reason: "return-path" });
    const later = asUnixMs(now + 400_000);
    const scan = scanOf({ source: a, target: c, hopTtl: 16 });
    expect(forward(scan, table, open, arrivalOf(a, "itself"), later)).toMatchObject({ peer: g3 });
  },
);

test("each message of a neighbour prolongs the way back to its sender", () => {
  const table = new ForwardingTable({ self, domain: blue });
  table.apply({ kind: "peer", peer: g2, isUp: true });
  const [a, , c] = agents as [AgentId, AgentId, AgentId];
  table.apply({
    kind: "attach",
    attachment: { agentId: a, instance: "i", link: asLinkId(5), attachmentSequence: 1n, stale: false },
  });
  for (let ms = 0; ms <= 1_000_000; ms += 100_000) {
    forward(scanOf({ source: c, target: a, hopTtl: 16 }), table, open, fromPeer, asUnixMs(now + ms));
  }
  const answer = scanOf({ source: a, target: c, hopTtl: 16 });
  const verdict = forward(answer, table, open, arrivalOf(a, "itself"), asUnixMs(now + 1_200_000));
  expect(verdict).toMatchObject({ action: "relay", peer: g2, reason: "return-path" });
});

test("which member of a prefix got the last message is left to the table's memory of choices [AAP-69]", () => {
  const table = new ForwardingTable({ self, domain: blue });
  const [a, b] = agents as [AgentId, AgentId, AgentId];
  for (const [agentId, link] of [
    [a, 5],
    [b, 6],
  ] as const) {
    const attachment = { agentId, instance: "i", link: asLinkId(link), attachmentSequence: 1n, stale: false };
    table.apply({ kind: "attach", attachment });
  }
  const header = { targetKind: 2, messageId: new Uint8Array(16), source: a, target: "spiffe://blue.example/" };
  const frame = encodeMessageFrame(header, payload);
  const scan = new FrameScan();
  for (let i = 0; i < 5; i++) {
    expect(scanFrame(frame, 0, frame.length, scan, 12)).toBeUndefined();
    expect(forward(scan, table, open, arrivalOf(a, "itself"), now).action).toBe("deliver");
  }
  expect(scan.known).toBeDefined();
  if (scan.known !== undefined) expect(recall(scan.known, table, open, arrivalOf(a, "itself"))).toBeUndefined();
});
