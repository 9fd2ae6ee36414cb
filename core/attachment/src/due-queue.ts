/**
 * When thousands of things are due. An item has at most one valid entry; putting its time off costs nothing, since an
 * entry that comes up too early is simply put back with the time that holds then.
 */
import { Heap, type Instant } from "@causeway/core-base";

/** An item that can be due. `queuedAt` belongs to the queue. */
export interface Due {
  queuedAt: Instant | undefined;
}

export class DueQueue<T extends Due> {
  readonly #heap = new Heap<{ readonly at: Instant; readonly item: T }>((a, b) => a.at < b.at);

  /** Makes sure that the item comes up at `at` or earlier. */
  arm(item: T, at: Instant): void {
    if (item.queuedAt !== undefined && item.queuedAt <= at) return;
    item.queuedAt = at;
    this.#heap.push({ at, item });
  }

  /** The item need not come up any more. */
  disarm(item: T): void {
    item.queuedAt = undefined;
  }

  deadline(): Instant | undefined {
    this.#dropInvalid();
    return this.#heap.peek()?.at;
  }

  /** Takes the next item that is due at `now`; arm it again if it is to come up again. */
  take(now: Instant): T | undefined {
    this.#dropInvalid();
    const top = this.#heap.peek();
    if (top === undefined || top.at > now) return undefined;
    this.#heap.pop();
    top.item.queuedAt = undefined;
    return top.item;
  }

  #dropInvalid(): void {
    for (let top = this.#heap.peek(); top !== undefined && top.item.queuedAt !== top.at; top = this.#heap.peek())
      this.#heap.pop();
  }
}
