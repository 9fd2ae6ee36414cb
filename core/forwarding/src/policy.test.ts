import { type Domain, parseGatewayUri } from "@causeway/core-base";
import { asLinkId, encodeMessageFrame, FrameScan, scanFrame, TargetKind } from "@causeway/core-wire";
import fc from "fast-check";
import { expect, test } from "vitest";
import { forward } from "./forward.ts";
import { ForwardingPolicy, type PolicyRule } from "./policy.ts";
import { ForwardingTable } from "./table.ts";

const blue = "blue.example" as Domain;
const names = [
  "blue.example/travel/a",
  "blue.example/travel/ab",
  "blue.example/travel",
  "blue.example/x/a",
  "green.example/travel/a",
  "red.example/y",
];
const prefixes = [...names, "blue.example", "green.example", "red.example", "blue.example/trav"];

const rules = fc
  .array(
    fc.record(
      {
        effect: fc.constantFrom<"permit" | "deny">("permit", "deny"),
        source: fc.constantFrom(...prefixes),
        target: fc.constantFrom(...prefixes),
        direction: fc.constantFrom("inbound" as const, "outbound" as const, "internal" as const, "transit" as const),
      },
      { requiredKeys: ["effect"] },
    ),
    { maxLength: 8 },
  )
  .map((list): PolicyRule[] => list.map((rule, index) => ({ ...rule, name: `rule ${index}` })));

/** What the rules say, read the slow way. */
function denies(list: readonly PolicyRule[], source: string, target: string): boolean {
  const isOurs = (name: string): boolean => name.startsWith(`${blue}/`);
  const direction = isOurs(source)
    ? isOurs(target)
      ? "internal"
      : "outbound"
    : isOurs(target)
      ? "inbound"
      : "transit";
  const isCovered = (prefix: string | undefined, name: string): boolean =>
    prefix === undefined || name === prefix || name.startsWith(`${prefix}/`);
  const first = list.find(
    (rule) =>
      isCovered(rule.source, source) &&
      isCovered(rule.target, target) &&
      (rule.direction === undefined || rule.direction === direction),
  );
  return first?.effect === "deny";
}

const g1 = parseGatewayUri("https://gw1.blue.example/amsp");
const g2 = parseGatewayUri("https://gw2.blue.example/amsp");

test("the same policy decides alike on every gateway, whatever else each knows, and as the rules read [AAP-25]", () => {
  const empty = new ForwardingTable({ self: g1, domain: blue });
  const full = new ForwardingTable({ self: g2, domain: blue });
  full.apply({ kind: "peer", peer: g1, isUp: true });
  for (const [index, name] of names.entries()) {
    const attachment = { agentId: `spiffe://${name}` as never, instance: "main", link: asLinkId(index + 1) };
    full.apply({ kind: "attach", attachment: { ...attachment, attachmentSequence: 1n, stale: false } });
  }
  fc.assert(
    fc.property(rules, fc.constantFrom(...names), fc.constantFrom(...names), (list, source, target) => {
      const frame = encodeMessageFrame(
        {
          targetKind: TargetKind.agent,
          target: `spiffe://${target}`,
          source: `spiffe://${source}`,
          messageId: new Uint8Array(16).fill(1),
        },
        Uint8Array.of(1),
      );
      const decisions = [empty, full].map((table) => {
        const scan = new FrameScan();
        expect(scanFrame(frame, 0, frame.length, scan)).toBeUndefined();
        // Loaded by each from the same document.
        const policy = new ForwardingPolicy(JSON.parse(JSON.stringify(list)) as PolicyRule[], blue);
        const verdict = forward(scan, table, policy, { kind: "own" }, Date.UTC(2026, 0, 1) as never);
        return verdict.action === "drop" && verdict.reason === "policy-rule";
      });
      expect(decisions).toEqual([denies(list, source, target), denies(list, source, target)]);
    }),
    { numRuns: 2_000 },
  );
});
