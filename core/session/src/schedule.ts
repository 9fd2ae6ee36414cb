/** What is due when: a binary heap with lazy removal, for tables of thousands of timers. */
import type { Instant } from "@causeway/core-base";

interface Due<Item> {
  readonly at: Instant;
  readonly order: number;
  readonly item: Item;
}

/** One time for each item; setting it again replaces it. Items due at the same time come in the order of setting. */
export class Schedule<Item extends object> {
  #heap: Due<Item>[] = [];
  readonly #current = new Map<Item, Due<Item>>();
  #order = 0;

  set(item: Item, at: Instant): void {
    const due = { at, order: this.#order++, item };
    this.#current.set(item, due);
    this.#push(due);
    this.#tidy();
  }

  clear(item: Item): void {
    this.#current.delete(item);
    this.#tidy();
  }

  /** Entries in memory, outdated ones included. */
  get held(): number {
    return this.#heap.length;
  }

  deadline(): Instant | undefined {
    this.#dropStale();
    return this.#heap[0]?.at;
  }

  /** Removes and returns the earliest item that is due at `now`. */
  take(now: Instant): Item | undefined {
    this.#dropStale();
    const first = this.#heap[0];
    if (!first || first.at > now) return undefined;
    this.#pop();
    this.#current.delete(first.item);
    return first.item;
  }

  #dropStale(): void {
    for (let first = this.#heap[0]; first && this.#current.get(first.item) !== first; first = this.#heap[0])
      this.#pop();
  }

  /** Outdated entries hold on to their items, so at most every other one may be outdated. */
  #tidy(): void {
    if (this.#heap.length <= 2 * this.#current.size + slack) return;
    this.#heap = [];
    for (const due of this.#current.values()) this.#push(due);
  }

  #push(due: Due<Item>): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(due);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (!above || isBefore(above, due)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      if (!left) break;
      const right = heap[2 * index + 2];
      const [child, at] = right && isBefore(right, left) ? [right, 2 * index + 2] : [left, 2 * index + 1];
      if (isBefore(last, child)) break;
      heap[index] = child;
      index = at;
    }
    heap[index] = last;
  }
}

/** Outdated entries that are never worth a rebuild. */
const slack = 64;

function isBefore(a: Due<unknown>, b: Due<unknown>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
