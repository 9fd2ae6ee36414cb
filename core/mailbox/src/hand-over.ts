/** From mailboxes to links: what goes when and where, and what comes back unacknowledged. */
import type { ErrorFacts, Now } from "@causeway/core-base";
import type { Holdings } from "./holdings.ts";
import type { Lane } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";

export class HandOver {
  readonly #held: Holdings;
  readonly #limits: MailboxLimits;

  constructor(held: Holdings, limits: MailboxLimits) {
    this.#held = held;
    this.#limits = limits;
  }

  /** Hands over what waits, in order, as far as the window allows. */
  pump(now: Now, lane: Lane): void {
    // What is offered elsewhere comes first if it comes back.
    if (lane.links.length === 0 || (lane.transfer?.rows.length ?? 0) > 0) return;
    const { rows } = this.#held;
    for (let row = lane.peek(); row >= 0; row = lane.peek()) {
      if (rows.expiresAt(row) <= now.unix) {
        this.#held.buryExpired(now, lane, row);
        continue;
      }
      const link = this.#chooseLink(lane, row);
      if (link === undefined) {
        lane.park(row);
        continue;
      }
      if (!this.hasRoom(lane, rows.bytes(row))) return;
      this.hand(lane, row, link);
    }
  }

  hasRoom(lane: Lane, bytes: number): boolean {
    const { mailboxWindowMessages, mailboxWindowBytes } = this.#limits;
    const count = lane.underWay + lane.burst;
    // The largest message may be larger than the window.
    return (
      count === 0 ||
      (count < mailboxWindowMessages && lane.underWayBytes + lane.burstBytes + bytes <= mailboxWindowBytes)
    );
  }

  hand(lane: Lane, row: number, link: number): void {
    const mail = this.#held.rows.mail(row);
    lane.hand(row, link);
    this.#held.tell({ kind: "deliver", mail, link });
    const to = lane.links.find((each) => each.link === link);
    if (to?.acknowledges !== false) return;
    lane.burst++;
    lane.burstBytes += mail.bytes;
    this.#held.forget(lane, row);
    this.#held.tell({ kind: "remove", mail, why: "delivered", link });
  }

  /** What was handed over or offered is ours again. */
  takeBack(now: Now, lane: Lane, items: readonly number[]): void {
    const { rows } = this.#held;
    const kept: number[] = [];
    for (const row of items) {
      const attempts = rows.attempts(row);
      if (rows.expiresAt(row) <= now.unix) this.#held.buryExpired(now, lane, row);
      else if (attempts >= this.#limits.mailboxAttemptsMax) {
        this.#held.bury(now, lane, row, exhausted(lane, attempts), true);
      } else kept.push(row);
    }
    lane.putBack(kept);
  }

  /** The instance that is named, or the one that its sender's messages went to before, or the first. */
  #chooseLink(lane: Lane, row: number): number | undefined {
    const { links } = lane;
    const instance = this.#held.rows.instance(row);
    if (instance !== "") return links.find((each) => each.instance === instance)?.link;
    const before = this.#held.rows.box(row).link;
    return links.some((each) => each.link === before) ? before : links[0]?.link;
  }
}

const exhausted = (lane: Lane, attempts: number): ErrorFacts => ({
  code: "CAUSEWAY_MAILBOX_ATTEMPTS",
  message: `the message was handed to ${lane.agentId} ${attempts} times and never acknowledged`,
  details: { limit: "mailboxAttemptsMax" },
});
