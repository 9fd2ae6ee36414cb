/**
 * Where each message that is held lies, as rows of numbers: there may be hundreds of thousands. Sequences come one after
 * the other, so that those of a block share a row and are found without a hash.
 */
import { Rows } from "@causeway/core-base";

export class Places {
  readonly #rows = new Rows(headWords + blockPlaces * placeWords);
  /** The row of each block. */
  readonly #blocks = new Map<number, number>();
  /** The block that was asked for last, and its row. */
  #lastBlock = -1;
  #lastRow = -1;

  /** Notes a message that is not in a file yet. `offset` is where its record is in the batch. */
  add(sequence: number, offset: number, headBytes: number, frameBytes: number): number {
    const rows = this.#rows;
    const block = Math.floor(sequence / blockPlaces);
    let row = this.#rowOf(block);
    if (row < 0) row = this.#open(block);
    rows.setInt(row, word.count, rows.int(row, word.count) + 1);
    const at = sequence % blockPlaces;
    const first = headWords + at * placeWords;
    rows.setInt(row, first + word.segment, notInFile);
    rows.setInt(row, first + word.offset, offset);
    rows.setInt(row, first + word.headBytes, headBytes);
    rows.setInt(row, first + word.frameBytes, frameBytes);
    return row * blockPlaces + at;
  }

  /** The place of a message, -1 for one that is not held. */
  find(sequence: number): number {
    const row = this.#rowOf(Math.floor(sequence / blockPlaces));
    if (row < 0) return -1;
    const place = row * blockPlaces + (sequence % blockPlaces);
    return this.segment(place) === notHeld ? -1 : place;
  }

  remove(place: number): void {
    const rows = this.#rows;
    const row = Math.floor(place / blockPlaces);
    this.#set(place, word.segment, notHeld);
    const count = rows.int(row, word.count) - 1;
    rows.setInt(row, word.count, count);
    if (count > 0) return;
    this.#blocks.delete(rows.double(row, word.block));
    this.#lastBlock = this.#lastRow = -1;
    rows.giveBack(row);
  }

  /** The record is in a file now. */
  settle(place: number, segment: number, offset: number, headBytes: number): void {
    this.#set(place, word.segment, segment);
    this.#set(place, word.offset, offset);
    this.#set(place, word.headBytes, headBytes);
  }

  sequence(place: number): number {
    return this.#rows.double(Math.floor(place / blockPlaces), word.block) * blockPlaces + (place % blockPlaces);
  }

  /** The number of its file, `notInFile` before it is written. */
  segment(place: number): number {
    return this.#get(place, word.segment);
  }

  /** Where its record begins, in the file or in the batch. */
  offset(place: number): number {
    return this.#get(place, word.offset);
  }

  /** Bytes of its record before its frame. */
  headBytes(place: number): number {
    return this.#get(place, word.headBytes);
  }

  /** Where its frame begins, in the file or in the batch. */
  frameStart(place: number): number {
    return this.offset(place) + this.headBytes(place);
  }

  frameBytes(place: number): number {
    return this.#get(place, word.frameBytes);
  }

  /** Bytes of its record. */
  bytes(place: number): number {
    return this.headBytes(place) + this.frameBytes(place);
  }

  #get(place: number, what: number): number {
    return this.#rows.int(Math.floor(place / blockPlaces), headWords + (place % blockPlaces) * placeWords + what);
  }

  #set(place: number, what: number, value: number): void {
    this.#rows.setInt(Math.floor(place / blockPlaces), headWords + (place % blockPlaces) * placeWords + what, value);
  }

  #rowOf(block: number): number {
    if (block === this.#lastBlock) return this.#lastRow;
    const row = this.#blocks.get(block) ?? -1;
    if (row >= 0) {
      this.#lastBlock = block;
      this.#lastRow = row;
    }
    return row;
  }

  #open(block: number): number {
    const rows = this.#rows;
    const row = rows.take();
    rows.setDouble(row, word.block, block);
    rows.setInt(row, word.count, 0);
    for (let at = 0; at < blockPlaces; at++) rows.setInt(row, headWords + at * placeWords + word.segment, notHeld);
    this.#blocks.set(block, row);
    this.#lastBlock = block;
    this.#lastRow = row;
    return row;
  }
}

/** Segments are numbered from 1. */
export const notInFile = 0;
const notHeld = -1;
/** The head of a row, and behind it where in each place what is. */
const word = { block: 0, count: 2, segment: 0, offset: 1, headBytes: 2, frameBytes: 3 } as const;
const headWords = 4;
const placeWords = 4;
/** So few that a block of which one message is left takes half a kilobyte. */
const blockPlaces = 32;
