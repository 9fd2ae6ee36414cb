import type { GatewayUri, UnixMs } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";
import type { Arrival } from "./route.ts";
import type { Verdict } from "./verdict.ts";

/** What one gateway did with one message. */
export interface HopEntry {
  readonly messageId: string;
  readonly source: string;
  readonly target: string;
  readonly at: UnixMs;
  readonly gateway: GatewayUri;
  /** Agent ID or gateway URI it came from. */
  readonly from: string;
  readonly hopTtl: number;
  readonly action: Verdict["action"];
  /** Agent ID or gateway URI it went to; empty for a drop. */
  readonly to: string;
  readonly reason: string;
}

/** Bounded ring of hop entries. */
export class HopTrace {
  constructor(_options: { readonly gateway: GatewayUri; readonly entriesMax?: number }) {}
  /** Keeps an entry if the message asks for it (flag bit 0) or was dropped. Call before the TTL is decremented. */
  note(_scan: FrameScan, _arrival: Arrival, _verdict: Verdict, _now: UnixMs): HopEntry | undefined {
    throw new Error("not yet");
  }
  /** Entries of one message, oldest first. */
  find(_messageId: string): readonly HopEntry[] {
    throw new Error("not yet");
  }
  /** Newest entries, newest first. */
  recent(_limit: number): readonly HopEntry[] {
    throw new Error("not yet");
  }
}
