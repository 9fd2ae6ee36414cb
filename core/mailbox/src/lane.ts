/** One mailbox: its messages in order, what of each sender is in it, and what is handed to the agent right now. */
import type { AgentId, Instant, StoredMail } from "@causeway/core-base";
import type { MailLink } from "./effects.ts";
import { type MailRows, MailState } from "./mail-rows.ts";

/** What one sender has in a mailbox. */
export class SourceBox {
  readonly number: number;
  readonly lane: Lane;
  readonly source: string;
  messages = 0;
  bytes = 0;
  /** Of the messages, those that wait or are offered to another gateway: new messages of the sender go behind them. */
  ahead = 0;
  /** Where its last message went, so that an agent's instances are not mixed within a sender. */
  link = 0;

  constructor(rows: MailRows, lane: Lane, source: string) {
    this.lane = lane;
    this.source = source;
    this.number = rows.addBox(this);
  }
}

/** An offer to another gateway that is not answered, or the pause before the next one. */
interface Transfer {
  readonly number: number;
  readonly rows: readonly number[];
  /** Of the messages in `rows`. */
  readonly sequences: readonly number[];
  readonly dueAt: Instant;
}

/** The mailbox of one agent. Changes of the state of a message go through here, so that the counts are right. */
export class Lane {
  readonly agentId: AgentId;
  readonly boxes = new Map<string, SourceBox>();
  links: readonly MailLink[];
  messages = 0;
  bytes = 0;
  underWay = 0;
  underWayBytes = 0;
  /** Handed to links that do not acknowledge since there was room on them. */
  burst = 0;
  burstBytes = 0;
  /** Its messages belong to the gateway where the agent is attached now. */
  isMoved = false;
  transfer: Transfer | undefined;
  /** Pause after the next offer that fails. */
  transferWaitMs = 0;
  readonly #rows: MailRows;
  /** All messages, by sequence. */
  #first = -1;
  #last = -1;
  /** No message before this one waits; -1 when none does. */
  #next = -1;
  #parked = 0;

  constructor(rows: MailRows, agentId: AgentId, links: readonly MailLink[]) {
    this.#rows = rows;
    this.agentId = agentId;
    this.links = links;
  }

  /** Puts a message in at the end, or where its sequence belongs; `there` is the box of its sender. */
  add(mail: StoredMail, there: SourceBox | undefined): number {
    const box = there ?? new SourceBox(this.#rows, this, mail.source);
    if (there === undefined) this.boxes.set(mail.source, box);
    const row = this.#rows.add(mail, box.number);
    box.messages++;
    box.bytes += mail.bytes;
    box.ahead++;
    this.messages++;
    this.bytes += mail.bytes;
    this.#chain(row, mail.sequence);
    this.#noteWaiting(row);
    return row;
  }

  /** Takes a message out for good. */
  drop(row: number): void {
    const rows = this.#rows;
    const box = rows.box(row);
    const bytes = rows.bytes(row);
    this.#leave(row, box);
    this.#unchain(row);
    rows.remove(row);
    box.messages--;
    box.bytes -= bytes;
    if (box.messages === 0) {
      this.boxes.delete(box.source);
      rows.removeBox(box.number);
    }
    this.messages--;
    this.bytes -= bytes;
  }

  hand(row: number, link: number): void {
    const rows = this.#rows;
    const box = rows.box(row);
    this.#leave(row, box);
    rows.setState(row, MailState.underWay);
    rows.setLink(row, link);
    rows.countAttempt(row);
    box.link = link;
    this.underWay++;
    this.underWayBytes += rows.bytes(row);
  }

  offer(row: number): void {
    const box = this.#rows.box(row);
    this.#leave(row, box);
    this.#rows.setState(row, MailState.transferring);
    box.ahead++;
  }

  park(row: number): void {
    this.#leave(row, this.#rows.box(row));
    this.#rows.setState(row, MailState.parked);
    this.#parked++;
  }

  /** Messages that wait again, in their order. */
  putBack(items: readonly number[]): void {
    for (const row of items) {
      const box = this.#rows.box(row);
      this.#leave(row, box);
      this.#rows.setState(row, MailState.waiting);
      box.ahead++;
      this.#noteWaiting(row);
    }
  }

  /** What is parked may have a place to go to again. */
  unpark(): void {
    if (this.#parked > 0) this.putBack(this.items(MailState.parked));
  }

  /** The first message that waits, -1 for none; it stays where it is. */
  peek(): number {
    let row = this.#next;
    while (row >= 0 && this.#rows.state(row) !== MailState.waiting) row = this.#rows.after(row);
    this.#next = row;
    return row;
  }

  /** Every message, or those in one state, by sequence. */
  items(state?: MailState): number[] {
    const found: number[] = [];
    for (let row = this.#first; row >= 0; row = this.#rows.after(row)) {
      if (state === undefined || this.#rows.state(row) === state) found.push(row);
    }
    return found;
  }

  /** Messages from a sequence on, the newest first. */
  since(sequence: number): number[] {
    const found: number[] = [];
    for (let row = this.#last; row >= 0 && this.#rows.sequence(row) >= sequence; row = this.#rows.before(row)) {
      found.push(row);
    }
    return found;
  }

  /** The oldest message. */
  get oldest(): number {
    return this.#first;
  }

  /** -1 for none. */
  find(source: string, id: string): number {
    const box = this.boxes.get(source);
    return box === undefined ? -1 : this.#rows.find(box.number, id);
  }

  #leave(row: number, box: SourceBox): void {
    switch (this.#rows.state(row)) {
      case MailState.waiting:
      case MailState.transferring:
        box.ahead--;
        return;
      case MailState.parked:
        this.#parked--;
        return;
      case MailState.underWay:
        this.underWay--;
        this.underWayBytes -= this.#rows.bytes(row);
    }
  }

  #noteWaiting(row: number): void {
    if (this.#next < 0 || this.#rows.sequence(row) < this.#rows.sequence(this.#next)) this.#next = row;
  }

  #chain(row: number, sequence: number): void {
    const rows = this.#rows;
    let before = this.#last;
    // What comes back from the dead letters is older than others.
    while (before >= 0 && rows.sequence(before) > sequence) before = rows.before(before);
    const after = before < 0 ? this.#first : rows.after(before);
    rows.setBefore(row, before);
    rows.setAfter(row, after);
    if (before < 0) this.#first = row;
    else rows.setAfter(before, row);
    if (after < 0) this.#last = row;
    else rows.setBefore(after, row);
  }

  #unchain(row: number): void {
    const rows = this.#rows;
    const before = rows.before(row);
    const after = rows.after(row);
    if (this.#next === row) this.#next = after;
    if (before < 0) this.#first = after;
    else rows.setAfter(before, after);
    if (after < 0) this.#last = before;
    else rows.setBefore(after, before);
  }
}
