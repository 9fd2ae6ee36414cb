/** Everything that a gateway holds for agents: mailboxes, what ends when, dead letters, and what has to be done about it. */
import type { AgentId, DeadMail, ErrorFacts, MailboxContents, Now, StoredMail, UnixMs } from "@causeway/core-base";
import { DeadLetters } from "./dead-letters.ts";
import type { IncomingMail, MailboxEffect, MailboxTotals, MailLink, RemovalReason } from "./effects.ts";
import { Ends } from "./ends.ts";
import { Lane, type SourceBox } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";
import { MailRows } from "./mail-rows.ts";
import { Taken } from "./taken.ts";

/** What the holdings are made of. */
export interface HoldingsOptions {
  readonly limits: MailboxLimits;
  /** What the store held. */
  readonly contents: MailboxContents;
  /** Live attachments of an agent, when its mailbox comes into being; afterwards `handleLinks` tells changes. */
  readonly linksOf: (agentId: AgentId) => readonly MailLink[];
  /** Whether an agent without an attachment here is attached at another gateway, at the same time. Default: no. */
  readonly isMoved?: (agentId: AgentId) => boolean;
  /** What nobody who chooses message ids knows, for their hashes. */
  readonly seed?: number;
}

/** The stored messages. Each change of what is held goes through here, with its effect. */
export class Holdings {
  readonly rows: MailRows;
  readonly lanes = new Map<AgentId, Lane>();
  readonly dead: DeadLetters;
  readonly ends: Ends;
  readonly taken = new Taken();
  /** Mailboxes with an offer that is not answered, or a pause after one. */
  readonly transferring = new Map<number, Lane>();
  messages = 0;
  bytes = 0;
  readonly #limits: MailboxLimits;
  readonly #linksOf: HoldingsOptions["linksOf"];
  readonly #isMoved: NonNullable<HoldingsOptions["isMoved"]>;
  /** Never added to when it is empty: `none` is everybody's. */
  #effects = none;
  #sequence: number;

  constructor(options: HoldingsOptions) {
    this.#limits = options.limits;
    this.#linksOf = options.linksOf;
    this.#isMoved = options.isMoved ?? (() => false);
    this.rows = new MailRows(options.seed ?? 0);
    this.ends = new Ends(this.rows);
    this.dead = new DeadLetters(options.limits);
    this.#sequence = options.contents.lastSequence;
    for (const mail of options.contents.waiting) {
      const lane = this.lanes.get(mail.agentId) ?? this.open(mail.agentId);
      this.put(lane, mail, lane.boxes.get(mail.source));
    }
    for (const letter of options.contents.dead) this.#addDead(letter);
  }

  tell(...effects: MailboxEffect[]): void {
    if (this.#effects.length === 0) this.#effects = effects;
    else this.#effects.push(...effects);
  }

  takeEffects(): readonly MailboxEffect[] {
    const effects = this.#effects;
    this.#effects = none;
    return effects;
  }

  /** What is noted of a message that came in. */
  storedMail(now: Now, mail: IncomingMail): StoredMail {
    const { agentId, instance, source, id, bytes, isTraced } = mail;
    const wanted = mail.expiresUnixMs === 0 ? now.unix + this.#limits.mailboxMs : mail.expiresUnixMs;
    const expiresAt = Math.min(wanted, now.unix + this.#limits.mailboxMsMax) as UnixMs;
    const storedAt = mail.storedAt ?? now.unix;
    return { sequence: ++this.#sequence, agentId, instance, source, id, bytes, storedAt, expiresAt, isTraced };
  }

  /** The mailbox of an agent that has none. */
  open(agentId: AgentId): Lane {
    const links = this.#linksOf(agentId);
    const lane = new Lane(this.rows, agentId, links);
    lane.isMoved = links.length === 0 && this.#isMoved(agentId);
    this.lanes.set(agentId, lane);
    return lane;
  }

  /** Takes a message into a mailbox, in which `box` is what its sender has; answers its row. */
  put(lane: Lane, mail: StoredMail, box: SourceBox | undefined): number {
    const row = lane.add(mail, box);
    this.ends.add(row);
    this.messages++;
    this.bytes += mail.bytes;
    return row;
  }

  remove(lane: Lane, row: number, why: RemovalReason): void {
    const mail = this.rows.mail(row);
    this.forget(lane, row);
    if (why === "handed-over") this.taken.forget(mail);
    this.tell({ kind: "remove", mail, why });
  }

  /** Gives a message up. */
  bury(now: Now, lane: Lane, row: number, error: ErrorFacts, tells: boolean): void {
    const mail = this.rows.mail(row);
    this.forget(lane, row);
    this.tell({ kind: "bury", mail, at: now.unix, error, tells });
    this.#addDead({ mail, at: now.unix, error });
  }

  /** Gives up what has expired in its mailbox. */
  buryExpired(now: Now, lane: Lane, row: number): void {
    const code = "CAUSEWAY_FORWARDING_EXPIRED";
    const message = `the message expired in the mailbox of ${lane.agentId}, which was away`;
    this.bury(now, lane, row, { code, message }, true);
  }

  /** Takes a message out of its mailbox without a word. */
  forget(lane: Lane, row: number): void {
    const bytes = this.rows.bytes(row);
    lane.drop(row);
    this.ends.noteGone();
    this.messages--;
    this.bytes -= bytes;
    if (lane.messages > 0) return;
    this.lanes.delete(lane.agentId);
    if (lane.transfer !== undefined) this.transferring.delete(lane.transfer.number);
    lane.transfer = undefined;
  }

  totals(): MailboxTotals {
    return {
      mailboxes: this.lanes.size,
      messages: this.messages,
      bytes: this.bytes,
      deadLetters: this.dead.size,
      deadLetterBytes: this.dead.bytes,
    };
  }

  #addDead(letter: DeadMail): void {
    for (const { mail } of this.dead.add(letter)) this.tell({ kind: "remove", mail, why: "dead-letter-ended" });
  }
}

const none: MailboxEffect[] = [];
