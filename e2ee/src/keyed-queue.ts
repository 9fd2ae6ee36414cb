/** Serves the tasks of one key in the order of their arrival, the tasks of different keys concurrently. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(task, task);
    this.#tails.set(key, result);
    const clear = (): void => {
      if (this.#tails.get(key) === result) this.#tails.delete(key);
    };
    result.then(clear, clear);
    return result;
  }

  /** Resolves when every task accepted so far has ended. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.allSettled([...this.#tails.values()]);
  }
}
