/**
 * How much bulk may be on its way to the other side of a link, when that side acknowledges bulk. What is in the buffers
 * of kernels, networks and the receiver goes ahead of everything urgent that is sent after it, and nothing can overtake it
 * there. So the window follows the delay, as in RFC 6817: it grows while acknowledgements come about as fast as they can,
 * and shrinks when bulk begins to wait somewhere on the way. A pure machine: the time is an argument.
 */
export class BulkWindow {
  #window = startBytes;
  #sent = 0;
  #taken = 0;
  #isAcknowledged = false;
  /** One timed position at a time. */
  #probe: { readonly until: number; readonly at: number } | undefined;
  /** The shortest delay of late, and of the samples since. */
  #baseMs = Number.POSITIVE_INFINITY;
  #nextBaseMs = Number.POSITIVE_INFINITY;
  #samples = 0;

  /** Bytes that may be on their way now; undefined when the other side has not acknowledged anything. */
  get bytes(): number | undefined {
    return this.#isAcknowledged ? this.#window : undefined;
  }

  /**
   * True when a write of `bytes` may go: one that the window has room for, and any one while half of it is free. So a large
   * frame cannot get stuck, nor wait for a rest that the other side acknowledges together with what comes next.
   */
  admits(bytes: number): boolean {
    const inFlight = this.#sent - this.#taken;
    return !this.#isAcknowledged || inFlight <= this.#window / 2 || inFlight + bytes <= this.#window;
  }

  /** A write has gone. `isMore`: bulk waits behind it, so that its delay tells something. */
  sent(bytes: number, isMore: boolean, nowMs: number): void {
    this.#sent += bytes;
    if (isMore && this.#probe === undefined) this.#probe = { until: this.#sent, at: nowMs };
  }

  /** The other side has taken so many bytes more. More than were sent is as much as were sent. */
  taken(bytes: number, nowMs: number): void {
    this.#isAcknowledged = true;
    this.#taken = Math.min(this.#sent, this.#taken + Math.max(0, bytes));
    const probe = this.#probe;
    if (probe === undefined || this.#taken < probe.until) return;
    this.#probe = undefined;
    this.#adapt(Math.max(0, nowMs - probe.at));
  }

  #adapt(delayMs: number): void {
    this.#nextBaseMs = Math.min(this.#nextBaseMs, delayMs);
    this.#baseMs = Math.min(this.#baseMs, delayMs);
    if (++this.#samples >= baseSamples) {
      // The way may have become longer.
      this.#baseMs = this.#nextBaseMs;
      this.#nextBaseMs = Number.POSITIVE_INFINITY;
      this.#samples = 0;
    }
    const isLate = delayMs > this.#baseMs + Math.max(extraMs, this.#baseMs / 4);
    const next = isLate ? this.#window / 2 : this.#window + this.#window / 4;
    this.#window = Math.floor(Math.min(bulkWindowBytesMax, Math.max(bulkWindowBytesMin, next)));
  }
}

/** What is always allowed: a local link keeps its rate with it. */
export const bulkWindowBytesMin = 65_536;
/** Half of a stream's window, so that bulk alone never uses that up. */
export const bulkWindowBytesMax = 2_097_152;
const startBytes = 131_072;
/** What bulk may wait on the way beyond the time that the way takes. */
const extraMs = 1;
const baseSamples = 64;
