/** One count that only grows. */
export interface Count {
  value: number;
}

/** Counters of one gateway, by name; only code makes names. */
export class Tally {
  readonly #counts = new Map<string, Count>();

  /** The count of a name, for hot paths: looked up once, then added to. */
  count(name: string): Count {
    const known = this.#counts.get(name);
    if (known !== undefined) return known;
    const made = { value: 0 };
    this.#counts.set(name, made);
    return made;
  }

  add(name: string, amount = 1): void {
    this.count(name).value += amount;
  }

  /** Names and values, sorted by name. */
  snapshot(): Readonly<Record<string, number>> {
    const sorted = [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(sorted.map(([name, { value }]) => [name, value]));
  }
}
