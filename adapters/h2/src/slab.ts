/** A piece of a slab, to be given back once its bytes have left. */
export interface Region {
  readonly bytes: Buffer;
  /** Gives the region back. At most once; a region that is never given back is left to the garbage collector. */
  release(): void;
}

/**
 * Scratch memory that every connection of the process shares: what leaves in one turn is framed here. A buffer of its
 * own for each connection would cost 64 KB for each of ten thousand idle ones.
 */
export class SlabPool {
  readonly #slabBytes: number;
  readonly #spare: Slab[] = [];
  readonly #spareMax: number;
  #current: Slab;

  /** Slabs of `slabBytes` (default 256 KiB); at most `spareMax` (default 64, 16 MiB) unused ones are kept. */
  constructor(slabBytes = 262_144, spareMax = 64) {
    this.#slabBytes = slabBytes;
    this.#spareMax = spareMax;
    this.#current = new Slab(slabBytes);
  }

  /** The largest region. */
  get regionBytesMax(): number {
    return this.#slabBytes;
  }

  /** Takes `length` bytes, at most `regionBytesMax`. */
  take(length: number): Region {
    if (this.#current.used + length > this.#slabBytes) this.#turnOver();
    const slab = this.#current;
    const bytes = slab.memory.subarray(slab.used, slab.used + length);
    slab.used += length;
    slab.taken += 1;
    return { bytes, release: () => this.#giveBack(slab) };
  }

  #turnOver(): void {
    const full = this.#current;
    this.#current = this.#spare.pop() ?? new Slab(this.#slabBytes);
    if (full.taken === 0) this.#keep(full);
  }

  #giveBack(slab: Slab): void {
    slab.taken -= 1;
    if (slab.taken > 0) return;
    if (slab === this.#current) slab.used = 0;
    else this.#keep(slab);
  }

  #keep(slab: Slab): void {
    slab.used = 0;
    if (this.#spare.length < this.#spareMax) this.#spare.push(slab);
  }
}

class Slab {
  readonly memory: Buffer;
  used = 0;
  taken = 0;

  constructor(bytes: number) {
    this.memory = Buffer.allocUnsafeSlow(bytes);
  }
}
