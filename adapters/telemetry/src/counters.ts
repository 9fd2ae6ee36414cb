import { type Counter, type Counters, refuse } from "@causeway/core-base";

/** Every counter of one process. */
export interface CounterRegistry extends Counters {
  /** Names and values, sorted by name. */
  snapshot(): Readonly<Record<string, number>>;
}

/** Makes an empty registry. At most `countersMax` (default 1,000) names; a name is code, never input. */
export function createCounters(countersMax = 1_000): CounterRegistry {
  const counters = new Map<string, MemoryCounter>();
  return {
    counter(name) {
      const known = counters.get(name);
      if (known !== undefined) return known;
      if (!namePattern.test(name)) {
        throw refuse(
          "CAUSEWAY_MISUSE",
          `expected a counter name like causeway_h2_frames_total, got ${JSON.stringify(name)}`,
        );
      }
      if (counters.size >= countersMax) {
        throw refuse(
          "CAUSEWAY_MISUSE",
          `expected at most ${countersMax} counters; make names in code and not from input`,
        );
      }
      const made = new MemoryCounter(name);
      counters.set(name, made);
      return made;
    },
    snapshot() {
      return Object.fromEntries([...counters.values()].map((c) => [c.name, c.value] as const).sort(byName));
    },
  };
}

class MemoryCounter implements Counter {
  readonly name: string;
  value = 0;

  constructor(name: string) {
    this.name = name;
  }

  add(amount = 1): void {
    if (!(amount >= 0))
      throw refuse("CAUSEWAY_MISUSE", `expected an amount of 0 or more for ${this.name}, got ${amount}`);
    this.value += amount;
  }
}

const byName = (a: readonly [string, number], b: readonly [string, number]): number => (a[0] < b[0] ? -1 : 1);

const namePattern = /^causeway_[a-z0-9]+(_[a-z0-9]+){2,}$/;
