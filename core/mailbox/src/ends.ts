/** What ends first. What has gone meanwhile stays in the heap until half of it has, so that leaving is free. */
import type { UnixMs } from "@causeway/core-base";
import type { MailRows } from "./mail-rows.ts";

/** A binary heap in columns: the end, the sequence, which comes second, and the row. */
export class Ends {
  readonly #rows: MailRows;
  #ends = new Float64Array(new SharedArrayBuffer(entriesMin * 8));
  #sequences = new Float64Array(new SharedArrayBuffer(entriesMin * 8));
  #items = new Int32Array(new SharedArrayBuffer(entriesMin * 4));
  #size = 0;
  #gone = 0;

  constructor(rows: MailRows) {
    this.#rows = rows;
  }

  add(row: number): void {
    if (this.#size === this.#items.length) this.#resize(this.#size * 2);
    this.#rise(this.#size++, this.#rows.expiresAt(row), this.#rows.sequence(row), row);
  }

  /** A message has gone before its end. */
  noteGone(): void {
    this.#gone++;
    if (this.#gone > slack && this.#gone * 2 > this.#size) this.#dropAllGone();
  }

  /** When the next one ends. */
  next(): UnixMs | undefined {
    this.#dropGone();
    return this.#size === 0 ? undefined : (this.#ends[0] as UnixMs);
  }

  /** Takes the next one out that has ended at `now`; -1 for none. */
  take(now: UnixMs): number {
    this.#dropGone();
    if (this.#size === 0 || (this.#ends[0] ?? 0) > now) return -1;
    const row = this.#items[0] ?? -1;
    this.#pop();
    return row;
  }

  #isGone(at: number): boolean {
    const row = this.#items[at] ?? 0;
    // An operator may have given the message a new end.
    return !this.#rows.holds(row, this.#sequences[at] ?? 0) || this.#rows.expiresAt(row) !== this.#ends[at];
  }

  #dropGone(): void {
    while (this.#size > 0 && this.#isGone(0)) {
      this.#pop();
      this.#gone = Math.max(0, this.#gone - 1);
    }
  }

  #dropAllGone(): void {
    const size = this.#size;
    this.#size = 0;
    // What is kept moves towards the front, never past what is still to be looked at.
    for (let at = 0; at < size; at++) {
      if (this.#isGone(at)) continue;
      this.#rise(this.#size++, this.#ends[at] ?? 0, this.#sequences[at] ?? 0, this.#items[at] ?? 0);
    }
    this.#gone = 0;
    if (this.#items.length > entriesMin && this.#size * 4 < this.#items.length) {
      this.#resize(Math.max(entriesMin, this.#size * 2));
    }
  }

  #pop(): void {
    const last = --this.#size;
    if (last === 0) return;
    const end = this.#ends[last] ?? 0;
    const sequence = this.#sequences[last] ?? 0;
    let at = 0;
    for (let child = 1; child < last; child = 2 * at + 1) {
      if (child + 1 < last && this.#isBefore(child + 1, this.#ends[child] ?? 0, this.#sequences[child] ?? 0)) child++;
      if (!this.#isBefore(child, end, sequence)) break;
      this.#move(child, at);
      at = child;
    }
    this.#move(last, at);
  }

  /** Puts an entry at a free place, or above as far as it belongs. */
  #rise(from: number, end: number, sequence: number, row: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isAfter(parent, end, sequence)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#ends[at] = end;
    this.#sequences[at] = sequence;
    this.#items[at] = row;
  }

  #move(from: number, to: number): void {
    this.#ends[to] = this.#ends[from] ?? 0;
    this.#sequences[to] = this.#sequences[from] ?? 0;
    this.#items[to] = this.#items[from] ?? 0;
  }

  #isBefore(at: number, end: number, sequence: number): boolean {
    const own = this.#ends[at] ?? 0;
    return own < end || (own === end && (this.#sequences[at] ?? 0) < sequence);
  }

  #isAfter(at: number, end: number, sequence: number): boolean {
    const own = this.#ends[at] ?? 0;
    return own > end || (own === end && (this.#sequences[at] ?? 0) > sequence);
  }

  #resize(length: number): void {
    const keep = <T extends Float64Array | Int32Array>(from: T, to: T): T => {
      to.set(from.subarray(0, this.#size));
      return to;
    };
    this.#ends = keep(this.#ends, new Float64Array(new SharedArrayBuffer(length * 8)));
    this.#sequences = keep(this.#sequences, new Float64Array(new SharedArrayBuffer(length * 8)));
    this.#items = keep(this.#items, new Int32Array(new SharedArrayBuffer(length * 4)));
  }
}

const slack = 1_024;
const entriesMin = 64;
