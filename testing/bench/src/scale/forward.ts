/**
 * Cost of reading a header and deciding on it, with few and with very many entries: for traffic to a thousand targets
 * spread over the table, and for traffic to ever other ones, which no cache helps.
 */
import { type AgentId, asUnixMs, type Domain, type GatewayUri } from "@causeway/core-base";
import { type Arrival, ForwardingPolicy, ForwardingTable, forward } from "@causeway/core-forwarding";
import { encodeMessageFrame, FrameScan, scanFrame, TargetKind } from "@causeway/core-wire";
import { privateMessage } from "../clients/private-message.ts";

const domain = "bench.example" as Domain;
const self = "https://gw1.bench.example/amsp" as GatewayUri;
const peer = "https://gw2.other.example/amsp" as GatewayUri;
const nameOf = (i: number): string => `spiffe://other.example/team${i % 997}/agent${i}`;

process.once("message", (message) => {
  const { entries, decisions } = message as { entries: number; decisions: number };
  const table = fill(entries);
  process.send?.({ few: measure(table, entries, 1_000, decisions), all: measure(table, entries, 200_000, decisions) });
});
process.on("disconnect", () => process.exit());

function fill(entries: number): ForwardingTable {
  const table = new ForwardingTable({ self, domain });
  table.apply({ kind: "peer", peer, isUp: true });
  for (let i = 0; i < entries; i++) {
    table.apply({
      kind: "put",
      candidate: {
        agentId: nameOf(i) as AgentId,
        origin: peer,
        via: { kind: "peer", peer },
        path: [peer],
        epoch: 1n,
        sequence: BigInt(i),
        status: 1,
        attachmentSequence: 1n,
        applicable: true,
      },
    });
  }
  return table;
}

/** Nanoseconds for each of `decisions` about `targets` names. */
function measure(table: ForwardingTable, entries: number, targets: number, decisions: number): number {
  const policy = new ForwardingPolicy([], domain);
  const arrival: Arrival = { kind: "own" };
  const now = asUnixMs(1_800_000_000_000);
  const frames = Array.from({ length: Math.min(entries, targets) }, (_, i) => {
    const target = nameOf((i * 7_919) % entries);
    const source = "spiffe://bench.example/a";
    const header = { targetKind: TargetKind.agent, target, source, messageId: new Uint8Array(16) };
    return encodeMessageFrame(header, privateMessage(100));
  });
  const scan = new FrameScan();
  let relayed = 0;
  const run = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const frame = frames[(i * 31) % frames.length] as Uint8Array;
      if (scanFrame(frame, 0, frame.length, scan) !== undefined) throw new Error("the bench's own frame is refused");
      if (forward(scan, table, policy, arrival, now).action === "relay") relayed++;
    }
  };
  run(decisions);
  relayed = 0;
  const started = process.hrtime.bigint();
  run(decisions);
  const taken = Number(process.hrtime.bigint() - started);
  if (relayed !== decisions) throw new Error(`expected every message to be relayed, ${relayed} of ${decisions} were`);
  return taken / decisions;
}
