import { type SeenName, seenNamesMax } from "@causeway/core-wire";
import type { AgentEntry } from "./agent-entry.ts";

/**
 * Entries by names that were seen before, found by the place of the name: no byte of it is read. One that has left the
 * table is not given any more.
 */
export class RecentEntries {
  readonly #names = new Array<SeenName | undefined>(seenNamesMax).fill(undefined);
  readonly #entries = new Array<AgentEntry | undefined>(seenNamesMax).fill(undefined);

  find(name: SeenName): AgentEntry | undefined {
    const { place } = name;
    if (this.#names[place] !== name) return undefined;
    const entry = this.#entries[place];
    if (entry?.isGone !== true) return entry;
    this.#names[place] = this.#entries[place] = undefined;
    return undefined;
  }

  /** `name` is the name of the entry's agent, without instance. */
  keep(name: SeenName, entry: AgentEntry): void {
    this.#names[name.place] = name;
    this.#entries[name.place] = entry;
  }
}
