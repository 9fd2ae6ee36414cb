/** Something that has output to write when the current turn of the event loop is over. */
export interface Flushable {
  flush(): void;
}

/**
 * Collects what has output and flushes all of it in one `setImmediate`, after everything that the turn received was
 * handled. This is what makes one write for each connection and turn.
 */
export class Turn {
  #waiting: Flushable[] = [];

  /** Flushes `target` at the end of the turn. The caller keeps it from being added twice. */
  add(target: Flushable): void {
    this.#waiting.push(target);
    if (this.#waiting.length === 1) setImmediate(() => this.#run());
  }

  #run(): void {
    const due = this.#waiting;
    this.#waiting = [];
    for (const target of due) target.flush();
  }
}
