/**
 * Which choice a source got before (BEY-7): keeps the messages of one sender at one instance. Bounded by two
 * generations: when the young one is full it becomes the old one, and what nobody asked for since is forgotten.
 */
export class StickyChoices<T> {
  readonly #max: number;
  #young = new Map<number, T>();
  #old = new Map<number, T>();

  constructor(entriesMax: number) {
    this.#max = Math.max(1, Math.ceil(entriesMax / 2));
  }

  /** Choices remembered. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Choices remembered at most. */
  get bound(): number {
    return 2 * this.#max;
  }

  get(source: number, target: number): T | undefined {
    const key = keyOf(source, target);
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#keep(key, old);
    return old;
  }

  set(source: number, target: number, choice: T): void {
    this.#keep(keyOf(source, target), choice);
  }

  #keep(key: number, choice: T): void {
    if (this.#young.size >= this.#max) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, choice);
  }
}

/** 53 bits of both: a collision makes two sources share a choice, which is harmless. */
const keyOf = (source: number, target: number): number => (target % 0x200000) * 0x100000000 + (source >>> 0);
