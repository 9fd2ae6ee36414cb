/** What of one flow was acknowledged to its producer, and how often each piece of it arrived. */

export type Kind = "message" | "request" | "stream" | "publication";

/** One producer, one receiver; pieces are numbered from 0. */
export class Flow {
  readonly kind: Kind;
  readonly name: string;
  readonly #arrivals: number[] = [];
  readonly #acknowledged: number[] = [];
  #produced = 0;
  #held = 0;

  constructor(kind: Kind, name: string) {
    this.kind = kind;
    this.name = name;
  }

  /** The number of the next piece. What came before has arrived by now, or was kept back on its way. */
  produce(): number {
    const before = this.#produced - 1;
    if (this.#acknowledged.at(-1) === before && before >= 0 && !this.hasArrived(before)) this.#held++;
    return this.#produced++;
  }

  arrive(n: number): void {
    this.#arrivals[n] = (this.#arrivals[n] ?? 0) + 1;
  }

  acknowledge(n: number): void {
    this.#acknowledged.push(n);
  }

  hasArrived(n: number): boolean {
    return this.#arrivals[n] !== undefined;
  }

  get outcome(): FlowOutcome {
    const label = (n: number): string => `${this.kind} ${n} of ${this.name}`;
    return {
      acknowledged: this.#acknowledged.length,
      lost: this.#acknowledged.filter((n) => !this.hasArrived(n)).map(label),
      repeated: [...this.#arrivals.keys()].filter((n) => (this.#arrivals[n] ?? 0) > 1).map(label),
      held: this.#held,
    };
  }
}

/** How a flow went. */
export interface FlowOutcome {
  readonly acknowledged: number;
  /** Acknowledged and never arrived. */
  readonly lost: readonly string[];
  readonly repeated: readonly string[];
  /** Pieces that were acknowledged and had not arrived when the next one was produced. */
  readonly held: number;
}
