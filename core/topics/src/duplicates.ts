/**
 * The duplicate filter (AAP-70, AGP-19): which links a message has gone out on already, by source and message id. A
 * second copy that comes in by another way goes nowhere twice. Bounded; what is forgotten can at worst be delivered
 * again, and the receiver's SDK removes duplicates as well.
 */
export interface Passage {
  /** Neighbours that have had a copy. */
  readonly sentTo: Set<string>;
  isDeliveredHere: boolean;
}

export class Duplicates {
  readonly #max: number;
  #young = new Map<string, Passage>();
  #old = new Map<string, Passage>();

  /** Remembers the last `max` messages at least, and at most twice as many. */
  constructor(max: number) {
    this.#max = max;
  }

  /** The passage of the message, and whether it is the first. */
  note(key: string): { readonly passage: Passage; readonly isFirst: boolean } {
    const known = this.#young.get(key) ?? this.#old.get(key);
    if (known !== undefined) return { passage: known, isFirst: false };
    if (this.#young.size >= this.#max) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    const passage: Passage = { sentTo: new Set(), isDeliveredHere: false };
    this.#young.set(key, passage);
    return { passage, isFirst: true };
  }
}
