/** The groups of one agent: found by id, by context id, by peer and by topic; kept in step with the store. */
import { type AgentId, refuse, type SpiffeId } from "@causeway/core-base";
import type { EndToEndEvent } from "./api.ts";
import type { CredentialJudge } from "./credentials.ts";
import type { Group } from "./group.ts";
import { GroupRecords, loadGroup, storedGroups } from "./group-records.ts";
import type { SealedStore } from "./sealed-store.ts";
import type { StateVersion } from "./state-version.ts";

export type Report = (event: EndToEndEvent) => void;

/** Two-member groups kept for one instance of a peer and one purpose; above it the ones that are not used for sending go first. */
export const pairGroupsPerPeerMax = 4;

interface Held {
  readonly group: Group;
  readonly records: GroupRecords;
  contexts: readonly string[];
}

export class GroupBook {
  readonly #store: SealedStore;
  readonly #version: StateVersion;
  readonly #report: Report;
  readonly #held = new Map<string, Held>();
  readonly #byContext = new Map<string, string>();

  constructor(store: SealedStore, version: StateVersion, report: Report) {
    this.#store = store;
    this.#version = version;
    this.#report = report;
  }

  /** Reads all groups; leaves out and reports those that cannot be read. Returns the largest version seen. */
  async load(judge: CredentialJudge, self: AgentId): Promise<number> {
    let largest = 0;
    for (const id of await storedGroups(this.#store)) {
      try {
        const { group, version } = await loadGroup(this.#store, id, judge, self);
        largest = Math.max(largest, version);
        this.#hold(group);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        this.#report({ type: "group.removed", groupId: id, code: "CAUSEWAY_E2EE_STATE_CORRUPT", text });
      }
    }
    return largest;
  }

  all(): readonly Group[] {
    return [...this.#held.values()].map((each) => each.group);
  }

  get(id: string): Group | undefined {
    return this.#held.get(id)?.group;
  }

  /** A group that the caller named. Throws `CAUSEWAY_E2EE_GROUP_UNKNOWN`. */
  named(id: string): Group {
    const group = this.get(id);
    if (group === undefined)
      throw refuse("CAUSEWAY_E2EE_GROUP_UNKNOWN", `this agent is not a member of a group ${id.slice(0, 16)}`);
    return group;
  }

  byContext(context: Uint8Array): Group | undefined {
    const id = this.#byContext.get(hex(context));
    return id === undefined ? undefined : this.get(id);
  }

  pairsWith(peer: AgentId): readonly Group[] {
    return this.all().filter((group) => group.peer === peer);
  }

  records(group: Group): GroupRecords {
    const held = this.#held.get(group.id);
    if (held === undefined)
      throw refuse("CAUSEWAY_E2EE_GROUP_UNKNOWN", `the group ${group.id.slice(0, 16)} was closed meanwhile`);
    return held.records;
  }

  /** Takes a new group in, once it is stored. */
  async add(group: Group): Promise<void> {
    const records = this.#hold(group);
    await records.saveEpoch();
  }

  /** Stores the epoch that the group has moved to. */
  async saved(group: Group): Promise<void> {
    const held = this.#held.get(group.id);
    if (held === undefined) return;
    this.#index(held);
    await held.records.saveEpoch();
  }

  /** Forgets a group and destroys its keys. */
  async drop(group: Group, why: string, event: EndToEndEvent["type"] = "group.left", peer?: SpiffeId): Promise<void> {
    const held = this.#held.get(group.id);
    if (held === undefined) return;
    group.closed = true;
    for (const context of held.contexts) this.#byContext.delete(context);
    this.#held.delete(group.id);
    const about = peer ?? group.peer;
    this.#report({ type: event, groupId: group.id, ...(about !== undefined && { peer: about }), text: why });
    await held.records.delete();
  }

  /** Drops pairs with a peer above the limit, those without later use first. */
  async limitPairs(peer: AgentId, inUse: Group | undefined): Promise<void> {
    const others = this.pairsWith(peer).filter(
      (group) =>
        group !== inUse &&
        group.history.peerInstance === inUse?.history.peerInstance &&
        group.facts.name === inUse?.facts.name,
    );
    others.sort((a, b) => a.history.epochSince - b.history.epochSince);
    const excess = others.length + (inUse === undefined ? 0 : 1) - pairGroupsPerPeerMax;
    for (const group of others.slice(0, Math.max(0, excess)))
      await this.drop(group, "a newer group with this peer is in use");
  }

  async settled(): Promise<void> {
    await Promise.allSettled([...this.#held.values()].map((each) => each.records.settled()));
  }

  #hold(group: Group): GroupRecords {
    const records = new GroupRecords(this.#store, this.#version, group);
    const held: Held = { group, records, contexts: [] };
    this.#held.set(group.id, held);
    this.#index(held);
    return records;
  }

  #index(held: Held): void {
    for (const context of held.contexts) this.#byContext.delete(context);
    held.contexts = held.group.contextIds().map(hex);
    for (const context of held.contexts) this.#byContext.set(context, held.group.id);
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
