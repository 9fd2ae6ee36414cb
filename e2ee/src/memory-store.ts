/** A state store in memory, for tests and for agents that keep no state. */
import type { StateStore } from "./ports.ts";

export class MemoryStateStore implements StateStore {
  readonly #values = new Map<string, Uint8Array>();

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#values.get(key);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#values.set(key, value.slice());
  }

  async delete(key: string): Promise<void> {
    this.#values.delete(key);
  }

  async list(prefix: string): Promise<readonly string[]> {
    return [...this.#values.keys()].filter((key) => key.startsWith(prefix));
  }

  /** An independent copy: what a backup of the store would hold. */
  clone(): MemoryStateStore {
    const copy = new MemoryStateStore();
    for (const [key, value] of this.#values) copy.#values.set(key, value.slice());
    return copy;
  }
}
