/**
 * A map from names to values whose lookups take a range of bytes, so that the hot path makes no strings (AAP-75). Open
 * addressing with linear probing on a 32-bit FNV-1a hash; every hit compares the whole name. As FNV is computed from
 * left to right, one pass yields the hashes of all whole-segment prefixes, and the longest one wins (AAP-76).
 *
 * Hashes are a column of their own, and what is looked at next stands side by side: in a table of a million entries each
 * other place is a wait for memory.
 */

const slash = 0x2f;
const slotsMin = 16;

/** ASCII names to values. */
export class NameMap<V> {
  readonly #seed: number;
  /** 0 for a free slot. */
  #hashes = new Int32Array(slotsMin);
  /** For each slot the name, and behind it the value. */
  #pairs = new Array<string | V | undefined>(slotsMin * 2).fill(undefined);
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
    const at = this.#probe(this.hash(buf, start, end), buf, start, end);
    return at < 0 ? undefined : this.#valueAt(at);
  }

  getName(name: string): V | undefined {
    const at = this.#slotOf(name);
    return at < 0 ? undefined : this.#valueAt(at);
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
    if (whole >= 0) return this.#valueAt(whole);
    for (let c = cuts - 1; c >= 0; c--) {
      const found = this.#probe(cutHash[c] as number, buf, start, cutAt[c] as number);
      if (found >= 0) return this.#valueAt(found);
    }
    return undefined;
  }

  /** Adds or replaces. */
  set(name: string, value: V): void {
    const held = this.#slotOf(name);
    if (held >= 0) {
      this.#pairs[held * 2 + 1] = value;
      return;
    }
    if ((this.#size + 1) * 4 > this.#hashes.length * 3) this.#resize(this.#hashes.length * 2);
    this.#place(this.#hashOf(name), name, value);
    this.#size++;
  }

  /** True when the name was there. */
  delete(name: string): boolean {
    const at = this.#slotOf(name);
    if (at < 0) return false;
    this.#closeGap(at);
    this.#size--;
    return true;
  }

  *values(): Generator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  *entries(): Generator<readonly [string, V]> {
    const hashes = this.#hashes;
    const pairs = this.#pairs;
    for (let at = 0; at < hashes.length; at++)
      if (hashes[at] !== 0) yield [pairs[at * 2] as string, pairs[at * 2 + 1] as V];
  }

  /** FNV-1a of a range; also the key of sticky choices. */
  hash(buf: Uint8Array, start: number, end: number): number {
    return hashBytes(buf, start, end, this.#seed);
  }

  #hashOf(name: string): number {
    let hash = this.#seed;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), prime);
    return hash;
  }

  #valueAt(slot: number): V {
    return this.#pairs[slot * 2 + 1] as V;
  }

  #slotOf(name: string): number {
    const wanted = keptHash(this.#hashOf(name));
    let at = wanted & this.#mask;
    for (let hash = this.#hashes[at]; hash !== 0; hash = this.#hashes[at]) {
      if (hash === wanted && this.#pairs[at * 2] === name) return at;
      at = (at + 1) & this.#mask;
    }
    return -1;
  }

  #probe(hashOfRange: number, buf: Uint8Array, start: number, end: number): number {
    const wanted = keptHash(hashOfRange);
    let at = wanted & this.#mask;
    for (let hash = this.#hashes[at]; hash !== 0; hash = this.#hashes[at]) {
      if (hash === wanted && isText(this.#pairs[at * 2] as string, buf, start, end)) return at;
      at = (at + 1) & this.#mask;
    }
    return -1;
  }

  #place(hashOfName: number, name: string, value: V): void {
    const hash = keptHash(hashOfName);
    let at = hash & this.#mask;
    while (this.#hashes[at] !== 0) at = (at + 1) & this.#mask;
    this.#hashes[at] = hash;
    this.#pairs[at * 2] = name;
    this.#pairs[at * 2 + 1] = value;
  }

  /** Moves followers of a removed slot up, so that probing needs no tombstones. */
  #closeGap(gap: number): void {
    const hashes = this.#hashes;
    const pairs = this.#pairs;
    const mask = this.#mask;
    let hole = gap;
    for (let at = (gap + 1) & mask; hashes[at] !== 0; at = (at + 1) & mask) {
      const home = (hashes[at] ?? 0) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      hashes[hole] = hashes[at] ?? 0;
      pairs[hole * 2] = pairs[at * 2];
      pairs[hole * 2 + 1] = pairs[at * 2 + 1];
      hole = at;
    }
    hashes[hole] = 0;
    pairs[hole * 2] = pairs[hole * 2 + 1] = undefined;
  }

  #resize(length: number): void {
    const hashes = this.#hashes;
    const pairs = this.#pairs;
    this.#hashes = new Int32Array(length);
    this.#pairs = new Array<string | V | undefined>(length * 2).fill(undefined);
    this.#mask = length - 1;
    for (let at = 0; at < hashes.length; at++) {
      const hash = hashes[at] ?? 0;
      if (hash !== 0) this.#place(hash, pairs[at * 2] as string, pairs[at * 2 + 1] as V);
    }
  }
}

/** As it stands in the column, where 0 is a free slot. */
const keptHash = (hash: number): number => (hash === 0 ? 1 : hash);

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

/** True when the range holds the text. */
function isText(text: string, buf: Uint8Array, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  // Names of one domain differ at their end.
  for (let i = text.length - 1; i >= 0; i--) if (text.charCodeAt(i) !== buf[start + i]) return false;
  return true;
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
