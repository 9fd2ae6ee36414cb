import { H2Error } from "./h2-frames.ts";
import type { H2Limits } from "./limits.ts";

/** What a client may send beside the bytes of its link, so that PINGs, SETTINGS and empty frames are no way to keep a gateway busy. */
export class ControlAllowance {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #openMax: number;
  #tokens: number;
  #at = performance.now();
  #open = 0;

  constructor(limits: Pick<H2Limits, "controlFrameBurst" | "controlFramesPerSecond" | "controlFramesOpenMax">) {
    this.#burst = this.#tokens = limits.controlFrameBurst;
    this.#perMs = limits.controlFramesPerSecond / 1_000;
    this.#openMax = limits.controlFramesOpenMax;
  }

  /** Counts one frame; the code of the connection error when there was one too many. */
  spend(): number | undefined {
    if (this.#tokens < 1) {
      const now = performance.now();
      this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
      this.#at = now;
      if (this.#tokens < 1) return H2Error.enhanceYourCalm;
    }
    this.#tokens -= 1;
    return undefined;
  }

  /** Bytes were sent: the client has reason to send WINDOW_UPDATEs. */
  earn(bytes: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + bytes / bytesPerToken);
  }

  /** Counts an answer that is on its way; false when too many are. */
  open(): boolean {
    this.#open += 1;
    return this.#open <= this.#openMax;
  }

  close(): void {
    this.#open -= 1;
  }
}

/** A client that opens its window again after less than this is counted. */
const bytesPerToken = 16_384;
