/**
 * Reports that something went well (`Fate`), which sources ask for with header flags. One frame for all messages of a
 * turn with the same source, target and fate: a frame for each would cost more than the message.
 */
import { mailIdBytes, type Now, type SpiffeId } from "@causeway/core-base";
import { agp, type LinkId } from "@causeway/core-wire";
import type { Answers } from "./answers.ts";
import type { Links } from "./links.ts";

/** Message ids in one report, at most. */
const idsMax = 256;

interface Group {
  readonly to: SpiffeId;
  readonly target: string;
  readonly fate: agp.Fate;
  /** The link that the messages came over, when it is an agent's. */
  readonly link: LinkId | undefined;
  readonly ids: string[];
}

/** What waits for the end of the turn. */
export class PositiveReports {
  readonly #answers: Answers;
  readonly #links: Links;
  readonly #groups = new Map<string, Group>();
  /** Most messages of a turn go where the one before went. */
  #last: Group | undefined;

  constructor(answers: Answers, links: Links) {
    this.#answers = answers;
    this.#links = links;
  }

  get isEmpty(): boolean {
    return this.#groups.size === 0;
  }

  add(to: SpiffeId, target: string, id: string, fate: agp.Fate, link: LinkId | undefined): void {
    const last = this.#last;
    if (last?.to === to && last.target === target && last.fate === fate && last.link === link) {
      last.ids.push(id);
      return;
    }
    const key = `${fate} ${link ?? ""} ${to} ${target}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { to, target, fate, link, ids: [] };
      this.#groups.set(key, group);
    }
    group.ids.push(id);
    this.#last = group;
  }

  flush(now: Now): void {
    if (this.isEmpty) return;
    const groups = [...this.#groups.values()];
    this.#groups.clear();
    this.#last = undefined;
    for (const { to, target, fate, link, ids } of groups) {
      const entry = link === undefined ? undefined : this.#links.get(link);
      for (let from = 0; from < ids.length; from += idsMax) {
        const [messageId = new Uint8Array(), ...furtherMessageIds] = ids.slice(from, from + idsMax).map(mailIdBytes);
        this.#answers.tell(to, { messageId, furtherMessageIds, target, fate }, entry, now);
      }
    }
  }
}
