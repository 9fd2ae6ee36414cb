/** What ends first: a binary heap. What has gone meanwhile stays in it until half of it has, so that leaving is free. */
import type { UnixMs } from "@causeway/core-base";

/** Something with an end; of two with the same, the lower `order` comes first. */
interface Ending {
  readonly endsAt: UnixMs;
  readonly order: number;
  readonly isGone: boolean;
}

export class DueHeap<T extends Ending> {
  #heap: T[] = [];
  #gone = 0;

  add(item: T): void {
    const heap = this.#heap;
    let i = heap.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#isBefore(i, parent)) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  /** An item has gone before its end. */
  noteGone(): void {
    this.#gone++;
    if (this.#gone <= slack || this.#gone * 2 <= this.#heap.length) return;
    const live = this.#heap.filter((item) => !item.isGone).sort((a, b) => a.endsAt - b.endsAt || a.order - b.order);
    // A sorted array is a heap.
    this.#heap = live;
    this.#gone = 0;
  }

  /** When the next one ends. */
  next(): UnixMs | undefined {
    this.#dropGone();
    return this.#heap[0]?.endsAt;
  }

  /** Takes the next one out that has ended at `now`. */
  take(now: UnixMs): T | undefined {
    this.#dropGone();
    const top = this.#heap[0];
    if (top === undefined || top.endsAt > now) return undefined;
    this.#pop();
    return top;
  }

  #dropGone(): void {
    while (this.#heap[0]?.isGone) {
      this.#pop();
      this.#gone = Math.max(0, this.#gone - 1);
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    heap[0] = last;
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      let least = i;
      if (this.#isBefore(left, least)) least = left;
      if (this.#isBefore(left + 1, least)) least = left + 1;
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #isBefore(i: number, j: number): boolean {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return false;
    return a.endsAt < b.endsAt || (a.endsAt === b.endsAt && a.order < b.order);
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return;
    this.#heap[i] = b;
    this.#heap[j] = a;
  }
}

const slack = 1_024;
