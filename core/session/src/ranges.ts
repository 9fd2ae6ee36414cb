/**
 * Sets of numbers that arrive nearly in order, kept as ranges: what a channel has settled, whatever its length. Numbers
 * below a floor are forgotten, so that memory follows the holes, not the traffic.
 */

/** First and last number of a range. */
export type NumberRange = readonly [first: number, last: number];

/** Whole numbers from 1 as ascending ranges that neither touch nor overlap. */
export class RangeSet {
  #ranges: [number, number][] = [];

  static of(ranges: Iterable<NumberRange>): RangeSet {
    const set = new RangeSet();
    for (const [first, last] of ranges) set.#insert(first, last);
    return set;
  }

  /** Ranges held: one, when nothing is missing. */
  get holes(): number {
    return Math.max(0, this.#ranges.length - 1);
  }

  get ranges(): readonly NumberRange[] {
    return this.#ranges;
  }

  has(number: number): boolean {
    const range = this.#ranges[this.#find(number)];
    return range !== undefined && range[0] <= number;
  }

  add(number: number): void {
    const last = this.#ranges.at(-1);
    // Nearly everything comes in order.
    if (last !== undefined && last[1] + 1 === number) last[1] = number;
    else this.#insert(number, number);
  }

  /** The ranges without some numbers, which have to ascend. */
  without(numbers: Iterable<number>): NumberRange[] {
    const left: NumberRange[] = [];
    const gone = [...numbers];
    let at = 0;
    for (const [first, last] of this.#ranges) {
      let from = first;
      while ((gone[at] ?? Infinity) < from) at++;
      for (let number = gone[at]; number !== undefined && number <= last; number = gone[++at]) {
        if (number > from) left.push([from, number - 1]);
        from = number + 1;
      }
      if (from <= last) left.push([from, last]);
    }
    return left;
  }

  /** Forgets everything below `floor`. */
  dropBelow(floor: number): void {
    const index = this.#find(floor);
    if (index > 0) this.#ranges.splice(0, index);
    const first = this.#ranges[0];
    if (first !== undefined && first[0] < floor) first[0] = floor;
  }

  /** Index of the first range that does not end before `number`. */
  #find(number: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ranges[middle] as NumberRange)[1] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(first: number, last: number): void {
    // From the first range that touches the new one on.
    const from = this.#find(first - 1);
    let to = from;
    let [low, high] = [first, last];
    for (let range = this.#ranges[to]; range !== undefined && range[0] <= last + 1; range = this.#ranges[to]) {
      low = Math.min(low, range[0]);
      high = Math.max(high, range[1]);
      to++;
    }
    this.#ranges.splice(from, to - from, [low, high]);
  }
}

/** Ranges of ascending numbers. */
export function rangesOf(numbers: Iterable<number>): NumberRange[] {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1 === number) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}
