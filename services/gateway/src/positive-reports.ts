/**
 * Reports that something went well (`Fate`), which sources ask for with header flags. One frame for all messages of a
 * turn with the same source, target and fate: a frame for each would cost more than the message.
 */
import type { Now, SpiffeId } from "@causeway/core-base";
import type { agp, LinkId } from "@causeway/core-wire";
import type { Answers } from "./answers.ts";
import type { Links } from "./links.ts";

/** Message ids in one report, at most. */
const idsMax = 256;
const idBytes = 16;
/** Of memory that is kept from turn to turn. */
const spareBytesMax = 262_144;

/** Messages of one turn with the same source, target and fate. */
class Group {
  readonly to: SpiffeId;
  readonly target: string;
  readonly fate: agp.Fate;
  /** The link that the messages came over, when it is an agent's. */
  readonly link: LinkId | undefined;
  /** Memory with room for ids. */
  ids: Uint8Array;
  #end = 0;

  constructor(to: SpiffeId, target: string, fate: agp.Fate, link: LinkId | undefined, ids: Uint8Array) {
    this.ids = ids;
    this.to = to;
    this.target = target;
    this.fate = fate;
    this.link = link;
  }

  add(id: string): void {
    if (this.#end === this.ids.length) {
      const ids = new Uint8Array(this.#end * 4);
      ids.set(this.ids);
      this.ids = ids;
    }
    const { ids } = this;
    for (let i = 0; i < idBytes; i++) ids[this.#end + i] = id.charCodeAt(i);
    this.#end += idBytes;
  }

  /** The ids in portions for one report each. */
  *portions(): Generator<Uint8Array> {
    for (let from = 0; from < this.#end; from += idsMax * idBytes)
      yield this.ids.subarray(from, Math.min(this.#end, from + idsMax * idBytes));
  }
}

/** What waits for the end of the turn. */
export class PositiveReports {
  readonly #answers: Answers;
  readonly #links: Links;
  readonly #groups = new Map<string, Group>();
  /** Most messages of a turn go where the one before went. */
  #last: Group | undefined;
  /** Memory of the largest group of the turns before, for the first of the next one. */
  #spare: Uint8Array | undefined;

  constructor(answers: Answers, links: Links) {
    this.#answers = answers;
    this.#links = links;
  }

  get isEmpty(): boolean {
    return this.#groups.size === 0;
  }

  /** `id` is the 16 bytes of a message id, one character each. */
  add(to: SpiffeId, target: string, id: string, fate: agp.Fate, link: LinkId | undefined): void {
    const last = this.#last;
    if (last?.to === to && last.target === target && last.fate === fate && last.link === link) {
      last.add(id);
      return;
    }
    const key = `${fate} ${link ?? ""} ${to} ${target}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new Group(to, target, fate, link, this.#spare ?? new Uint8Array(idBytes));
      this.#spare = undefined;
      this.#groups.set(key, group);
    }
    group.add(id);
    this.#last = group;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#groups.clear();
    this.#last = undefined;
  }

  flush(now: Now): void {
    if (this.isEmpty) return;
    const groups = [...this.#groups.values()];
    this.clear();
    for (const group of groups) {
      const { to, target, fate, link } = group;
      const entry = link === undefined ? undefined : this.#links.get(link);
      for (const ids of group.portions()) this.#answers.tellFate(to, target, fate, ids, entry, now);
      const { length } = group.ids;
      if (length <= spareBytesMax && length > (this.#spare?.length ?? 0)) this.#spare = group.ids;
    }
  }
}
