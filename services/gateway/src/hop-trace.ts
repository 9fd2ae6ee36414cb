import type { ErrorFacts, UnixMs } from "@causeway/core-base";

/** What this gateway did with one message. */
export interface HopRecord {
  readonly at: UnixMs;
  /** 16 bytes as hex. */
  readonly messageId: string;
  readonly verdict: "deliver" | "relay" | "hold" | "drop";
  readonly reason: string;
  readonly from: string;
  readonly to: string;
  readonly target: string;
  readonly hopTtl: number;
  readonly error: ErrorFacts | undefined;
}

/** The newest hop records, for `explain`. The oldest go at the bound. */
export class HopTrace {
  readonly #max: number;
  readonly #ring: HopRecord[] = [];
  #next = 0;

  constructor(max: number) {
    this.#max = max;
  }

  add(record: HopRecord): void {
    this.#ring[this.#next] = record;
    this.#next = (this.#next + 1) % this.#max;
  }

  /** Records of one message, oldest first. */
  of(messageId: string): readonly HopRecord[] {
    const ordered = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return ordered.filter((record) => record.messageId === messageId);
  }
}
