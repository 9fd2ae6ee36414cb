/**
 * The agents below each prefix of whole segments, for targets that name a prefix (anycast, AAP-69). Adding and removing
 * an agent costs one step for each segment of its name.
 */
import type { AgentId } from "@causeway/core-base";
import type { AgentEntry } from "./agent-entry.ts";
import { NameMap } from "./name-map.ts";

/** Agents that share a prefix, in no order. */
export interface PrefixGroup {
  readonly prefix: string;
  readonly number: number;
  readonly members: AgentEntry[];
  /** Where the next choice begins, so that choices go round. */
  cursor: number;
}

export class PrefixGroups {
  readonly #groups: NameMap<PrefixGroup>;
  #next = 1;

  constructor(seed: number) {
    this.#groups = new NameMap(seed);
  }

  add(entry: AgentEntry): void {
    for (const prefix of prefixesOf(entry.agentId)) {
      let group = this.#groups.getName(prefix);
      if (group === undefined) {
        // Made with its member: most have one, and a list that was pushed to has room for seventeen.
        group = { prefix, number: -this.#next++, members: [entry], cursor: 0 };
        this.#groups.set(prefix, group);
        entry.positions.set(group, 0);
        continue;
      }
      entry.positions.set(group, group.members.length);
      group.members.push(entry);
    }
  }

  remove(entry: AgentEntry): void {
    for (const prefix of prefixesOf(entry.agentId)) {
      const group = this.#groups.getName(prefix);
      const at = group && entry.positions.get(group);
      if (group === undefined || at === undefined) continue;
      const last = group.members.pop();
      if (last !== undefined && last !== entry) {
        group.members[at] = last;
        last.positions.set(group, at);
      }
      entry.positions.delete(group);
      if (group.members.length === 0) this.#groups.delete(prefix);
    }
  }

  /** The group of a prefix target; a slash at its end is ignored. */
  get(buf: Uint8Array, start: number, end: number): PrefixGroup | undefined {
    return this.#groups.get(buf, start, buf[end - 1] === 0x2f ? end - 1 : end);
  }
}

/** `spiffe://d`, `spiffe://d/a`, … up to the name itself. */
function prefixesOf(agentId: AgentId): readonly string[] {
  const prefixes: string[] = [];
  for (let cut = agentId.indexOf("/", 9); cut > 0; cut = agentId.indexOf("/", cut + 1))
    prefixes.push(agentId.slice(0, cut));
  prefixes.push(agentId);
  return prefixes;
}
