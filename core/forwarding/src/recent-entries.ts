import type { SeenName } from "@causeway/core-wire";
import type { AgentEntry } from "./agent-entry.ts";

/**
 * Entries by names that were seen before, found by the identity of the name: no byte of it is read. A place holds one
 * entry, the newest; one that has left the table is not given any more.
 */
export class RecentEntries {
  readonly #mask: number;
  readonly #names: (SeenName | undefined)[];
  readonly #entries: (AgentEntry | undefined)[];

  /** `places`: a power of two, default 4,096. */
  constructor(places = 4_096) {
    this.#mask = places - 1;
    this.#names = new Array<SeenName | undefined>(places).fill(undefined);
    this.#entries = new Array<AgentEntry | undefined>(places).fill(undefined);
  }

  find(name: SeenName): AgentEntry | undefined {
    const place = name.hash & this.#mask;
    if (this.#names[place] !== name) return undefined;
    const entry = this.#entries[place];
    return entry?.isGone === false ? entry : undefined;
  }

  /** `name` is the name of the entry's agent, without instance. */
  keep(name: SeenName, entry: AgentEntry): void {
    const place = name.hash & this.#mask;
    this.#names[place] = name;
    this.#entries[place] = entry;
  }
}
