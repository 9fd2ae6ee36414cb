/** What happens next: a binary heap by time, and by sequence among equal times. */

/** Something that is due. */
export interface SimEvent {
  readonly at: number;
  readonly sequence: number;
  readonly label: string;
  readonly run: () => void;
  isCancelled: boolean;
}

export class EventQueue {
  readonly #heap: SimEvent[] = [];
  #sequence = 0;

  push(at: number, label: string, run: () => void): SimEvent {
    const event: SimEvent = { at, sequence: this.#sequence++, label, run, isCancelled: false };
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#isBefore(i, parent)) break;
      this.#swap(i, parent);
      i = parent;
    }
    return event;
  }

  /** The next event that is not cancelled and due at `until` or before. */
  take(until: number): SimEvent | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || (top.at > until && !top.isCancelled)) return undefined;
      this.#pop();
      if (!top.isCancelled) return top;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    heap[0] = last;
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (this.#isBefore(child, least)) least = child;
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #isBefore(i: number, j: number): boolean {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    return a !== undefined && b !== undefined && (a.at < b.at || (a.at === b.at && a.sequence < b.sequence));
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return;
    this.#heap[i] = b;
    this.#heap[j] = a;
  }
}
