import {
  type AgentId,
  asUnixMs,
  type Domain,
  type GatewayUri,
  parseAgentId,
  parseGatewayUri,
  type UnixMs,
} from "@causeway/core-base";
import { asLinkId, encodeFrame, encodeMessageFrame, FrameScan, type HeaderInit, scanFrame } from "@causeway/core-wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { forward } from "./forward.ts";
import { asciiBytes, hashBytes } from "./name-map.ts";
import { ForwardingPolicy } from "./policy.ts";
import type { Arrival } from "./route.ts";
import { ForwardingTable, type ForwardingTableOptions } from "./table.ts";
import type { Verdict } from "./verdict.ts";

const blue = "blue.example" as Domain;
const g = (n: string): GatewayUri => parseGatewayUri(`https://${n}.example/amsp`);
const [self, edge, green, red] = [g("self"), g("edge"), g("green"), g("red")];
const ann = parseAgentId("blue.example/cli/ann");
const [bob, eve] = [parseAgentId("green.example/hotels/bob"), parseAgentId("green.example/hotels/eve")];
const t0 = asUnixMs(1_700_000_000_000);
const after = (ms: number): UnixMs => asUnixMs(t0 + ms);
const open = new ForwardingPolicy([], blue);

const from = (peer: GatewayUri, domain: string): Arrival => ({ kind: "peer", link: asLinkId(2), peer, domain });
const fromEdge = from(edge, "blue.example");
const fromGreen = from(green, "green.example");
const fromRed = from(red, "red.example");

const scanOf = (bytes: Uint8Array): FrameScan => {
  const scan = new FrameScan();
  expect(scanFrame(bytes, 0, bytes.length, scan)).toBeUndefined();
  return scan;
};
const message = (source: string, target: string, more: HeaderInit = {}): FrameScan =>
  scanOf(
    encodeMessageFrame({ targetKind: 1, messageId: new Uint8Array(16), source, target, ...more }, Uint8Array.of(1)),
  );
const control = (source: string, target: string, body: "deliveryReport" | "keyPackageFetch"): FrameScan => {
  const header = { version: 1, targetKind: 1, target, source, messageId: new Uint8Array(16), hopTtl: 16 };
  return scanOf(encodeFrame({ case: "control", value: { header, body: { case: body, value: {} } } as never }));
};

/** A Level-2 gateway of blue between its edge and two foreign neighbours; bob and eve are known behind green. */
function tableWith(options: Partial<ForwardingTableOptions> = {}): ForwardingTable {
  const table = new ForwardingTable({ self, domain: blue, ...options });
  for (const peer of [edge, green, red]) table.apply({ kind: "peer", peer, isUp: true });
  for (const agentId of [bob, eve]) advertise(table, agentId, green);
  return table;
}
function advertise(table: ForwardingTable, agentId: AgentId, peer: GatewayUri): void {
  table.apply({
    kind: "put",
    candidate: {
      agentId,
      origin: peer,
      via: { kind: "peer", peer },
      path: [],
      epoch: 1n,
      sequence: 1n,
      status: 1,
      applicable: true,
      attachmentSequence: 1n,
    },
  });
}
const pass = (table: ForwardingTable, scan: FrameScan, arrival: Arrival, now = t0): Verdict =>
  forward(scan, table, open, arrival, now);
const wayOf = (verdict: Verdict): string =>
  verdict.action === "relay" ? `${verdict.peer} ${verdict.reason}` : `${verdict.action} ${verdict.reason}`;
const back = `${edge} return-path`;
const none = "drop no-entry";

describe("who may use the way back", () => {
  test("only the agent that was written to; for everybody else the sender stays unreachable [ANA-97]", () => {
    const table = tableWith();
    expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(none);
    pass(table, message(ann, bob), fromEdge);
    expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(back);
    expect(wayOf(pass(table, message(`${bob}/@one`, `${ann}/@cli-1`), fromGreen))).toBe(back);
    expect(wayOf(pass(table, message(eve, ann), fromGreen))).toBe(none);
    expect(wayOf(pass(table, message(`${bob}by`, ann), fromGreen))).toBe(none);
    expect(wayOf(pass(table, message(`${bob}/sub`, ann), fromGreen))).toBe(none);
    expect(wayOf(pass(table, message(bob, `${ann}e`), fromGreen))).toBe(none);
  });

  test("an agent below the prefix that was written to", () => {
    const table = tableWith();
    pass(table, message(ann, "spiffe://green.example/hotels/", { targetKind: 2 }), fromEdge);
    expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(back);
    expect(wayOf(pass(table, message("spiffe://green.example/hotel", ann), fromGreen))).toBe(none);
    expect(wayOf(pass(table, message("spiffe://green.example/spas/kim", ann), fromGreen))).toBe(none);
  });

  test("gateways on the way with answers and reports, and nobody who only says so", () => {
    const table = tableWith();
    const gateway = "spiffe://red.example/gateway/core";
    expect(wayOf(pass(table, control(gateway, ann, "deliveryReport"), fromRed))).toBe(none);
    pass(table, message(ann, bob), fromEdge);
    expect(wayOf(pass(table, control(gateway, ann, "deliveryReport"), fromRed))).toBe(back);
    expect(wayOf(pass(table, control(gateway, ann, "keyPackageFetch"), fromRed))).toBe(none);
    expect(wayOf(pass(table, message(gateway, ann), fromRed))).toBe(none);
    expect(wayOf(pass(table, control("spiffe://red.example/gatewa/y", ann, "deliveryReport"), fromRed))).toBe(none);
    expect(wayOf(pass(table, control(eve, ann, "deliveryReport"), fromGreen))).toBe(none);
    const own = "spiffe://blue.example/gateway/self";
    expect(wayOf(pass(table, control(own, ann, "deliveryReport"), { kind: "own" }))).toBe(back);
  });

  test("a question for a key package is asked for an answer too; an answer is not", () => {
    const table = tableWith();
    pass(table, control("spiffe://blue.example/gateway/edge", bob, "deliveryReport"), fromEdge);
    expect(table.returnPaths.size).toBe(0);
    pass(table, control(ann, bob, "keyPackageFetch"), fromEdge);
    expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(back);
  });
});

describe("what is remembered", () => {
  test("nothing of a sender with an entry, of a refused frame, of a topic, and of what came over the uplink", () => {
    const table = tableWith();
    pass(table, message(eve, bob), from(red, "red.example"));
    pass(table, message(ann, "spiffe://green.example/hotels/nobody"), fromEdge);
    pass(table, message(ann, bob, { hopTtl: 1 }), fromEdge);
    pass(table, message(ann, bob, { expiresUnixMs: BigInt(t0) - 1n }), fromEdge);
    pass(table, message(ann, "green.example/hotels/bob/deals", { targetKind: 3 }), fromEdge);
    expect(table.returnPaths.size).toBe(0);
    table.apply({ kind: "uplink", peer: edge });
    pass(table, message(ann, bob), fromEdge);
    expect(table.returnPaths.size).toBe(0);
  });

  test("nothing that a neighbour of another domain says of an agent of ours", () => {
    const table = tableWith();
    expect(wayOf(pass(table, message(ann, bob), fromRed))).toBe("drop source-of-own-domain-from-outside");
    expect(table.returnPaths.size).toBe(0);
  });

  test("the table comes first; without entry the way back comes before the uplink", () => {
    const table = tableWith();
    table.apply({ kind: "uplink", peer: red });
    pass(table, message(ann, bob), fromEdge);
    const fromBob: Arrival = { kind: "agent", link: asLinkId(1), agentId: bob, instance: "i" };
    expect(wayOf(pass(table, message(bob, ann), fromBob))).toBe(back);
    advertise(table, ann, green);
    expect(wayOf(pass(table, message(bob, ann), fromBob))).toBe(`${green} only-candidate`);
    table.apply({ kind: "withdraw", agentId: ann, origin: green });
    expect(wayOf(pass(table, message(bob, ann), fromBob))).toBe(`${red} default-uplink`);
  });

  test("explain names the way back", () => {
    const table = tableWith();
    pass(table, message(ann, bob), fromEdge);
    expect(table.explain(ann, t0)).toMatchObject({ chosen: { via: edge, reason: "return-path" } });
    expect(table.explain(`${ann}/@cli-1`, t0).text).toContain("the way back to a sender that is not advertised");
    expect(table.explain(ann, after(400_000)).chosen).toBeUndefined();
    expect([...table.returnPaths.senders()]).toEqual([{ agentId: ann, peer: edge, at: t0 }]);
  });

  test("the newest neighbour leads back; one that does not vouch for the sender cannot take its answers over", () => {
    const table = tableWith();
    const pia = "spiffe://pink.example/cli/pia";
    const local = parseAgentId("blue.example/desk/dan");
    table.apply({
      kind: "attach",
      attachment: { agentId: local, instance: "i", link: asLinkId(9), attachmentSequence: 1n, stale: false },
    });
    const wayToPia = (): string => wayOf(pass(table, message(local, pia), { kind: "own" }));
    pass(table, message(pia, local), fromRed);
    expect(wayToPia()).toBe(`${red} return-path`);
    pass(table, message(pia, local), from(green, "pink.example"));
    expect(wayToPia()).toBe(`${green} return-path`);
    pass(table, message(pia, local), fromRed);
    expect(wayToPia()).toBe(`${green} return-path`);
    pass(table, message(pia, local), fromEdge);
    expect(wayToPia()).toBe(back);
  });
});

describe("how long it is remembered", () => {
  test("300 s after the sender's last frame; answers do not prolong it", () => {
    const table = tableWith();
    pass(table, message(ann, bob), fromEdge);
    pass(table, message(ann, bob), fromEdge, after(200_000));
    for (const at of [250_000, 400_000, 500_000])
      expect(wayOf(pass(table, message(bob, ann), fromGreen, after(at)))).toBe(back);
    expect(wayOf(pass(table, message(bob, ann), fromGreen, after(500_001)))).toBe(none);
    table.returnPaths.expire(after(500_000));
    expect(table.returnPaths.size).toBe(1);
    table.returnPaths.expire(after(500_001));
    expect(table.returnPaths.size).toBe(0);
  });

  test("of each contact apart", () => {
    const table = tableWith();
    pass(table, message(ann, bob), fromEdge);
    pass(table, message(ann, eve), fromEdge, after(200_000));
    expect(wayOf(pass(table, message(eve, ann), fromGreen, after(400_000)))).toBe(back);
    expect(wayOf(pass(table, message(bob, ann), fromGreen, after(400_000)))).toBe(none);
  });

  test("until its neighbour is lost", () => {
    const table = tableWith();
    pass(table, message(ann, bob), fromEdge);
    table.apply({ kind: "peer", peer: edge, isUp: false });
    table.apply({ kind: "peer", peer: edge, isUp: true });
    expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(none);
  });

  test("until the agent has been attached here and is gone", () => {
    const table = tableWith();
    pass(table, message(ann, bob), fromEdge);
    const attachment = { agentId: ann, instance: "i", link: asLinkId(5), attachmentSequence: 1n, stale: false };
    table.apply({ kind: "attach", attachment });
    table.apply({ kind: "detach", agentId: ann, instance: "i", link: asLinkId(5) });
    expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(none);
  });
});

test("names are compared in full: an equal hash lets nobody else answer, nor be answered", () => {
  const [caller, twin] = ["spiffe://blue.example/cli/fpta0k", "spiffe://blue.example/cli/13sckch"];
  const [asked, stranger] = ["spiffe://green.example/hotels/a00wxt", "spiffe://green.example/hotels/m9zus4"];
  for (const [a, b] of [
    [caller, twin],
    [asked, stranger],
  ] as const) {
    expect(hashBytes(asciiBytes(a), 0, a.length)).toBe(hashBytes(asciiBytes(b), 0, b.length));
  }
  const table = tableWith();
  advertise(table, asked as AgentId, green);
  pass(table, message(caller, asked), fromEdge);
  expect(wayOf(pass(table, message(asked, caller), fromGreen))).toBe(back);
  expect(wayOf(pass(table, message(stranger, caller), fromGreen))).toBe(none);
  expect(wayOf(pass(table, message(asked, twin), fromGreen))).toBe(none);
  table.returnPaths.forget(twin as AgentId);
  expect(wayOf(pass(table, message(asked, caller), fromGreen))).toBe(back);
});

test("beyond the bound the least recently heard of are forgotten", () => {
  const agent = (n: number): string => `spiffe://blue.example/cli/a${n}`;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(7), fc.constantFrom(bob, eve)), { maxLength: 60 }),
      fc.integer({ min: 1, max: 6 }),
      (frames, entriesMax) => {
        const table = tableWith({ returnPathsMax: entriesMax });
        let at = 0;
        const noted = new Set<string>();
        for (const [n, contact] of frames) {
          // Far enough apart that each frame counts as newer.
          at += 10_000;
          pass(table, message(agent(n), contact), fromEdge, after(at));
          noted.delete(`${n} ${contact}`);
          noted.add(`${n} ${contact}`);
        }
        expect(table.returnPaths.size).toBeLessThanOrEqual(entriesMax);
        const newest = [...noted].at(-1);
        for (const n of Array.from({ length: 8 }, (_, i) => i)) {
          for (const contact of [bob, eve]) {
            const isOpen = wayOf(pass(table, message(contact, agent(n)), fromGreen, after(at))) === back;
            // Nobody who was not written to; the newest always.
            if (isOpen) expect(noted).toContain(`${n} ${contact}`);
            if (newest === `${n} ${contact}`) expect(isOpen).toBe(true);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("what is remembered keeps no part of the buffer that a frame came in", () => {
  const table = tableWith();
  const bytes = Buffer.from(message(ann, bob).bytes());
  pass(table, scanOf(bytes), fromEdge);
  bytes.fill(0x2e);
  expect(wayOf(pass(table, message(bob, ann), fromGreen))).toBe(back);
});
