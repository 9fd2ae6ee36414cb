/**
 * Recognises a store that was put back to an older copy (AGP-48). Every durable write carries a number that grows; the
 * largest one is also kept in a counter outside the store. A store whose numbers are below the counter is older than
 * what this agent has already done: using it would reuse keys.
 */
import { refuse } from "@causeway/core-base";
import type { MonotonicCounter } from "./ports.ts";
import type { SealedStore } from "./sealed-store.ts";

const key = "meta";

export class StateVersion {
  readonly #store: SealedStore;
  readonly #counter: MonotonicCounter | undefined;
  #current = 0;

  constructor(store: SealedStore, counter: MonotonicCounter | undefined) {
    this.#store = store;
    this.#counter = counter;
  }

  /** The largest number given out. */
  get current(): number {
    return this.#current;
  }

  /** The number for the next write. */
  next(): number {
    return ++this.#current;
  }

  /** The write with this number is in the store. */
  async reached(version: number): Promise<void> {
    await this.#counter?.advance(version);
  }

  /** Keeps the number in a record of its own before records that carry it are deleted. */
  async keep(): Promise<void> {
    await this.#store.put(key, Buffer.from(String(this.#current)), { durable: true });
  }

  /** Reads the own record; the first use of a store writes one. Throws when it does not open with the state key. */
  async load(): Promise<void> {
    const stored = await this.#store.get(key);
    if (stored === undefined) {
      await this.keep();
      return;
    }
    this.#current = Number(Buffer.from(stored).toString());
    if (!Number.isSafeInteger(this.#current))
      throw refuse("CAUSEWAY_E2EE_STATE_CORRUPT", "the version record of the end-to-end state is damaged");
  }

  /** Takes the numbers of records into account; true when the store is older than the counter. */
  async isRolledBack(largest: number): Promise<boolean> {
    this.#current = Math.max(this.#current, largest);
    const reached = (await this.#counter?.read()) ?? 0;
    if (this.#current >= reached) return false;
    this.#current = reached;
    return true;
  }
}
