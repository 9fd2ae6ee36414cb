/** What happens next: by time, and by sequence among equal times. */
import { Heap } from "@causeway/core-base";

/** Something that is due. */
export interface SimEvent {
  readonly at: number;
  readonly sequence: number;
  readonly label: string;
  readonly run: () => void;
  isCancelled: boolean;
}

export class EventQueue {
  readonly #heap = new Heap<SimEvent>((a, b) => a.at < b.at || (a.at === b.at && a.sequence < b.sequence));
  #sequence = 0;

  push(at: number, label: string, run: () => void): SimEvent {
    const event: SimEvent = { at, sequence: this.#sequence++, label, run, isCancelled: false };
    this.#heap.push(event);
    return event;
  }

  /** The next event that is not cancelled and due at `until` or before. */
  take(until: number): SimEvent | undefined {
    for (;;) {
      const top = this.#heap.peek();
      if (top === undefined || (top.at > until && !top.isCancelled)) return undefined;
      this.#heap.pop();
      if (!top.isCancelled) return top;
    }
  }
}
