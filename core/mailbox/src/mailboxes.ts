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
  type ErrorFacts,
  earliest,
  type Instant,
  later,
  type Machine,
  type Now,
  type StoredMail,
  type UnixMs,
} from "@causeway/core-base";
import type {
  IncomingMail,
  MailboxEffect,
  MailboxTotals,
  MailboxView,
  MailLink,
  MailVerdict,
  MailView,
} from "./effects.ts";
import { type MailFilter, matches } from "./filter.ts";
import { HandOver } from "./hand-over.ts";
import { Holdings, type HoldingsOptions } from "./holdings.ts";
import type { Lane } from "./lane.ts";
import type { MailboxLimits } from "./limits.ts";
import { MailState } from "./mail-rows.ts";
import { overQuota } from "./quota.ts";
import { Transfers } from "./transfers.ts";
import { viewsOfDeadLetters, viewsOfMailboxes, viewsOfStored } from "./views.ts";

/** What the machine is made with. */
export type MailboxOptions = HoldingsOptions;

/** The mailboxes of one gateway. */
export class Mailboxes implements Machine<MailboxEffect> {
  readonly #limits: MailboxLimits;
  readonly #held: Holdings;
  readonly #handOver: HandOver;
  readonly #transfers: Transfers;
  #now: Now | undefined;

  constructor(options: MailboxOptions) {
    this.#limits = options.limits;
    this.#held = new Holdings(options);
    this.#handOver = new HandOver(this.#held, options.limits);
    this.#transfers = new Transfers(this.#held, this.#handOver, options.limits);
  }

  /** Judges a message that came in. */
  offer(now: Now, mail: IncomingMail): MailVerdict {
    if (this.#now !== now) this.#now = now;
    const held = this.#held;
    const there = held.lanes.get(mail.agentId);
    const box = there?.boxes.get(mail.source);
    const known = box === undefined ? -1 : held.rows.find(box.number, mail.id);
    if (known >= 0) return this.#repeat(known, mail);
    const isHandedOver = mail.storedAt !== undefined;
    if (isHandedOver && held.taken.has(mail)) return "taken";
    const isBehind = box !== undefined && box.ahead > 0;
    if (!mail.wantsStored && mail.link !== undefined && !isBehind) return "pass";
    const full = overQuota(mail, there, box, held, this.#limits, isHandedOver);
    if (full !== undefined) return full;
    const lane = there ?? held.open(mail.agentId);
    // Who hands it over takes the agent to be here: it does not go back at once, but when the table says so again.
    if (isHandedOver) lane.isMoved = false;
    const stored = held.storedMail(now, mail);
    const row = held.put(lane, stored, box);
    if (isHandedOver) held.taken.add(stored);
    if (wantsReport(mail)) held.tell({ kind: "store", mail: stored }, { kind: "stored", mail: stored });
    else held.tell({ kind: "store", mail: stored });
    // What another gateway hands over may have expired on its way.
    const isDue = !isBehind && stored.expiresAt > now.unix;
    if (mail.link !== undefined && isDue && this.#handOver.hasRoom(lane, stored.bytes))
      this.#handOver.hand(lane, row, mail.link);
    else {
      this.#handOver.pump(now, lane);
      this.#transfers.offerFrom(now, lane);
    }
    return "taken";
  }

  /** The agent has settled these; `error` when they can never be taken. */
  handleAck(now: Now, agentId: AgentId, source: string, ids: readonly string[], error?: ErrorFacts): void {
    this.#now = now;
    const lane = this.#held.lanes.get(agentId);
    if (lane === undefined) return;
    for (const id of ids) {
      const row = lane.find(source, id);
      if (row < 0) continue;
      if (error === undefined) this.#held.remove(lane, row, "acknowledged");
      else this.#held.bury(now, lane, row, error, false);
    }
    this.#handOver.pump(now, lane);
  }

  /** The agent's live attachments are these now. */
  handleLinks(now: Now, agentId: AgentId, links: readonly MailLink[]): void {
    this.#now = now;
    const lane = this.#held.lanes.get(agentId);
    if (lane === undefined) return;
    lane.links = links;
    const { rows } = this.#held;
    const isLost = (row: number): boolean => !links.some((each) => each.link === rows.link(row));
    this.#handOver.takeBack(now, lane, lane.items(MailState.underWay).filter(isLost));
    lane.unpark();
    lane.burst = lane.burstBytes = 0;
    if (links.length > 0) this.#transfers.withdraw(now, lane);
    this.#handOver.pump(now, lane);
    this.#transfers.offerFrom(now, lane);
  }

  /** What was handed to links that do not acknowledge has left them. */
  handleRoom(now: Now, agentId: AgentId): void {
    this.#now = now;
    const lane = this.#held.lanes.get(agentId);
    if (lane === undefined || lane.burst === 0) return;
    lane.burst = lane.burstBytes = 0;
    this.#handOver.pump(now, lane);
  }

  /** Whether the agent is attached at another gateway and not here. */
  handleMoved(now: Now, agentId: AgentId, isMoved: boolean): void {
    this.#now = now;
    const lane = this.#held.lanes.get(agentId);
    if (lane === undefined || lane.isMoved === isMoved) return;
    lane.isMoved = isMoved;
    lane.transferWaitMs = 0;
    this.#transfers.offerFrom(now, lane);
  }

  /** The other gateway has stored the first `count` of an offer; `error` says why not the rest. */
  handleTransferred(now: Now, transfer: number, count: number, error?: ErrorFacts): void {
    this.#now = now;
    this.#transfers.handleAnswer(now, transfer, count, error);
  }

  /** What was appended last could not be stored. */
  handleStoreFailed(now: Now, mails: readonly StoredMail[], error: ErrorFacts): void {
    this.#now = now;
    for (const mail of mails) {
      this.#held.taken.forget(mail);
      const lane = this.#held.lanes.get(mail.agentId);
      const row = lane?.find(mail.source, mail.id) ?? -1;
      if (lane !== undefined && row >= 0 && this.#held.rows.sequence(row) === mail.sequence)
        this.#held.forget(lane, row);
      this.#held.tell({ kind: "refuse", mail, error });
    }
  }

  /** The agent was deregistered or revoked: what waits for it is given up. */
  close(now: Now, agentId: AgentId, error: ErrorFacts): void {
    this.#now = now;
    const lane = this.#held.lanes.get(agentId);
    if (lane === undefined) return;
    for (const row of lane.items()) this.#held.bury(now, lane, row, error, true);
  }

  /** Puts dead letters back into their mailboxes, with the default time to be delivered. */
  replay(now: Now, filter: MailFilter): { readonly replayed: number; readonly refused: number } {
    this.#now = now;
    const held = this.#held;
    const counts = { replayed: 0, refused: 0 };
    const lanes = new Set<Lane>();
    for (const letter of held.dead.all()) {
      if (!matches(letter.mail, filter)) continue;
      const { agentId, source, id } = letter.mail;
      const there = held.lanes.get(agentId);
      const box = there?.boxes.get(source);
      const isThere = box !== undefined && held.rows.find(box.number, id) >= 0;
      if (isThere || overQuota(letter.mail, there, box, held, this.#limits) !== undefined) {
        counts.refused++;
        continue;
      }
      held.dead.remove(letter);
      const mail = { ...letter.mail, expiresAt: (now.unix + this.#limits.mailboxMs) as UnixMs };
      const lane = there ?? held.open(agentId);
      held.put(lane, mail, box);
      held.tell({ kind: "revive", mail });
      lanes.add(lane);
      counts.replayed++;
    }
    for (const lane of lanes) {
      this.#handOver.pump(now, lane);
      this.#transfers.offerFrom(now, lane);
    }
    return counts;
  }

  /** Deletes for good; answers how many. */
  purge(now: Now, filter: MailFilter, isDeadOnly: boolean): number {
    this.#now = now;
    const held = this.#held;
    let count = 0;
    for (const letter of held.dead.all()) {
      if (!matches(letter.mail, filter)) continue;
      held.dead.remove(letter);
      held.tell({ kind: "remove", mail: letter.mail, why: "purged" });
      count++;
    }
    if (isDeadOnly) return count;
    for (const lane of [...held.lanes.values()]) {
      for (const row of lane.items()) {
        if (!matches(held.rows.mail(row), filter)) continue;
        held.remove(lane, row, "purged");
        count++;
      }
      this.#handOver.pump(now, lane);
    }
    return count;
  }

  handleTimeout(now: Now): void {
    this.#now = now;
    const { ends, rows, dead } = this.#held;
    for (let row = ends.take(now.unix); row >= 0; row = ends.take(now.unix)) {
      const state = rows.state(row);
      // What is under way is judged when it comes back: its agent may be at it.
      if (state === MailState.underWay || state === MailState.transferring) continue;
      this.#held.buryExpired(now, rows.box(row).lane, row);
    }
    for (const { mail } of dead.takeOld(now.unix)) {
      this.#held.tell({ kind: "remove", mail, why: "dead-letter-ended" });
    }
    this.#transfers.handleTimeout(now);
  }

  drain(): readonly MailboxEffect[] {
    return this.#held.takeEffects();
  }

  deadline(): Instant | undefined {
    const now = this.#now;
    const ends = earliestUnix(this.#held.ends.next(), this.#held.dead.next());
    const transfers = this.#transfers.deadlines();
    if (ends === undefined || now === undefined) return earliest(...transfers);
    // Looked at each minute, since the clock may be set. In whole seconds, so that it does not move with each message.
    const inMs = Math.min(lookMs, Math.max(0, ends - now.unix));
    return earliest(later(0 as Instant, Math.ceil((now.instant + inMs) / 1_000) * 1_000), ...transfers);
  }

  /** True when something is stored for the agent. */
  has(agentId: AgentId): boolean {
    return this.#held.lanes.has(agentId);
  }

  totals(): MailboxTotals {
    return this.#held.totals();
  }

  mailboxes(): readonly MailboxView[] {
    return viewsOfMailboxes(this.#held);
  }

  /** What is stored and matches, the oldest first. */
  stored(filter: MailFilter): readonly MailView[] {
    return viewsOfStored(this.#held, filter);
  }

  /** What is stored with this sequence or a later one. */
  storedSince(sequence: number): readonly StoredMail[] {
    const { lanes, rows } = this.#held;
    return [...lanes.values()].flatMap((lane) => lane.since(sequence).map((row) => rows.mail(row)));
  }

  /** Dead letters that match, the oldest first. */
  deadLetters(filter: MailFilter): readonly MailView[] {
    return viewsOfDeadLetters(this.#held, filter);
  }

  /** A copy of it is stored. Its sender has not heard so, or seals it anew because the receiver could not open it. */
  #repeat(known: number, mail: IncomingMail): MailVerdict {
    const { rows } = this.#held;
    // Two gateways that each hold it and think the agent at the other one offer it to each other: who says that it has it
    // must keep it, or the last copy goes.
    const isHandedOver = mail.storedAt !== undefined;
    if (isHandedOver && rows.state(known) === MailState.transferring) rows.box(known).lane.putBack([known]);
    if (wantsReport(mail)) this.#held.tell({ kind: "stored", mail: rows.mail(known) });
    return mail.link !== undefined && rows.state(known) === MailState.underWay ? "repeat" : "taken";
  }
}

/** What another gateway handed over was reported by that one. */
const wantsReport = (mail: IncomingMail): boolean =>
  (mail.wantsStored || mail.wantsNotice) && mail.storedAt === undefined;

function earliestUnix(a: UnixMs | undefined, b: UnixMs | undefined): UnixMs | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}

/** Longest time between two looks at the clock while something is stored. */
const lookMs = 60_000;
