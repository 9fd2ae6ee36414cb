/**
 * What one turn of the event loop did to mailboxes and what is to follow once it is on the disk. Of a message that is
 * only stored nothing is kept here: its sequence says that it is of this turn.
 */
import type { StoredMail } from "@causeway/core-base";
import type { MailboxEffect } from "@causeway/core-mailbox";
import { asLinkId, type LinkId } from "@causeway/core-wire";
import type { TakenTransfer } from "./mail-transfers.ts";

/** Sequences `from` to before `until`. */
export interface Sequences {
  readonly from: number;
  readonly until: number;
}

/** What is done once the turn is committed, in order. */
export type Afterwards =
  | MailboxEffect
  | { readonly kind: "accepted"; readonly report: () => void; readonly isFresh: boolean }
  | { readonly kind: "taken"; readonly taken: TakenTransfer; readonly fresh: Sequences };

/** Collects until the commit. */
export class MailTurn {
  readonly after: Afterwards[] = [];
  /** For each of `after` the link that the message came over, when it is an agent's. */
  readonly links: (LinkId | undefined)[] = [];
  /** Messages that were appended. */
  appended = 0;
  /** Where the sequences of those begin; they follow each other. */
  firstFresh = Number.POSITIVE_INFINITY;
  nextFresh = 0;
  /** Where something is to be handed that was stored before this turn. */
  #backlogTo: Set<LinkId> | undefined;

  noteAppended({ sequence }: StoredMail): void {
    if (this.appended === 0) this.firstFresh = sequence;
    this.appended++;
    this.nextFresh = sequence + 1;
  }

  add(what: Afterwards, link?: LinkId): void {
    this.after.push(what);
    if (what.kind === "deliver" && !this.isFresh(what.mail)) {
      this.#backlogTo ??= new Set();
      this.#backlogTo.add(asLinkId(what.link));
    }
    this.links.push(link);
  }

  /** True when something is to go to this link that was stored before this turn. */
  hasBacklogTo(link: LinkId): boolean {
    return this.#backlogTo?.has(link) ?? false;
  }

  /** True for a message that was appended in this turn. */
  isFresh(mail: StoredMail): boolean {
    return mail.sequence >= this.firstFresh;
  }

  /** True when it tells or gives somebody what was appended in this turn. */
  isAboutFresh(what: Afterwards): boolean {
    return isAboutMail(what) && what.kind !== "refuse" && this.isFresh(what.mail);
  }

  /** What was appended and has left its mailbox again. */
  lostOnTheWay(): readonly StoredMail[] {
    return this.after.flatMap((each) =>
      isAboutMail(each) && (each.kind === "bury" || each.kind === "remove") && this.isFresh(each.mail)
        ? [each.mail]
        : [],
    );
  }

  /** True for a message that another gateway offered in this turn. */
  wasOffered({ sequence }: StoredMail): boolean {
    return this.after.some(
      (each) => each.kind === "taken" && sequence >= each.fresh.from && sequence < each.fresh.until,
    );
  }
}

const isAboutMail = (what: Afterwards): what is Extract<MailboxEffect, { readonly mail: StoredMail }> => "mail" in what;
