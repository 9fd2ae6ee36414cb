/** What is due when, with lazy removal, for tables of thousands of timers. */
import { Heap, type Instant } from "@causeway/core-base";

interface Due<Item> {
  readonly at: Instant;
  readonly order: number;
  readonly item: Item;
}

/** One time for each item; setting it again replaces it. Items due at the same time come in the order of setting. */
export class Schedule<Item extends object> {
  readonly #heap = new Heap<Due<Item>>(isBefore);
  readonly #current = new Map<Item, Due<Item>>();
  #order = 0;

  set(item: Item, at: Instant): void {
    const due = { at, order: this.#order++, item };
    this.#current.set(item, due);
    this.#heap.push(due);
    this.#tidy();
  }

  clear(item: Item): void {
    this.#current.delete(item);
    this.#tidy();
  }

  /** Entries in memory, outdated ones included. */
  get held(): number {
    return this.#heap.size;
  }

  deadline(): Instant | undefined {
    this.#dropStale();
    return this.#heap.peek()?.at;
  }

  /** Removes and returns the earliest item that is due at `now`. */
  take(now: Instant): Item | undefined {
    this.#dropStale();
    const first = this.#heap.peek();
    if (!first || first.at > now) return undefined;
    this.#heap.pop();
    this.#current.delete(first.item);
    return first.item;
  }

  #dropStale(): void {
    for (let first = this.#heap.peek(); first && this.#current.get(first.item) !== first; first = this.#heap.peek())
      this.#heap.pop();
  }

  /** Outdated entries hold on to their items, so at most every other one may be outdated. */
  #tidy(): void {
    if (this.#heap.size <= 2 * this.#current.size + slack) return;
    this.#heap.retain((due) => this.#current.get(due.item) === due);
  }
}

/** Outdated entries that are never worth a rebuild. */
const slack = 64;

function isBefore(a: Due<unknown>, b: Due<unknown>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
