/**
 * Memory for backlogs, of which full-sized chunks are kept for the next backlog: fresh ones for each
 * burst would keep the garbage collector busy.
 */
export class ChunkPool {
  readonly #spare: Buffer[] = [];
  readonly #spareMax: number;

  /** Keeps at most `spareMax` unused chunks of full size (default 256, 16 MiB). */
  constructor(spareMax = 256) {
    this.#spareMax = spareMax;
  }

  /** A chunk of at least `length` bytes, better of `wanted`: from 4 to 64 KiB, longer only for what is longer itself. */
  take(length: number, wanted: number): Buffer {
    const size = Math.max(length, Math.min(chunkBytesMax, Math.max(chunkBytesMin, wanted)));
    return (size === chunkBytesMax ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(size);
  }

  /** The chunk is not used any more. */
  giveBack(chunk: Buffer): void {
    if (chunk.length === chunkBytesMax && this.#spare.length < this.#spareMax) this.#spare.push(chunk);
  }
}

const chunkBytesMin = 4_096;
const chunkBytesMax = 65_536;
