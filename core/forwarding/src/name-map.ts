/**
 * A map from names to values whose lookups take a range of bytes, so that the hot path makes no strings (AAP-75). Open
 * addressing with linear probing on a 32-bit FNV-1a hash; every hit compares the whole name. As FNV is computed from
 * left to right, one pass yields the hashes of all whole-segment prefixes, and the longest one wins (AAP-76).
 */

interface Slot<V> {
  readonly hash: number;
  readonly key: Uint8Array;
  readonly name: string;
  value: V;
}

const slash = 0x2f;
const slotsMin = 16;

/** ASCII names to values. */
export class NameMap<V> {
  readonly #seed: number;
  #slots: (Slot<V> | undefined)[] = new Array(slotsMin).fill(undefined);
  #mask = slotsMin - 1;
  #size = 0;

  /** `seed` changes the order of probing; a random one defeats names chosen to collide. */
  constructor(seed = 0) {
    this.#seed = (offsetBasis ^ seed) | 0;
  }

  get size(): number {
    return this.#size;
  }

  /** Looks up the bytes `[start, end)`. */
  get(buf: Uint8Array, start: number, end: number): V | undefined {
    return this.#probe(this.hash(buf, start, end), buf, start, end)?.value;
  }

  getName(name: string): V | undefined {
    const key = asciiBytes(name);
    return this.get(key, 0, key.length);
  }

  /** The value of the longest key that is the name or a whole-segment prefix of it, not shorter than `from - start`. */
  longestPrefix(buf: Uint8Array, start: number, end: number, from = start): V | undefined {
    let cuts = 0;
    let hash = this.#seed;
    for (let i = start; i < end; i++) {
      const byte = buf[i] as number;
      if (byte === slash && i > from && cuts < cutsMax) {
        cutAt[cuts] = i;
        cutHash[cuts++] = hash;
      }
      hash = Math.imul(hash ^ byte, prime);
    }
    const whole = this.#probe(hash, buf, start, end);
    if (whole !== undefined) return whole.value;
    for (let c = cuts - 1; c >= 0; c--) {
      const found = this.#probe(cutHash[c] as number, buf, start, cutAt[c] as number);
      if (found !== undefined) return found.value;
    }
    return undefined;
  }

  /** Adds or replaces. */
  set(name: string, value: V): void {
    const key = asciiBytes(name);
    const hash = this.hash(key, 0, key.length);
    const held = this.#probe(hash, key, 0, key.length);
    if (held !== undefined) {
      held.value = value;
      return;
    }
    if ((this.#size + 1) * 4 > this.#slots.length * 3) this.#resize(this.#slots.length * 2);
    this.#place({ hash, key, name, value });
    this.#size++;
  }

  /** True when the name was there. */
  delete(name: string): boolean {
    const key = asciiBytes(name);
    let at = this.hash(key, 0, key.length) & this.#mask;
    for (let slot = this.#slots[at]; slot !== undefined; slot = this.#slots[at]) {
      if (slot.name === name) {
        this.#closeGap(at);
        this.#size--;
        return true;
      }
      at = (at + 1) & this.#mask;
    }
    return false;
  }

  *values(): Generator<V> {
    for (const slot of this.#slots) if (slot !== undefined) yield slot.value;
  }

  *entries(): Generator<readonly [string, V]> {
    for (const slot of this.#slots) if (slot !== undefined) yield [slot.name, slot.value];
  }

  /** FNV-1a of a range; also the key of sticky choices. */
  hash(buf: Uint8Array, start: number, end: number): number {
    return hashBytes(buf, start, end, this.#seed);
  }

  #probe(hash: number, buf: Uint8Array, start: number, end: number): Slot<V> | undefined {
    let at = hash & this.#mask;
    for (let slot = this.#slots[at]; slot !== undefined; slot = this.#slots[at]) {
      if (slot.hash === hash && isEqual(slot.key, buf, start, end)) return slot;
      at = (at + 1) & this.#mask;
    }
    return undefined;
  }

  #place(slot: Slot<V>): void {
    let at = slot.hash & this.#mask;
    while (this.#slots[at] !== undefined) at = (at + 1) & this.#mask;
    this.#slots[at] = slot;
  }

  /** Moves followers of a removed slot up, so that probing needs no tombstones. */
  #closeGap(gap: number): void {
    let hole = gap;
    let at = (hole + 1) & this.#mask;
    for (let slot = this.#slots[at]; slot !== undefined; slot = this.#slots[at]) {
      const home = slot.hash & this.#mask;
      if (((at - home) & this.#mask) >= ((at - hole) & this.#mask)) {
        this.#slots[hole] = slot;
        hole = at;
      }
      at = (at + 1) & this.#mask;
    }
    this.#slots[hole] = undefined;
  }

  #resize(length: number): void {
    const old = this.#slots;
    this.#slots = new Array(length).fill(undefined);
    this.#mask = length - 1;
    for (const slot of old) if (slot !== undefined) this.#place(slot);
  }
}

/** FNV-1a of a range. */
export function hashBytes(buf: Uint8Array, start: number, end: number, seed = offsetBasis): number {
  let hash = seed;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (buf[i] as number), prime);
  return hash;
}

/** Where the Agent ID ends in a name that may have an instance: before its last "/@". */
export function endOfAgent(buf: Uint8Array, start: number, end: number): number {
  for (let i = end - 1; i > start; i--) if (buf[i] === slash) return buf[i + 1] === 0x40 ? i : end;
  return end;
}

/** Bytes of a name. Names are ASCII by their grammar. */
export function asciiBytes(name: string): Uint8Array {
  return Uint8Array.from(name, (c) => c.charCodeAt(0));
}

/** True when the range holds the key's bytes. */
export function isEqual(key: Uint8Array, buf: Uint8Array, start: number, end: number): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== buf[start + i]) return false;
  return true;
}

const offsetBasis = 0x811c9dc5 | 0;
const prime = 0x01000193;
// A name of 512 bytes has fewer segments than this.
const cutsMax = 256;
const cutAt = new Int32Array(cutsMax);
const cutHash = new Int32Array(cutsMax);
