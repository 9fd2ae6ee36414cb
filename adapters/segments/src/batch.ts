import type { StoredFrame, StoredMail } from "@causeway/core-base";
import { batchHeaderBytes, mailBytes, writeMail } from "./format.ts";

/** Memory is taken in pieces of this size. A piece is never written twice, so that frames in it may be handed on. */
const chunkBytes = 1_048_576;

/**
 * What the next commit writes. Messages are copied once, from the buffer that they were read into, to where they are
 * written from.
 */
export class Batch {
  #chunk: Buffer = Buffer.alloc(0);
  /** Where the batch begins in the current chunk, and where it ends for now. */
  #from = 0;
  #to = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;

  get isEmpty(): boolean {
    return this.#full.length === 0 && this.#from === this.#to;
  }

  /** Adds a message. `offset` is where its frame is in the batch, header included. */
  add(mail: StoredMail, buffer: Uint8Array, start: number, end: number): StoredFrame & { readonly offset: number } {
    this.#reserve(mailBytes(mail));
    const at = writeMail(this.#chunk, this.#to, mail);
    this.#chunk.set(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end), at);
    this.#to = at + (end - start);
    return { buffer: this.#chunk, start: at, end: this.#to, offset: this.#fullBytes + at - this.#from };
  }

  addBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#chunk.set(bytes, this.#to);
    this.#to += bytes.length;
  }

  /** The pieces of the batch, the first with room for the header. They stay as they are until `next`. */
  pieces(): Buffer[] {
    return [...this.#full, this.#chunk.subarray(this.#from, this.#to)];
  }

  /** Begins the next one. */
  next(): void {
    this.#full = [];
    this.#fullBytes = 0;
    this.#from = this.#to;
  }

  #reserve(bytes: number): void {
    const head = this.isEmpty ? batchHeaderBytes : 0;
    if (this.#chunk.length - this.#to < bytes + head) {
      if (this.#to > this.#from) {
        this.#full.push(this.#chunk.subarray(this.#from, this.#to));
        this.#fullBytes += this.#to - this.#from;
      }
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(chunkBytes, bytes + batchHeaderBytes));
      this.#from = this.#to = 0;
    }
    this.#to += head;
  }
}
