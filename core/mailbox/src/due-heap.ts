/** What ends first: a binary heap. What has gone meanwhile stays in it until half of it has, so that leaving is free. */
import type { UnixMs } from "@causeway/core-base";

/** Something with an end. */
interface Ending {
  readonly endsAt: UnixMs;
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
      if (this.#at(parent) <= item.endsAt) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  /** An item has gone before its end. */
  noteGone(): void {
    this.#gone++;
    if (this.#gone <= slack || this.#gone * 2 <= this.#heap.length) return;
    const live = this.#heap.filter((item) => !item.isGone).sort((a, b) => a.endsAt - b.endsAt);
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
      if (this.#at(left) < this.#at(least)) least = left;
      if (this.#at(left + 1) < this.#at(least)) least = left + 1;
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #at(i: number): number {
    return this.#heap[i]?.endsAt ?? Number.POSITIVE_INFINITY;
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return;
    this.#heap[i] = b;
    this.#heap[j] = a;
  }
}

const slack = 1_024;
