/** Seeded damage: the same seed gives the same bytes. */

/** xorshift128+, seeded by splitmix; good enough to choose where to break things. */
export class Dice {
  #a: number;
  #b: number;

  constructor(seed: number) {
    this.#a = (seed ^ 0x9e3779b9) >>> 0 || 1;
    this.#b = (Math.imul(seed, 0x85ebca6b) ^ 0xc2b2ae35) >>> 0 || 1;
    for (let i = 0; i < 8; i += 1) this.below(2);
  }

  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number {
    let t = this.#a;
    const s = this.#b;
    this.#a = s;
    t ^= t << 23;
    t ^= t >>> 17;
    t ^= s ^ (s >>> 26);
    this.#b = t >>> 0;
    return ((this.#b + s) >>> 0) % bound;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error("picked from nothing");
    return value;
  }
}

/** Bytes that decoders treat specially. */
const telling = [0, 1, 0x7f, 0x80, 0xff, 0x30, 0x82, 0x84];
const lengthMax = 1 << 16;

/** A damaged copy of one of `seeds`: flips, truncation, insertion, repetition, splices, or plain noise. */
export function mutate(dice: Dice, seeds: readonly Uint8Array[]): Uint8Array {
  if (seeds.length === 0 || dice.below(20) === 0) return noise(dice, dice.below(300));
  let bytes = Uint8Array.from(dice.pick(seeds));
  for (let rounds = 1 + dice.below(4); rounds > 0; rounds -= 1) bytes = damage(dice, bytes, seeds).slice(0, lengthMax);
  return bytes;
}

function damage(dice: Dice, bytes: Uint8Array<ArrayBuffer>, seeds: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const at = dice.below(bytes.length + 1);
  switch (dice.below(7)) {
    case 0: {
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
      return bytes;
    }
    case 1: {
      if (at < bytes.length) bytes[at] = dice.pick(telling);
      return bytes;
    }
    case 2:
      return bytes.slice(0, at);
    case 3:
      return join(bytes.subarray(0, at), noise(dice, 1 + dice.below(8)), bytes.subarray(at));
    case 4: {
      const end = Math.min(bytes.length, at + dice.below(64));
      return join(bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end));
    }
    case 5:
      return join(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + dice.below(16))));
    default: {
      const other = dice.pick(seeds);
      return join(bytes.subarray(0, at), other.subarray(dice.below(other.length + 1)));
    }
  }
}

function noise(dice: Dice, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => dice.below(256));
}

function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}
