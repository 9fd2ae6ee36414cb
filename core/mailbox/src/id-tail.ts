/**
 * Messages of one sender in one mailbox whose ids ascended as they came, as those of RFC 9562 version 7 do, the oldest
 * first. An id above all that ever came is new, and what is acknowledged in order stands in front: for neither the index
 * of ids has to be asked, whose memory is slow since ids are scattered over it.
 */
export class IdTail {
  #rows: number[] = [];
  #from = 0;
  #to = 0;
  /** The highest id that ever came, in words of 32 bits without a sign, the first byte of the id highest. */
  #top: readonly [number, number, number, number] | undefined;

  /** The oldest row, -1 for none. */
  get front(): number {
    return this.#from < this.#to ? (this.#rows[this.#from] ?? -1) : -1;
  }

  /** True when no id that came was as high. */
  isAbove(id: Int32Array): boolean {
    const top = this.#top;
    if (top === undefined) return true;
    for (let i = 0; i < top.length; i++) {
      const word = (id[i] ?? 0) >>> 0;
      const highest = top[i] ?? 0;
      if (word !== highest) return word > highest;
    }
    return false;
  }

  /** Takes a row in whose id is above all that came. */
  push(row: number, id: Int32Array): void {
    this.#top = [(id[0] ?? 0) >>> 0, (id[1] ?? 0) >>> 0, (id[2] ?? 0) >>> 0, (id[3] ?? 0) >>> 0];
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
