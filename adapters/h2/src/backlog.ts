import { grpcPrefixBytes as prefixBytes, writeGrpcPrefix } from "@causeway/core-wire";
import { ChunkPool } from "./chunk-pool.ts";

/** Framed bytes that the connection does not take yet, in chunks that grow with the backlog. */
export class Backlog {
  readonly #headroom: number;
  readonly #chunkBytesMin: number;
  readonly #chunkBytesMax: number;
  #chunks: { memory: Buffer; used: number }[] = [];
  #head = 0;

  /**
   * Each chunk leaves `headroom` bytes free in front. The first one has `chunkBytesMin` (default 4 KiB), later ones up to
   * `chunkBytesMax` (default 64 KiB); what is longer has one of its own.
   */
  constructor(headroom: number, chunkBytesMin = 4_096, chunkBytesMax = 65_536) {
    this.#headroom = headroom;
    this.#chunkBytesMin = chunkBytesMin;
    this.#chunkBytesMax = chunkBytesMax;
  }

  get isEmpty(): boolean {
    return this.#head === this.#chunks.length;
  }

  /** Bytes of the oldest chunk without its headroom; 0 when there is none. */
  get nextBytes(): number {
    const chunk = this.#chunks[this.#head];
    return chunk === undefined ? 0 : chunk.used - this.#headroom;
  }

  /** Copies a piece behind what waits: a negative start is the start of a bare frame, as `~start`. */
  add(buffer: Uint8Array, start: number, end: number): void {
    const length = sizeOf(start, end);
    let tail = this.isEmpty ? undefined : this.#chunks.at(-1);
    if (tail === undefined || tail.used + length > tail.memory.length) {
      const wanted = Math.min(this.#chunkBytesMax, Math.max(this.#chunkBytesMin, (tail?.memory.length ?? 0) * 2));
      tail = { memory: chunks.take(this.#headroom + length, wanted), used: this.#headroom };
      this.#chunks.push(tail);
    }
    tail.used = encodePiece(tail.memory, tail.used, buffer, start, end);
  }

  /** Removes the oldest chunk. Indexed rather than shifted: a shift of a long array moves all of it. */
  take(): { readonly memory: Buffer; readonly used: number } | undefined {
    const chunk = this.#chunks[this.#head];
    if (chunk === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#chunks.length || this.#head > compactAfter) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
    return chunk;
  }

  clear(): void {
    for (let i = this.#head; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i];
      if (chunk !== undefined) chunks.giveBack(chunk.memory);
    }
    this.#chunks = [];
    this.#head = 0;
  }
}

/** The memory of a chunk that was taken is not used any more. */
export function giveBackChunk(memory: Buffer): void {
  chunks.giveBack(memory);
}

/** Bytes that a piece has on the wire. */
export function sizeOf(start: number, end: number): number {
  return start >= 0 ? end - start : end - ~start + prefixBytes;
}

/** Copies a piece to `at`, with a prefix when it has none; answers the end. */
export function encodePiece(into: Buffer, at: number, buffer: Uint8Array, start: number, end: number): number {
  let from = start;
  let to = at;
  if (start < 0) {
    from = ~start;
    writeGrpcPrefix(into, at, end - from);
    to += prefixBytes;
  }
  const length = end - from;
  if (length < copyByHandMax) for (let i = 0; i < length; i++) into[to + i] = buffer[from + i] ?? 0;
  else copyBytes.call(buffer, into, to, from, end);
  return to + length;
}

/** Copies without a view of the range, which would be garbage. */
const copyBytes = Buffer.prototype.copy;
/** Shared by all links: what was a backlog once becomes one again. */
const chunks = new ChunkPool();
const compactAfter = 64;
/** Below this a loop beats a call. */
const copyByHandMax = 24;
