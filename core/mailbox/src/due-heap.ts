/** What ends first. What has gone meanwhile stays in the heap until half of it has, so that leaving is free. */
import { Heap, type UnixMs } from "@causeway/core-base";

/** Something with an end; of two with the same, the lower `order` comes first. */
interface Ending {
  readonly endsAt: UnixMs;
  readonly order: number;
  readonly isGone: boolean;
}

export class DueHeap<T extends Ending> {
  readonly #heap = new Heap<T>((a, b) => a.endsAt < b.endsAt || (a.endsAt === b.endsAt && a.order < b.order));
  #gone = 0;

  add(item: T): void {
    this.#heap.push(item);
  }

  /** An item has gone before its end. */
  noteGone(): void {
    this.#gone++;
    if (this.#gone <= slack || this.#gone * 2 <= this.#heap.size) return;
    this.#heap.retain((item) => !item.isGone);
    this.#gone = 0;
  }

  /** When the next one ends. */
  next(): UnixMs | undefined {
    this.#dropGone();
    return this.#heap.peek()?.endsAt;
  }

  /** Takes the next one out that has ended at `now`. */
  take(now: UnixMs): T | undefined {
    this.#dropGone();
    const top = this.#heap.peek();
    if (top === undefined || top.endsAt > now) return undefined;
    return this.#heap.pop();
  }

  #dropGone(): void {
    while (this.#heap.peek()?.isGone) {
      this.#heap.pop();
      this.#gone = Math.max(0, this.#gone - 1);
    }
  }
}

const slack = 1_024;
