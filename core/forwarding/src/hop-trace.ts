/**
 * What this gateway did with messages, for `explain`: a bounded ring. Messages are noted when their sender asks for it
 * (header flag, bit 0) or when they are refused; nothing of a payload is kept.
 */
import type { GatewayUri, UnixMs } from "@causeway/core-base";
import type { FrameScan } from "@causeway/core-wire";
import { reasonTexts } from "./reasons.ts";
import type { Arrival } from "./route.ts";
import type { Verdict } from "./verdict.ts";

/** What a gateway does with a message outside of forwarding. */
export type MailFate = "store" | "deliver" | "acknowledge" | "hand-over" | "dead-letter" | "replay" | "purge";

/** What one gateway did with one message. */
export interface HopEntry {
  readonly messageId: string;
  readonly source: string;
  readonly target: string;
  readonly at: UnixMs;
  readonly gateway: GatewayUri;
  /** Agent ID or gateway URI it came from. */
  readonly from: string;
  /** As it arrived; 0 for what was done with a stored message. */
  readonly hopTtl: number;
  readonly action: Verdict["action"] | MailFate;
  /** Agent ID or gateway URI it went to; empty for a drop and for a topic. */
  readonly to: string;
  /** In words. */
  readonly reason: string;
}

/** Bounded ring of hop entries; the oldest goes first. */
export class HopTrace {
  readonly #gateway: GatewayUri;
  #max: number;
  #ring: HopEntry[] = [];
  #next = 0;

  /** `entriesMax`: default 4,096. */
  constructor(options: { readonly gateway: GatewayUri; readonly entriesMax?: number }) {
    this.#gateway = options.gateway;
    this.#max = options.entriesMax ?? 4_096;
  }

  /** Entries kept. */
  get size(): number {
    return this.#ring.length;
  }

  /** Another bound from now on; the newest entries stay. */
  setBound(entriesMax: number): void {
    this.#ring = this.recent(entriesMax).toReversed();
    this.#max = entriesMax;
    this.#next = this.#ring.length % entriesMax;
  }

  /** Keeps and returns an entry if the message asks for it or is dropped. Call before the TTL is decremented. */
  note(scan: FrameScan, arrival: Arrival, verdict: Verdict, now: UnixMs): HopEntry | undefined {
    if (verdict.action !== "drop" && !scan.isTraced) return undefined;
    const entry: HopEntry = {
      messageId: scan.messageId(),
      source: scan.source(),
      target: scan.target(),
      at: now,
      gateway: this.#gateway,
      from: arrival.kind === "agent" ? arrival.agentId : arrival.kind === "peer" ? arrival.peer : this.#gateway,
      hopTtl: scan.hopTtl,
      action: verdict.action,
      to: nextOf(verdict),
      reason: verdict.action === "drop" ? verdict.text : reasonTexts[verdict.reason],
    };
    this.#keep(entry);
    return entry;
  }

  /** Keeps what became of a stored message. */
  noteFate(fate: Omit<HopEntry, "gateway" | "hopTtl" | "action"> & { readonly action: MailFate }): void {
    this.#keep({ ...fate, gateway: this.#gateway, hopTtl: 0 });
  }

  /** Entries of one message (hexadecimal id), oldest first. */
  find(messageId: string): readonly HopEntry[] {
    return this.recent(this.#max)
      .filter((entry) => entry.messageId === messageId)
      .reverse();
  }

  /** The newest entries, newest first. */
  recent(limit: number): readonly HopEntry[] {
    const { length } = this.#ring;
    const count = Math.min(limit, length);
    return Array.from({ length: count }, (_, i) => this.#ring[(this.#next - 1 - i + 2 * this.#max) % this.#max]).filter(
      (e) => e !== undefined,
    );
  }

  #keep(entry: HopEntry): void {
    this.#ring[this.#next] = entry;
    this.#next = (this.#next + 1) % this.#max;
  }
}

function nextOf(verdict: Verdict): string {
  switch (verdict.action) {
    case "deliver":
    case "hold":
      return verdict.agentId;
    case "relay":
      return verdict.peer;
    default:
      return "";
  }
}
