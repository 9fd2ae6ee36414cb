import type { AgentEntry } from "./agent-entry.ts";

/** Agents by the skills that the records of their candidates name (AMSP-25). */
export class SkillIndex {
  readonly #holders = new Map<string, Set<AgentEntry>>();

  /** Enters every skill of the agent's candidates. */
  add(entry: AgentEntry): void {
    for (const candidate of entry.candidates.values()) {
      for (const skill of candidate.skills ?? []) {
        const holders = this.#holders.get(skill);
        if (holders === undefined) this.#holders.set(skill, new Set([entry]));
        else holders.add(entry);
      }
    }
  }

  /** Takes the agent out under these skills. */
  remove(entry: AgentEntry, skills: readonly string[] | undefined): void {
    for (const skill of skills ?? []) {
      const holders = this.#holders.get(skill);
      holders?.delete(entry);
      if (holders?.size === 0) this.#holders.delete(skill);
    }
  }

  holders(skill: string): Iterable<AgentEntry> {
    return this.#holders.get(skill) ?? [];
  }
}
