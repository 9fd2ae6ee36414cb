/**
 * When thousands of things are due: a binary heap by time. An item has at most one valid entry; putting its time off
 * costs nothing, since an entry that comes up too early is simply put back with the time that holds then.
 */
import type { Instant } from "@causeway/core-base";

/** An item that can be due. `queuedAt` belongs to the queue. */
export interface Due {
  queuedAt: Instant | undefined;
}

export class DueQueue<T extends Due> {
  readonly #heap: { readonly at: Instant; readonly item: T }[] = [];

  /** Makes sure that the item comes up at `at` or earlier. */
  arm(item: T, at: Instant): void {
    if (item.queuedAt !== undefined && item.queuedAt <= at) return;
    item.queuedAt = at;
    this.#push({ at, item });
  }

  /** The item need not come up any more. */
  disarm(item: T): void {
    item.queuedAt = undefined;
  }

  deadline(): Instant | undefined {
    this.#dropInvalid();
    return this.#heap[0]?.at;
  }

  /** Takes the next item that is due at `now`; arm it again if it is to come up again. */
  take(now: Instant): T | undefined {
    this.#dropInvalid();
    const top = this.#heap[0];
    if (top === undefined || top.at > now) return undefined;
    this.#pop();
    top.item.queuedAt = undefined;
    return top.item;
  }

  #dropInvalid(): void {
    for (let top = this.#heap[0]; top !== undefined && top.item.queuedAt !== top.at; top = this.#heap[0]) this.#pop();
  }

  #push(entry: { readonly at: Instant; readonly item: T }): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if ((heap[parent]?.at ?? entry.at) <= entry.at) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    heap[0] = last;
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      const right = left + 1;
      let least = i;
      if (this.#isBefore(left, least)) least = left;
      if (this.#isBefore(right, least)) least = right;
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #isBefore(i: number, j: number): boolean {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    return a !== undefined && b !== undefined && a.at < b.at;
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#heap[i], this.#heap[j]];
    if (a === undefined || b === undefined) return;
    this.#heap[i] = b;
    this.#heap[j] = a;
  }
}
