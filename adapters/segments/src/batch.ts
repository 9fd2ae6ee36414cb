import { crc32 } from "node:zlib";
import type { StoredMail } from "@causeway/core-base";
import { batchHeaderBytes, mailHeadBytes, namesOf, writeMailHead } from "./format.ts";

/**
 * What the next commit writes. Messages are copied once, from the buffer that they were read into, to where they are
 * written from. That memory is used again, since fresh memory for each batch costs more than filling it: frames in it may
 * be handed on without a copy, and stay as they are until the second `turnOver` after.
 */
export class Batch {
  #chunk: Chunk | undefined;
  /** Where the batch ends for now in the current chunk. */
  #to = 0;
  #full: Piece[] = [];
  #fullBytes = 0;
  /** Chunks of batches that ended since the last `turnOver`, and since the one before. */
  #recent: Chunk[] = [];
  #aging: Chunk[] = [];
  readonly #free: Chunk[] = [];
  /** The message before that has its names in the batch: most follow one of the same sender for the same agent. */
  #named: StoredMail | undefined;
  /** The checksum of what was added, up to `#summed` in the current chunk. */
  #crc = 0;
  #summed = 0;
  /** Bytes of the record that was added last, without its frame. */
  headBytes = 0;

  get isEmpty(): boolean {
    return this.#fullBytes + this.#to === 0;
  }

  /** Adds a message; answers where its record is in the batch, header included. */
  add(mail: StoredMail, buffer: Uint8Array, start: number, end: number): number {
    const isNext = this.#isNamed(mail);
    const names = isNext ? undefined : namesOf(mail);
    const headBytes = mailHeadBytes + (names?.length ?? 0);
    const chunk = this.#reserve(headBytes + end - start);
    const at = this.#to;
    writeMailHead(chunk.view, chunk.memory, at, mail, isNext);
    if (names !== undefined) {
      chunk.memory.set(names, at + mailHeadBytes);
      this.#named = mail;
    }
    copyBytes.call(buffer, chunk.memory, at + headBytes, start, end);
    this.#to = at + headBytes + end - start;
    this.headBytes = headBytes;
    if (this.#to - this.#summed >= sumBytes) this.#sum(chunk);
    return this.#fullBytes + at;
  }

  addBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length).memory.set(bytes, this.#to);
    this.#to += bytes.length;
  }

  /** The pieces of the batch, the first with its header. */
  pieces(): Buffer[] {
    const pieces = this.#full.map(({ chunk, end }) => chunk.memory.subarray(0, end));
    if (this.#chunk !== undefined) {
      this.#sum(this.#chunk);
      pieces.push(this.#chunk.memory.subarray(0, this.#to));
    }
    const [first] = pieces;
    first?.writeUInt32LE(this.#fullBytes + this.#to - batchHeaderBytes, 0);
    first?.writeUInt32LE(this.#crc, 4);
    return pieces;
  }

  /** Frames that were handed on before the last `turnOver` have left: their memory is free. */
  turnOver(): void {
    this.#free.push(...this.#aging);
    this.#aging = this.#recent;
    this.#recent = [];
    // What a burst needed goes bit by bit.
    if (this.#free.length > chunksSpare + 2 * this.#aging.length) this.#free.pop();
    if (this.#free.length > chunksMax) this.#free.length = chunksMax;
  }

  /** Begins the next one. */
  next(): void {
    if (this.#chunk !== undefined) this.#full.push({ chunk: this.#chunk, end: this.#to });
    // The memory of a message that is larger than a chunk is not kept.
    for (const { chunk } of this.#full) if (chunk.memory.length === chunkBytes) this.#recent.push(chunk);
    this.#full = [];
    this.#fullBytes = this.#to = 0;
    this.#crc = this.#summed = 0;
    this.#chunk = undefined;
    this.#named = undefined;
  }

  #isNamed(mail: StoredMail): boolean {
    const last = this.#named;
    return last?.source === mail.source && last.agentId === mail.agentId && last.instance === mail.instance;
  }

  /** Takes what was added since the last time into the checksum. */
  #sum(chunk: Chunk): void {
    if (this.#to > this.#summed) this.#crc = crc32(chunk.memory.subarray(this.#summed, this.#to), this.#crc);
    this.#summed = this.#to;
  }

  #reserve(bytes: number): Chunk {
    const head = this.isEmpty ? batchHeaderBytes : 0;
    let chunk = this.#chunk;
    if (chunk === undefined || chunk.memory.length - this.#to < bytes + head) {
      if (chunk !== undefined && this.#to > 0) {
        this.#sum(chunk);
        this.#full.push({ chunk, end: this.#to });
        this.#fullBytes += this.#to;
      }
      chunk = bytes + head > chunkBytes ? new Chunk(bytes + head) : (this.#free.pop() ?? new Chunk(chunkBytes));
      this.#chunk = chunk;
      this.#to = this.#summed = 0;
    }
    this.#to += head;
    this.#summed += head;
    return chunk;
  }
}

class Chunk {
  readonly memory: Buffer;
  readonly view: DataView;

  constructor(bytes: number) {
    this.memory = Buffer.allocUnsafeSlow(bytes);
    this.view = new DataView(this.memory.buffer);
  }
}

/** A chunk that is full. */
interface Piece {
  readonly chunk: Chunk;
  readonly end: number;
}

const copyBytes = Buffer.prototype.copy;
/** Taken into the checksum at once: still in the nearest cache of the processor. */
const sumBytes = 16_384;
/** Small enough for what a turn stores to stay in the processor's cache. */
const chunkBytes = 262_144;
/** Chunks that wait for the next batches beside what the last ones needed, and at most (16 MiB). */
const chunksSpare = 4;
const chunksMax = 64;
