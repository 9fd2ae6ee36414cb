/**
 * The duplicate filter (AAP-70, AGP-19): which links a message has gone out on already, by source and message id. A
 * second copy that comes in by another way goes nowhere twice. Bounded; what is forgotten can at worst be delivered
 * again, and the receiver's SDK removes duplicates as well.
 *
 * Message ids and numbers of sources lie in columns of numbers, since an object for each message would live long enough
 * to keep a garbage collector busy. They are compared in full: nobody's message is taken for another's.
 */

/** What is known of the message that was noted last. Valid until the next one. */
export class Duplicates {
  readonly #max: number;
  #young: Generation;
  #old: Generation;
  /** Numbers of sources, which last as long as the generation that was begun before them. */
  #sources = new Map<string, number>();
  #lastSource = 0;
  /** The source that was noted last, and its number. */
  #seenSource = "";
  #seenNumber = 0;
  #generation: Generation;
  #slot = 0;

  /** Remembers the last `max` messages at least, and at most twice as many. */
  constructor(max: number) {
    this.#max = max;
    this.#young = new Generation();
    this.#old = new Generation();
    this.#generation = this.#young;
  }

  /** Turns to the message with the 16 bytes of id at `at`; true when it is the first. */
  note(source: string, buf: Uint8Array, at: number): boolean {
    const a = wordAt(buf, at);
    const b = wordAt(buf, at + 4);
    const c = wordAt(buf, at + 8);
    const d = wordAt(buf, at + 12);
    const number = this.#numberOf(source);
    const hash = hashOf(a, b, c, d);
    if (this.#findIn(this.#young, hash, a, b, c, d, number) || this.#findIn(this.#old, hash, a, b, c, d, number))
      return false;
    if (this.#young.size >= this.#max) {
      const empty = this.#old;
      empty.clear();
      this.#old = this.#young;
      this.#young = empty;
    }
    this.#generation = this.#young;
    this.#slot = this.#young.add(hash, a, b, c, d, number);
    return true;
  }

  /** True when local subscribers have had the message; from now on they have. */
  deliverHere(): boolean {
    return this.#generation.deliver(this.#slot);
  }

  /** True when the neighbour has had a copy. */
  wasSentTo(peer: string): boolean {
    return this.#generation.sentTo.get(this.#slot)?.has(peer) === true;
  }

  noteSentTo(peer: string): void {
    const { sentTo } = this.#generation;
    const known = sentTo.get(this.#slot);
    if (known === undefined) sentTo.set(this.#slot, new Set([peer]));
    else known.add(peer);
  }

  #findIn(generation: Generation, hash: number, a: number, b: number, c: number, d: number, source: number): boolean {
    const slot = generation.find(hash, a, b, c, d, source);
    if (slot < 0) return false;
    this.#generation = generation;
    this.#slot = slot;
    return true;
  }

  #numberOf(source: string): number {
    if (source === this.#seenSource) return this.#seenNumber;
    let number = this.#sources.get(source);
    if (number === undefined) {
      // A source that gets a new number is at worst delivered again.
      if (this.#sources.size >= this.#max) this.#sources = new Map();
      this.#lastSource = (this.#lastSource + 1) | 0;
      number = this.#lastSource;
      this.#sources.set(source, number);
    }
    this.#seenSource = source;
    this.#seenNumber = number;
    return number;
  }
}

/** Messages in the order of their coming, in open addressing. */
class Generation {
  /** Neighbours that have had a copy, by slot. */
  readonly sentTo = new Map<number, Set<string>>();
  size = 0;
  #mask = slotsMin - 1;
  /** Four words of id and the number of the source. */
  #words = new Int32Array(slotsMin * wordsEach);
  /**
   * 0 for a free slot; otherwise whether the message was delivered, and some bits of its hash: most messages that are
   * not the one that is looked for are told from it without a look at their words, which lie in slower memory.
   */
  #states = new Uint8Array(slotsMin);

  find(hash: number, a: number, b: number, c: number, d: number, source: number): number {
    const states = this.#states;
    const words = this.#words;
    const mask = this.#mask;
    const wanted = stateOf(hash);
    for (let slot = hash & mask; states[slot] !== free; slot = (slot + 1) & mask) {
      if (((states[slot] as number) & ~delivered) !== wanted) continue;
      const at = slot * wordsEach;
      if (
        words[at + 3] === d &&
        words[at + 2] === c &&
        words[at + 1] === b &&
        words[at] === a &&
        words[at + 4] === source
      )
        return slot;
    }
    return -1;
  }

  /** Adds a message that is not in it. Numbers of slots change when it grows, so it does that before. */
  add(hash: number, a: number, b: number, c: number, d: number, source: number): number {
    if (this.size * 2 >= this.#states.length) this.#grow();
    this.size += 1;
    return this.#put(hash, a, b, c, d, source, stateOf(hash));
  }

  /** True when it was delivered before. */
  deliver(slot: number): boolean {
    const state = this.#states[slot] as number;
    this.#states[slot] = state | delivered;
    return (state & delivered) !== 0;
  }

  clear(): void {
    this.size = 0;
    this.#states.fill(free);
    this.sentTo.clear();
  }

  #put(hash: number, a: number, b: number, c: number, d: number, source: number, state: number): number {
    let slot = hash & this.#mask;
    while (this.#states[slot] !== free) slot = (slot + 1) & this.#mask;
    const at = slot * wordsEach;
    const words = this.#words;
    words[at] = a;
    words[at + 1] = b;
    words[at + 2] = c;
    words[at + 3] = d;
    words[at + 4] = source;
    this.#states[slot] = state;
    return slot;
  }

  #grow(): void {
    const [words, states, sentTo] = [this.#words, this.#states, new Map(this.sentTo)];
    this.#words = new Int32Array(words.length * 2);
    this.#states = new Uint8Array(states.length * 2);
    this.#mask = states.length * 2 - 1;
    this.sentTo.clear();
    for (let old = 0; old < states.length; old++) {
      const state = states[old] as number;
      if (state === free) continue;
      const [a = 0, b = 0, c = 0, d = 0, source = 0] = words.subarray(old * wordsEach, (old + 1) * wordsEach);
      const slot = this.#put(hashOf(a, b, c, d), a, b, c, d, source, state);
      const sent = sentTo.get(old);
      if (sent !== undefined) this.sentTo.set(slot, sent);
    }
  }
}

function wordAt(buf: Uint8Array, at: number): number {
  return (
    ((buf[at] as number) << 24) |
    ((buf[at + 1] as number) << 16) |
    ((buf[at + 2] as number) << 8) |
    (buf[at + 3] as number)
  );
}

/** Its low bits say where to look first. Ids are random in parts, or counted up. */
function hashOf(a: number, b: number, c: number, d: number): number {
  let hash = Math.imul(d ^ (c >>> 7), 0x85ebca6b) ^ Math.imul(c ^ b, 0xc2b2ae35) ^ Math.imul(a, 0x27d4eb2f);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** The state of a message that is not delivered yet: never 0, with six bits of the hash. */
const stateOf = (hash: number): number => 0x80 | ((hash >>> 24) & 0x7e);

const free = 0;
const delivered = 1;
const slotsMin = 1_024;
const wordsEach = 5;
