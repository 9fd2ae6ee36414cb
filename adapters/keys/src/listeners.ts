import type { Log } from "@causeway/core-base";

/** Those who want to hear of one kind of event. */
export class Listeners<T> {
  readonly #log: Log;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Returns the function that ends it. The same function may be added twice. */
  add(listener: (value: T) => void): () => void {
    const entry = (value: T) => listener(value);
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  emit(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (thrown) {
        // A listener's defect may not stop renewal or revocation.
        this.#log.error("keeper.listener_failed", {}, thrown);
      }
    }
  }
}
