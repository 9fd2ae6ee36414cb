/** What one side of a gRPC stream still has to send: pushed synchronously, pulled by the transport. */
export class MessageQueue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #taken = 0;

  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** Ends the stream after what is queued. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  get length(): number {
    return this.#items.length - this.#taken;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      while (this.#taken < this.#items.length) {
        const item = this.#items[this.#taken++] as T;
        // Shifting a long array costs its length; taken items go in one piece.
        if (this.#taken === this.#items.length) this.#items.length = this.#taken = 0;
        yield item;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
