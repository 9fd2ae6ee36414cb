/**
 * Messages of one sender in one mailbox whose ids ascended as they came, as those of RFC 9562 version 7 do, the oldest
 * first. An id above all that ever came is new, and what is acknowledged in order stands in front: for neither the index
 * of ids has to be asked, whose memory is slow since ids are scattered over it.
 */
export class IdTail {
  #rows: number[] = [];
  #from = 0;
  #to = 0;
  /** The highest id that ever came, in words of 32 bits; the first byte of an id is its highest. */
  #isUsed = false;
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;

  /** The oldest row, -1 for none. */
  get front(): number {
    return this.#from < this.#to ? (this.#rows[this.#from] ?? -1) : -1;
  }

  /** True when no id that came was as high. */
  isAbove(id: Int32Array): boolean {
    if (!this.#isUsed) return true;
    const a = id[0] ?? 0;
    const b = id[1] ?? 0;
    const c = id[2] ?? 0;
    const d = id[3] ?? 0;
    if (a !== this.#a) return a >>> 0 > this.#a >>> 0;
    if (b !== this.#b) return b >>> 0 > this.#b >>> 0;
    if (c !== this.#c) return c >>> 0 > this.#c >>> 0;
    return d >>> 0 > this.#d >>> 0;
  }

  /** Takes a row in whose id is above all that came. */
  push(row: number, id: Int32Array): void {
    this.#isUsed = true;
    this.#a = id[0] ?? 0;
    this.#b = id[1] ?? 0;
    this.#c = id[2] ?? 0;
    this.#d = id[3] ?? 0;
    this.#rows[this.#to++] = row;
  }

  /** Takes the oldest row out. */
  shift(): void {
    this.#from++;
    if (this.#from === this.#to) this.#clear();
    else if (this.#from > roomMin && this.#from * 2 > this.#to) {
      this.#rows = this.#rows.slice(this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
  }

  /** Takes every row out. */
  drain(take: (row: number) => void): void {
    for (let at = this.#from; at < this.#to; at++) take(this.#rows[at] ?? -1);
    this.#clear();
  }

  #clear(): void {
    this.#from = this.#to = 0;
    if (this.#rows.length > roomMin) this.#rows = [];
  }
}

/** Room for rows that is kept. */
const roomMin = 64;
