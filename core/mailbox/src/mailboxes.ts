/**
 * Durable mailboxes at the serving gateway of a target (AGP-58): what is stored, in which order it is handed over, when
 * it leaves, and what is given up. It keeps metadata only; frames are the store's.
 *
 * Invariants: a message that was stored stays until it is acknowledged, handed over to another gateway, purged, or a dead
 * letter; what one sender stored is handed over in its order, before newer messages of that sender; no bound is exceeded;
 * a message is under way on at most one link. It does not know names, links or frames beyond their numbers.
 */
import {
  type AgentId,
  type DeadMail,
  type ErrorFacts,
  earliest,
  errorTable,
  type Instant,
  later,
  type Machine,
  type MailboxContents,
  type Now,
  type StoredMail,
  type UnixMs,
} from "@causeway/core-base";
import { DeadLetters } from "./dead-letters.ts";
import { DueHeap } from "./due-heap.ts";
import type {
  IncomingMail,
  MailboxEffect,
  MailboxTotals,
  MailboxView,
  MailLink,
  MailVerdict,
  MailView,
  RemovalReason,
} from "./effects.ts";
import { type Item, Lane } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";
import { overQuota } from "./quota.ts";

/** What the machine is made with. */
export interface MailboxOptions {
  readonly limits: MailboxLimits;
  /** What the store held. */
  readonly contents: MailboxContents;
  /** Live attachments of an agent, when its mailbox comes into being; afterwards `handleLinks` tells changes. */
  readonly linksOf: (agentId: AgentId) => readonly MailLink[];
}

/** Which messages a command is about; everything when nothing is set. */
export interface MailFilter {
  readonly agentId?: AgentId;
  readonly id?: string;
}

/** The mailboxes of one gateway. */
export class Mailboxes implements Machine<MailboxEffect> {
  readonly #limits: MailboxLimits;
  readonly #linksOf: MailboxOptions["linksOf"];
  readonly #lanes = new Map<AgentId, Lane>();
  readonly #dead: DeadLetters;
  readonly #ends = new DueHeap<Item>();
  /** Mailboxes with an offer that is not answered, or a pause after one. */
  readonly #transferring = new Map<number, Lane>();
  #effects: MailboxEffect[] = [];
  #messages = 0;
  #bytes = 0;
  #sequence: number;
  #transfers = 0;
  #now: Now | undefined;

  constructor(options: MailboxOptions) {
    this.#limits = options.limits;
    this.#linksOf = options.linksOf;
    this.#dead = new DeadLetters(options.limits);
    this.#sequence = options.contents.lastSequence;
    for (const mail of options.contents.waiting) this.#put(mail);
    for (const letter of options.contents.dead) this.#addDead(letter);
  }

  /** Judges a message that came in. */
  offer(now: Now, mail: IncomingMail): MailVerdict {
    this.#now = now;
    let lane = this.#lanes.get(mail.agentId);
    const box = lane?.boxes.get(mail.source);
    const known = box?.items.get(mail.id);
    if (known !== undefined) return this.#repeat(known, mail);
    const isBehind = box !== undefined && box.ahead > 0;
    if (!mail.wantsStored && mail.link !== undefined && !isBehind) return "pass";
    const full = overQuota(mail, lane, { messages: this.#messages, bytes: this.#bytes }, this.#limits);
    if (full !== undefined) return full;
    const stored = this.#storedMail(now, mail);
    const item = this.#put(stored);
    lane ??= this.#lanes.get(mail.agentId) as Lane;
    this.#effects.push({ kind: "store", mail: stored });
    if (wantsReport(mail)) this.#effects.push({ kind: "stored", mail: stored });
    // What another gateway hands over may have expired on its way.
    const isDue = !isBehind && stored.expiresAt > now.unix;
    if (mail.link !== undefined && isDue && this.#hasRoom(lane, stored.bytes)) this.#hand(lane, item, mail.link);
    else this.#pump(now, lane);
    return "taken";
  }

  /** The agent has settled these; `error` when they can never be taken. */
  handleAck(now: Now, agentId: AgentId, source: string, ids: readonly string[], error?: ErrorFacts): void {
    this.#now = now;
    const lane = this.#lanes.get(agentId);
    if (lane === undefined) return;
    for (const id of ids) {
      const item = lane.find(source, id);
      if (item === undefined) continue;
      if (error === undefined) this.#remove(lane, item, "acknowledged");
      else this.#bury(now, lane, item, error, false);
    }
    this.#pump(now, lane);
  }

  /** The agent's live attachments are these now. */
  handleLinks(now: Now, agentId: AgentId, links: readonly MailLink[]): void {
    this.#now = now;
    const lane = this.#lanes.get(agentId);
    if (lane === undefined) return;
    lane.links = links;
    const lost = lane.items().filter((item) => item.state === "under-way" && !links.some((l) => l.link === item.link));
    this.#takeBack(now, lane, lost);
    lane.unpark();
    lane.burst = lane.burstBytes = 0;
    this.#pump(now, lane);
    this.#transferFrom(now, lane);
  }

  /** What was handed to links that do not acknowledge has left them. */
  handleRoom(now: Now, agentId: AgentId): void {
    this.#now = now;
    const lane = this.#lanes.get(agentId);
    if (lane === undefined || lane.burst === 0) return;
    lane.burst = lane.burstBytes = 0;
    this.#pump(now, lane);
  }

  /** Whether the agent is attached at another gateway and not here. */
  handleMoved(now: Now, agentId: AgentId, isMoved: boolean): void {
    this.#now = now;
    const lane = this.#lanes.get(agentId);
    if (lane === undefined || lane.isMoved === isMoved) return;
    lane.isMoved = isMoved;
    lane.transferWaitMs = 0;
    this.#transferFrom(now, lane);
  }

  /** The other gateway has stored the first `count` of an offer; `error` says why not the rest. */
  handleTransferred(now: Now, transfer: number, count: number, error?: ErrorFacts): void {
    this.#now = now;
    const lane = this.#transferring.get(transfer);
    if (lane?.transfer?.number !== transfer) return;
    const { items } = lane.transfer;
    const isProgress = count >= items.length;
    const rest: Item[] = [];
    for (const [index, item] of items.entries()) {
      if (item.state !== "transferring") continue;
      if (index < count) this.#remove(lane, item, "handed-over");
      else if (index === count && error !== undefined && !errorTable[error.code].retryable) {
        this.#bury(now, lane, item, error, true);
      } else rest.push(item);
    }
    this.#endTransfer(now, lane, rest, isProgress);
  }

  /** What was appended last could not be stored. */
  handleStoreFailed(now: Now, mails: readonly StoredMail[], error: ErrorFacts): void {
    this.#now = now;
    for (const mail of mails) {
      const lane = this.#lanes.get(mail.agentId);
      const item = lane?.find(mail.source, mail.id);
      if (lane !== undefined && item?.mail.sequence === mail.sequence) this.#forget(lane, item);
      this.#effects.push({ kind: "refuse", mail, error });
    }
  }

  /** The agent was deregistered or revoked: what waits for it is given up. */
  close(now: Now, agentId: AgentId, error: ErrorFacts): void {
    this.#now = now;
    const lane = this.#lanes.get(agentId);
    if (lane === undefined) return;
    for (const item of lane.items()) this.#bury(now, lane, item, error, true);
  }

  /** Puts dead letters back into their mailboxes, with the default time to be delivered. */
  replay(now: Now, filter: MailFilter): { readonly replayed: number; readonly refused: number } {
    this.#now = now;
    const counts = { replayed: 0, refused: 0 };
    const lanes = new Set<Lane>();
    for (const letter of this.#dead.all()) {
      if (!matches(letter.mail, filter)) continue;
      const { agentId, source, id } = letter.mail;
      const held = this.#lanes.get(agentId);
      const totals = { messages: this.#messages, bytes: this.#bytes };
      if (held?.find(source, id) !== undefined || overQuota(letter.mail, held, totals, this.#limits) !== undefined) {
        counts.refused++;
        continue;
      }
      this.#dead.remove(letter);
      const mail = { ...letter.mail, expiresAt: (now.unix + this.#limits.mailboxMs) as UnixMs };
      this.#put(mail);
      this.#effects.push({ kind: "revive", mail });
      lanes.add(this.#lanes.get(agentId) as Lane);
      counts.replayed++;
    }
    for (const lane of lanes) {
      this.#pump(now, lane);
      this.#transferFrom(now, lane);
    }
    return counts;
  }

  /** Deletes for good; answers how many. */
  purge(now: Now, filter: MailFilter, isDeadOnly: boolean): number {
    this.#now = now;
    let count = 0;
    for (const letter of this.#dead.all()) {
      if (!matches(letter.mail, filter)) continue;
      this.#dead.remove(letter);
      this.#effects.push({ kind: "remove", mail: letter.mail, why: "purged" });
      count++;
    }
    if (isDeadOnly) return count;
    for (const lane of [...this.#lanes.values()]) {
      for (const item of lane.items()) {
        if (!matches(item.mail, filter)) continue;
        this.#remove(lane, item, "purged");
        count++;
      }
      this.#pump(now, lane);
    }
    return count;
  }

  handleTimeout(now: Now): void {
    this.#now = now;
    for (let item = this.#ends.take(now.unix); item !== undefined; item = this.#ends.take(now.unix)) {
      const lane = this.#lanes.get(item.mail.agentId);
      // What is under way is judged when it comes back: its agent may be at it.
      if (lane === undefined || item.state === "under-way" || item.state === "transferring") continue;
      this.#bury(now, lane, item, expired(item.mail), true);
    }
    for (const { mail } of this.#dead.takeOld(now.unix)) {
      this.#effects.push({ kind: "remove", mail, why: "dead-letter-ended" });
    }
    for (const lane of [...this.#transferring.values()]) {
      const { transfer } = lane;
      if (transfer === undefined || transfer.dueAt > now.instant) continue;
      if (transfer.items.length > 0) this.#endTransfer(now, lane, transfer.items, false);
      else this.#retryTransfer(now, lane, transfer.number);
    }
  }

  drain(): readonly MailboxEffect[] {
    if (this.#effects.length === 0) return none;
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  deadline(): Instant | undefined {
    const now = this.#now;
    const ends = earliestUnix(this.#ends.next(), this.#dead.next());
    const transfers = [...this.#transferring.values()].map((lane) => lane.transfer?.dueAt);
    if (ends === undefined || now === undefined) return earliest(...transfers);
    // Looked at each minute, since the clock may be set. In whole seconds, so that it does not move with each message.
    const inMs = Math.min(lookMs, Math.max(0, ends - now.unix));
    return earliest(later(0 as Instant, Math.ceil((now.instant + inMs) / 1_000) * 1_000), ...transfers);
  }

  /** True when something is stored for the agent. */
  has(agentId: AgentId): boolean {
    return this.#lanes.has(agentId);
  }

  totals(): MailboxTotals {
    return {
      mailboxes: this.#lanes.size,
      messages: this.#messages,
      bytes: this.#bytes,
      deadLetters: this.#dead.size,
      deadLetterBytes: this.#dead.bytes,
    };
  }

  mailboxes(): readonly MailboxView[] {
    return [...this.#lanes.values()].map((lane) => ({
      agentId: lane.agentId,
      messages: lane.messages,
      bytes: lane.bytes,
      underWay: lane.underWay,
      sources: lane.boxes.size,
      oldestAt: lane.items()[0]?.mail.storedAt ?? (0 as UnixMs),
      state: lane.links.length > 0 ? "attached" : lane.isMoved ? "moved" : "away",
    }));
  }

  /** What is stored and matches, the oldest first. */
  stored(filter: MailFilter): readonly MailView[] {
    const lanes = filter.agentId === undefined ? [...this.#lanes.values()] : [this.#lanes.get(filter.agentId)];
    return lanes.flatMap((lane) =>
      (lane?.items() ?? [])
        .filter((item) => matches(item.mail, filter))
        .map(({ mail, attempts, state }) => ({
          mail,
          attempts,
          state: state === "under-way" ? ("under-way" as const) : ("waiting" as const),
        })),
    );
  }

  /** Dead letters that match, the oldest first. */
  deadLetters(filter: MailFilter): readonly MailView[] {
    return this.#dead
      .all()
      .filter((letter) => matches(letter.mail, filter))
      .map((dead) => ({ mail: dead.mail, attempts: 0, state: "dead", dead }));
  }

  #storedMail(now: Now, mail: IncomingMail): StoredMail {
    const { agentId, instance, source, id, bytes, isTraced } = mail;
    const wanted = mail.expiresUnixMs === 0 ? now.unix + this.#limits.mailboxMs : mail.expiresUnixMs;
    const expiresAt = Math.min(wanted, now.unix + this.#limits.mailboxMsMax) as UnixMs;
    const storedAt = mail.storedAt ?? now.unix;
    return { sequence: ++this.#sequence, agentId, instance, source, id, bytes, storedAt, expiresAt, isTraced };
  }

  /** A copy of it is stored. Its sender has not heard so, or seals it anew because the receiver could not open it. */
  #repeat(known: Item, mail: IncomingMail): MailVerdict {
    // Two gateways that each hold it and think the agent at the other one offer it to each other: who says that it has it
    // must keep it, or the last copy goes.
    const isHandedOver = mail.storedAt !== undefined;
    if (isHandedOver && known.state === "transferring") this.#lanes.get(mail.agentId)?.putBack([known]);
    if (wantsReport(mail)) this.#effects.push({ kind: "stored", mail: known.mail });
    return mail.link !== undefined && known.state === "under-way" ? "repeat" : "taken";
  }

  #put(mail: StoredMail): Item {
    let lane = this.#lanes.get(mail.agentId);
    if (lane === undefined) {
      lane = new Lane(mail.agentId, this.#linksOf(mail.agentId));
      this.#lanes.set(mail.agentId, lane);
    }
    const item = lane.add(mail);
    this.#ends.add(item);
    this.#messages++;
    this.#bytes += mail.bytes;
    return item;
  }

  /** Hands over what waits, in order, as far as the window allows. */
  #pump(now: Now, lane: Lane): void {
    // What is offered elsewhere comes first if it comes back.
    if (lane.links.length === 0 || (lane.transfer?.items.length ?? 0) > 0) return;
    for (let item = lane.peek(); item !== undefined; item = lane.peek()) {
      if (item.mail.expiresAt <= now.unix) {
        this.#bury(now, lane, item, expired(item.mail), true);
        continue;
      }
      const link = chooseLink(lane, item);
      if (link === undefined) {
        lane.park(item);
        continue;
      }
      if (!this.#hasRoom(lane, item.mail.bytes)) return;
      this.#hand(lane, item, link);
    }
  }

  #hasRoom(lane: Lane, bytes: number): boolean {
    const { mailboxWindowMessages, mailboxWindowBytes } = this.#limits;
    const count = lane.underWay + lane.burst;
    // The largest message may be larger than the window.
    return (
      count === 0 ||
      (count < mailboxWindowMessages && lane.underWayBytes + lane.burstBytes + bytes <= mailboxWindowBytes)
    );
  }

  #hand(lane: Lane, item: Item, link: number): void {
    lane.hand(item, link);
    const { mail } = item;
    this.#effects.push({ kind: "deliver", mail, link });
    const to = lane.links.find((each) => each.link === link);
    if (to?.acknowledges !== false) return;
    lane.burst++;
    lane.burstBytes += mail.bytes;
    this.#forget(lane, item);
    this.#effects.push({ kind: "remove", mail, why: "delivered", link });
  }

  /** What was handed over or offered is ours again. */
  #takeBack(now: Now, lane: Lane, items: readonly Item[]): void {
    const kept: Item[] = [];
    for (const item of items) {
      if (item.isGone) continue;
      if (item.mail.expiresAt <= now.unix) this.#bury(now, lane, item, expired(item.mail), true);
      else if (item.attempts >= this.#limits.mailboxAttemptsMax) {
        this.#bury(now, lane, item, exhausted(item.mail, item.attempts), true);
      } else kept.push(item);
    }
    lane.putBack(kept);
  }

  #transferFrom(now: Now, lane: Lane): void {
    if (!lane.isMoved || lane.links.length > 0 || lane.transfer !== undefined) return;
    const items: Item[] = [];
    let bytes = 0;
    lane.unpark();
    for (let item = lane.peek(); item !== undefined; item = lane.peek()) {
      bytes += item.mail.bytes;
      const isFull = items.length >= this.#limits.mailboxTransferMessages || bytes > this.#limits.mailboxTransferBytes;
      if (isFull && items.length > 0) break;
      lane.offer(item);
      items.push(item);
    }
    if (items.length === 0) return;
    const number = ++this.#transfers;
    // An answer that takes longer than the last wait is waited for longer, or it would always come too late.
    const waitMs = Math.max(this.#limits.mailboxTransferMs, lane.transferWaitMs);
    lane.transfer = { number, items, dueAt: later(now.instant, waitMs) };
    this.#transferring.set(number, lane);
    const mails = items.map((item) => item.mail);
    this.#effects.push({ kind: "transfer", transfer: number, agentId: lane.agentId, mails });
  }

  #endTransfer(now: Now, lane: Lane, rest: readonly Item[], isProgress: boolean): void {
    const number = lane.transfer?.number;
    if (number !== undefined) this.#transferring.delete(number);
    lane.transfer = undefined;
    this.#takeBack(
      now,
      lane,
      rest.filter((item) => item.state === "transferring"),
    );
    if (isProgress) {
      lane.transferWaitMs = 0;
      this.#transferFrom(now, lane);
    } else if (lane.messages > 0 && lane.isMoved) {
      const { mailboxTransferMs, mailboxTransferMsMax } = this.#limits;
      lane.transferWaitMs = Math.min(mailboxTransferMsMax, Math.max(mailboxTransferMs, lane.transferWaitMs * 2));
      const pause = ++this.#transfers;
      lane.transfer = { number: pause, items: [], dueAt: later(now.instant, lane.transferWaitMs) };
      this.#transferring.set(pause, lane);
    }
    this.#pump(now, lane);
  }

  #retryTransfer(now: Now, lane: Lane, number: number): void {
    this.#transferring.delete(number);
    lane.transfer = undefined;
    this.#transferFrom(now, lane);
  }

  #remove(lane: Lane, item: Item, why: RemovalReason): void {
    this.#forget(lane, item);
    this.#effects.push({ kind: "remove", mail: item.mail, why });
  }

  #bury(now: Now, lane: Lane, item: Item, error: ErrorFacts, tells: boolean): void {
    const { mail } = item;
    this.#forget(lane, item);
    this.#effects.push({ kind: "bury", mail, at: now.unix, error, tells });
    this.#addDead({ mail, at: now.unix, error });
  }

  #addDead(letter: DeadMail): void {
    for (const { mail } of this.#dead.add(letter)) {
      this.#effects.push({ kind: "remove", mail, why: "dead-letter-ended" });
    }
  }

  #forget(lane: Lane, item: Item): void {
    lane.drop(item);
    this.#ends.noteGone();
    this.#messages--;
    this.#bytes -= item.mail.bytes;
    if (lane.messages > 0) return;
    this.#lanes.delete(lane.agentId);
    if (lane.transfer !== undefined) this.#transferring.delete(lane.transfer.number);
    lane.transfer = undefined;
  }
}

/** The instance that is named, or the one that its sender's messages went to before, or the first. */
function chooseLink(lane: Lane, item: Item): number | undefined {
  const { links } = lane;
  const { instance } = item.mail;
  if (instance !== "") return links.find((each) => each.instance === instance)?.link;
  return links.some((each) => each.link === item.box.link) ? item.box.link : links[0]?.link;
}

/** What another gateway handed over was reported by that one. */
const wantsReport = (mail: IncomingMail): boolean =>
  (mail.wantsStored || mail.wantsNotice) && mail.storedAt === undefined;

const matches = (mail: StoredMail, filter: MailFilter): boolean =>
  (filter.agentId === undefined || mail.agentId === filter.agentId) &&
  (filter.id === undefined || mail.id === filter.id);

const expired = (mail: StoredMail): ErrorFacts => ({
  code: "CAUSEWAY_FORWARDING_EXPIRED",
  message: `the message expired in the mailbox of ${mail.agentId}, which was away`,
});

const exhausted = (mail: StoredMail, attempts: number): ErrorFacts => ({
  code: "CAUSEWAY_MAILBOX_ATTEMPTS",
  message: `the message was handed to ${mail.agentId} ${attempts} times and never acknowledged`,
  details: { limit: "mailboxAttemptsMax" },
});

function earliestUnix(a: UnixMs | undefined, b: UnixMs | undefined): UnixMs | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}

const none: readonly MailboxEffect[] = [];
/** Longest time between two looks at the clock while something is stored. */
const lookMs = 60_000;
