/** Where each message that is held lies, as rows of numbers: there may be hundreds of thousands. */
import { RowIndex, Rows } from "@causeway/core-base";

export class Places {
  readonly #rows = new Rows(placeWords);
  readonly #index = new RowIndex();

  /** Notes a message that is not in a file yet. `offset` is where its record is in the batch. */
  add(sequence: number, offset: number, headBytes: number, frameBytes: number): number {
    const rows = this.#rows;
    const place = rows.take();
    rows.setDouble(place, word.sequence, sequence);
    rows.setInt(place, word.segment, notInFile);
    rows.setInt(place, word.offset, offset);
    rows.setInt(place, word.headBytes, headBytes);
    rows.setInt(place, word.frameBytes, frameBytes);
    this.#index.add(place, hashOf(sequence));
    return place;
  }

  /** The place of a message, -1 for one that is not held. */
  find(sequence: number): number {
    const hash = hashOf(sequence);
    let place = this.#index.first(hash);
    while (place >= 0 && this.sequence(place) !== sequence) place = this.#index.next(hash);
    return place;
  }

  remove(place: number): void {
    this.#index.remove(place, hashOf(this.sequence(place)));
    this.#rows.giveBack(place);
  }

  /** The record is in a file now. */
  settle(place: number, segment: number, offset: number): void {
    this.#rows.setInt(place, word.segment, segment);
    this.#rows.setInt(place, word.offset, offset);
  }

  sequence(place: number): number {
    return this.#rows.double(place, word.sequence);
  }

  /** The number of its file, `notInFile` before it is written. */
  segment(place: number): number {
    return this.#rows.int(place, word.segment);
  }

  /** Where its record begins, in the file or in the batch. */
  offset(place: number): number {
    return this.#rows.int(place, word.offset);
  }

  /** Where its frame begins, in the file or in the batch. */
  frameStart(place: number): number {
    return this.offset(place) + this.#rows.int(place, word.headBytes);
  }

  frameBytes(place: number): number {
    return this.#rows.int(place, word.frameBytes);
  }

  /** Bytes of its record. */
  bytes(place: number): number {
    return this.#rows.int(place, word.headBytes) + this.frameBytes(place);
  }
}

/** Segments are numbered from 1. */
export const notInFile = 0;
const word = { sequence: 0, segment: 2, offset: 3, headBytes: 4, frameBytes: 5 } as const;
const placeWords = 6;
/** Eight that follow each other stand side by side, and the eights everywhere. */
const hashOf = (sequence: number): number => {
  const mixed = Math.imul(Math.floor(sequence / 8) | 0, 0x9e3779b1);
  return ((mixed ^ (mixed >>> 15)) << 3) | (sequence & 7);
};
