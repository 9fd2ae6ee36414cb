/**
 * Memory for backlogs, in sizes of 4, 8, 16, 32 and 64 KiB that are kept for the next backlog: fresh ones for each burst
 * would keep the garbage collector busy, which counts them as external memory.
 */
export class ChunkPool {
  /** Unused chunks, by size. */
  readonly #spare: readonly Buffer[][] = Array.from({ length: sizes }, () => []);
  readonly #spareBytesMax: number;
  #spareBytes = 0;

  /** Keeps at most `spareBytesMax` of unused chunks (default 16 MiB). */
  constructor(spareBytesMax = 16_777_216) {
    this.#spareBytesMax = spareBytesMax;
  }

  /** A chunk of at least `length` bytes, better of `wanted`: from 4 to 64 KiB, longer only for what is longer itself. */
  take(length: number, wanted: number): Buffer {
    if (length > chunkBytesMax) return Buffer.allocUnsafeSlow(length);
    const size = sizeFor(Math.max(length, Math.min(chunkBytesMax, wanted)));
    const spare = this.#spare[size]?.pop();
    if (spare === undefined) return Buffer.allocUnsafeSlow(chunkBytesMin << size);
    this.#spareBytes -= spare.length;
    return spare;
  }

  /** The chunk is not used any more. */
  giveBack(chunk: Buffer): void {
    if (chunk.length > chunkBytesMax || this.#spareBytes + chunk.length > this.#spareBytesMax) return;
    this.#spare[sizeFor(chunk.length)]?.push(chunk);
    this.#spareBytes += chunk.length;
  }
}

/** The number of the smallest size that holds so many bytes. */
function sizeFor(bytes: number): number {
  return bytes <= chunkBytesMin ? 0 : 32 - Math.clz32((bytes - 1) >>> chunkBitsMin);
}

const chunkBitsMin = 12;
const chunkBytesMin = 1 << chunkBitsMin;
const sizes = 5;
const chunkBytesMax = chunkBytesMin << (sizes - 1);
