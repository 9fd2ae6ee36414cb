import type { UnixMs } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";
import type { PolicyRule } from "./policy.ts";
import type { Arrival } from "./route.ts";
import type { ForwardingTable } from "./table.ts";
import type { Verdict } from "./verdict.ts";

/** Compiled policy. */
export class ForwardingPolicy {
  constructor(_rules: readonly PolicyRule[], _ownDomain: string) {}
}

/** Decides what happens to one message or control frame. Pure; changes nothing but the table's round-robin cursors. */
export function forward(
  _scan: FrameScan,
  _table: ForwardingTable,
  _policy: ForwardingPolicy,
  _arrival: Arrival,
  _now: UnixMs,
): Verdict {
  throw new Error("not yet");
}
