/** Runs asynchronous steps one after another for each key, and different keys at the same time. */
export class Serial {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `step` after every earlier step of `key`, whether those failed or not. */
  run<T>(key: string, step: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(step, step);
    const tail = result.then(
      () => undefined,
      // The caller of the step gets its failure; the queue only orders.
      () => undefined,
    );
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return result;
  }

  /** Resolves when every step that was begun so far has ended. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }
}
